#include "Harness.h"
#include <cstdlib>
#include <cstring>
#include <heddle/npu.h>
#include <memory>

namespace heddle::npu_conformance {

namespace {

constexpr uint64_t gap = 256; // between operands: what a program must not touch
constexpr unsigned char gapByte = 0xa5;

void *allocate(void *, size_t size, size_t alignment) {
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
void release(void *, void *memory, size_t) { std::free(memory); }
void ignoreLog(void *, heddle_log_level, const char *) {}

heddle_status findMember(void *context, const char *, heddle_member_info *out, heddle_error *) {
  out->size = static_cast<const Case *>(context)->code.size();
  return HEDDLE_OK;
}
heddle_status readMember(void *context, const char *, uint64_t offset, void *buffer, size_t size,
                         heddle_error *) {
  const Bytes &code = static_cast<const Case *>(context)->code;
  if (offset > code.size() || size > code.size() - offset)
    return HEDDLE_INVALID_ARGUMENT;
  std::memcpy(buffer, code.data() + offset, size);
  return HEDDLE_OK;
}

/// The bytes of all operands of one kind, with gaps around them.
struct Image {
  Bytes input, expected;

  uint64_t add(const Bytes &before, const Bytes &after) {
    uint64_t offset = input.size() + gap;
    input.resize(offset, gapByte);
    expected.resize(offset, gapByte);
    input.insert(input.end(), before.begin(), before.end());
    expected.insert(expected.end(), after.begin(), after.end());
    pad();
    return offset;
  }
  void pad() {
    uint64_t size = (input.size() + gap + 63) / 64 * 64;
    input.resize(size, gapByte);
    expected.resize(size, gapByte);
  }
};

/// A program.bin of one launch.
struct OneLaunch {
  heddle_program_header header = {};
  heddle_entry entry = {};
  heddle_variant variant = {};
  heddle_launch launch = {};
  heddle_function function = {};
  heddle_code code = {};
  std::vector<heddle_operand> operands;
  Image arena, weights;
  uint64_t offset = 0;
  heddle_program program;

  explicit OneLaunch(const Case &test) {
    static const char strings[] = "\0kernel\0case\0code/npu.bin";
    for (const Buffer &buffer : test.buffers) {
      Image &image = buffer.writable ? arena : weights;
      const Bytes &after = buffer.expected.size() == buffer.input.size() ? buffer.expected : buffer.input;
      operands.push_back({buffer.writable ? HEDDLE_OPERAND_ARENA : HEDDLE_OPERAND_WEIGHT, 0,
                          image.add(buffer.input, after), buffer.input.size()});
    }
    arena.pad();
    weights.pad();
    function.name = 1;
    launch.operand_count = operands.size();
    launch.items_dim = -1;
    launch.items_mul = launch.items_div = launch.grain = 1;
    launch.source = entry.name = variant.name = 8;
    variant.min_rows = 1;
    variant.max_rows = INT32_MAX;
    variant.launch_count = entry.variant_count = 1;
    variant.arena_bytes = arena.input.size();
    code.member = 13;
    uint32_t machine;
    std::memcpy(&machine, test.code.data() + offsetof(heddle_npu_header, machine), sizeof(machine));
    code.features = HEDDLE_CODE_NPU | (machine & 0xfff) << 16;
    std::memcpy(header.magic, HEDDLE_PROGRAM_MAGIC, 8);
    header.version = HEDDLE_PROGRAM_VERSION;
    header.code_abi = HEDDLE_CODE_ABI;
    for (heddle_span *one : {&header.entries, &header.variants, &header.launches, &header.functions,
                             &header.codes, &header.offsets})
      one->count = 1;
    header.operands.count = operands.size();
    header.weights_size = weights.input.size();
    header.max_rows = header.max_wanted = 1;
    program = {&header,         strings,   &entry, nullptr, &variant, &launch,
               operands.data(), &function, &code,  &offset, nullptr,  nullptr};
  }
};

/// What went well so far, and what has to be undone.
class Run {
public:
  Run(const heddle_driver &driver, const Case &test) : driver(driver), test(test), program(test) {
    host = {sizeof(host),
            const_cast<Case *>(&test),
            allocate,
            release,
            findMember,
            readMember,
            ignoreLog,
            UINT32_MAX,
            0,
            nullptr,
            0};
    error.struct_size = sizeof(error);
  }
  ~Run() {
    if (plan)
      driver.unprepare(plan);
    if (module)
      driver.unload(module);
    for (const heddle_buffer *buffer : {&arena, &weights})
      if (buffer->size)
        driver.release(device, buffer);
    if (device)
      driver.close(device);
  }

  /// The first status that is not HEDDLE_OK.
  heddle_status execute() {
    for (auto step : {&Run::open, &Run::makeMemory, &Run::prepare, &Run::submit})
      if (heddle_status status = (this->*step)())
        return status;
    return HEDDLE_OK;
  }
  std::string compare();
  const char *message() const { return error.message; }

private:
  heddle_status open() {
    if (heddle_status status = driver.open(&host, &device, &error))
      return status;
    return driver.load(device, &program.program, &module, &error);
  }
  heddle_status makeMemory() {
    for (auto [buffer, image] : {std::pair(&arena, &program.arena), std::pair(&weights, &program.weights)}) {
      heddle_buffer from = {image->input.data(), reinterpret_cast<uintptr_t>(image->input.data()),
                            image->input.size()};
      if (heddle_status status = driver.allocate(device, from.size, buffer, &error))
        return status;
      if (heddle_status status = driver.copy(device, buffer, 0, &from, 0, from.size, &error))
        return status;
    }
    return HEDDLE_OK;
  }
  heddle_status prepare() {
    uint64_t bytes = driver.plan_bytes(module, 1);
    memory.reset(static_cast<unsigned char *>(allocate(nullptr, bytes + 64, 64)));
    heddle_bindings bindings = {sizeof(bindings), arena,   weights,      {}, {},
                                nullptr,          nullptr, memory.get(), 1,  1};
    return driver.prepare(module, &bindings, &plan, &error);
  }
  heddle_status submit() {
    heddle_submission submission = {sizeof(submission), 0, 0, test.dims, nullptr, &cancel};
    if (heddle_status status = driver.submit(plan, &submission, &error))
      return status;
    return driver.wait(plan, &error);
  }

  struct Free {
    void operator()(unsigned char *memory) const { std::free(memory); }
  };
  const heddle_driver &driver;
  const Case &test;
  OneLaunch program;
  heddle_host host;
  heddle_error error = {};
  heddle_device *device = nullptr;
  heddle_module *module = nullptr;
  heddle_plan *plan = nullptr;
  heddle_buffer arena = {}, weights = {};
  std::unique_ptr<unsigned char, Free> memory;
  volatile uint32_t cancel = 0;
};

std::string Run::compare() {
  for (auto [buffer, image] : {std::pair(&arena, &program.arena), std::pair(&weights, &program.weights)}) {
    Bytes found(image->expected.size());
    heddle_buffer to = {found.data(), reinterpret_cast<uintptr_t>(found.data()), found.size()};
    if (driver.copy(device, &to, 0, buffer, 0, found.size(), &error))
      return std::string("memory cannot be read back: ") + error.message;
    for (size_t i = 0; i < found.size(); ++i)
      if (found[i] != image->expected[i])
        return "byte " + std::to_string(i) + " of " + (buffer == &arena ? "memory" : "weights") +
               ": expected " + std::to_string(image->expected[i]) + ", but found " + std::to_string(found[i]);
  }
  return "";
}

} // namespace

std::string runCase(const heddle_driver &driver, const Case &test, bool strict,
                    const std::function<void()> &afterRun) {
  Run run(driver, test);
  heddle_status status = run.execute();
  if (!status)
    afterRun();
  if (test.ends == Case::Ends::Hazard && !strict)
    return "";
  if (test.ends != Case::Ends::Well)
    return status ? "" : "expected an error, but found none";
  if (status)
    return std::string("expected no error, but found: ") + run.message();
  return run.compare();
}

} // namespace heddle::npu_conformance
