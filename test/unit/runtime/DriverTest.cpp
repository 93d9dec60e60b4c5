// The driver interface with a device whose memory the host cannot see: the CPU's driver behind a wall.
#include "Fixture.h"

using namespace heddle::test;

namespace {

const heddle_driver &cpu() { return *heddle_driver_cpu(); }

heddle_buffer visible(const heddle_buffer &buffer) {
  heddle_buffer seen = buffer;
  seen.host = reinterpret_cast<void *>(buffer.address);
  return seen;
}

heddle_status capabilities(heddle_device *, heddle_capabilities *out, heddle_error *) {
  out->unified = 0;
  out->features = 0;
  return HEDDLE_OK;
}
heddle_status allocate(heddle_device *device, uint64_t size, heddle_buffer *out, heddle_error *error) {
  heddle_status status = cpu().allocate(device, size, out, error);
  if (!status)
    out->host = nullptr;
  return status;
}
void release(heddle_device *device, const heddle_buffer *buffer) {
  heddle_buffer seen = visible(*buffer);
  cpu().release(device, &seen);
}
heddle_status copy(heddle_device *device, const heddle_buffer *to, uint64_t toOffset,
                   const heddle_buffer *from, uint64_t fromOffset, uint64_t size, heddle_error *error) {
  heddle_buffer seenTo = visible(*to), seenFrom = visible(*from);
  return cpu().copy(device, &seenTo, toOffset, &seenFrom, fromOffset, size, error);
}
heddle_status zero(heddle_device *device, const heddle_buffer *to, uint64_t offset, uint64_t size,
                   heddle_error *error) {
  heddle_buffer seen = visible(*to);
  return cpu().zero(device, &seen, offset, size, error);
}

heddle_driver walled() {
  heddle_driver driver = cpu();
  driver.name = "walled";
  driver.capabilities = capabilities;
  driver.allocate = allocate;
  driver.release = release;
  driver.copy = copy;
  driver.zero = zero;
  return driver;
}

int append(void *context, const void *data, size_t size) {
  auto *bytes = static_cast<const uint8_t *>(data);
  static_cast<Bytes *>(context)->insert(static_cast<Bytes *>(context)->end(), bytes, bytes + size);
  return 0;
}

} // namespace

TEST_CASE("a device with memory of its own runs the same, and mapped weights are refused for it") {
  heddle_driver driver = walled();
  heddle_model_options options = vouched();
  options.driver = &driver;
  OpenModel open(ToyModel().artifact().build(), options), reference(ToyModel().artifact().build());
  Session session(open.model, 2), other(reference.model, 2);
  std::vector<int32_t> tokens = someTokens(150), more = someTokens(20, 5);
  std::vector<Bytes> saved(2);
  Session *sessions[] = {&session, &other};
  for (int i = 0; i < 2; ++i) {
    REQUIRE(sessions[i]->append(0, tokens) == HEDDLE_OK);
    CHECK(sessions[i]->output()[0] == expectedLogit(tokens));
    REQUIRE(heddle_sequence_fork(sessions[i]->session, 0, 1, nullptr) == HEDDLE_OK);
    REQUIRE(sessions[i]->append(1, more) == HEDDLE_OK);
    REQUIRE(heddle_session_save(sessions[i]->session, 1, append, &saved[i], nullptr) == HEDDLE_OK);
  }
  CHECK(saved[0] == saved[1]);

  options.weights = HEDDLE_WEIGHTS_MAP;
  Bytes artifact = ToyModel().artifact().build();
  heddle_source source = memorySource(artifact);
  heddle_model *model = nullptr;
  Error error;
  CHECK(heddle_model_open(&source, &options, &model, &error) == HEDDLE_UNSUPPORTED);
  options.weights = HEDDLE_WEIGHTS_COPY;
  driver.version = 2;
  CHECK(heddle_model_open(&source, &options, &model, &error) == HEDDLE_UNSUPPORTED);
}
