// Fuzzes what the runtime reads. The first byte of an input picks the part; the rest is put where it passes
// the checks before it, since no mutation would find the hashes: patches to a whole artifact, a manifest, a
// program.bin (with a session made of it), a code image, a saved sequence.
#include "core/Json.h"
#include "core/Sha256.h"
#include "drivers/cpu/Image.h"
#include "test/unit/runtime/ArtifactBuilder.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace heddle;
using namespace heddle::test;

namespace {

heddle_error newError() {
  heddle_error error = {};
  error.struct_size = sizeof(error);
  return error;
}

/// Opens without running, asks everything, and makes a session if that takes little memory.
void exercise(const Bytes &artifact, bool load) {
  heddle_error error = newError();
  heddle_source source = memorySource(artifact);
  heddle_model_options options = vouched();
  if (!load)
    options.trust = HEDDLE_TRUST_INSPECT_ONLY;
  options.max_memory = 64 << 20;
  heddle_model *model = nullptr;
  if (heddle_model_open(&source, &options, &model, &error) != HEDDLE_OK) {
    if (!error.message[0])
      abort(); // an error says why
    return;
  }
  heddle_model_info info = {};
  info.struct_size = sizeof(info);
  heddle_model_get_info(model, &info, &error);
  for (uint32_t e = 0; e < info.entry_count; ++e) {
    heddle_entry_info entry = {};
    entry.struct_size = sizeof(entry);
    heddle_model_entry_at(model, e, &entry, &error);
    for (uint32_t i = 0; i < entry.input_count + entry.output_count; ++i) {
      heddle_io_info io = {};
      io.struct_size = sizeof(io);
      if (heddle_model_entry_io(model, entry.name, i, &io, &error) != HEDDLE_OK)
        abort();
    }
  }
  heddle_session *session = nullptr;
  if (heddle_session_create(model, nullptr, &session, &error) == HEDDLE_OK) {
    heddle_step step = {};
    step.struct_size = sizeof(step);
    int32_t refused[] = {-1};
    step.tokens = step.slots = step.positions = refused;
    step.count = 1;
    if (heddle_session_step(session, nullptr, &step, &error) == HEDDLE_OK)
      abort();
  }
  heddle_session_destroy(session);
  if (heddle_model_close(model, &error) != HEDDLE_OK)
    abort();
}

void patchArtifact(const uint8_t *data, size_t size) {
  static const Bytes valid = ToyModel().artifact().build();
  Bytes bytes = valid;
  for (; size >= 5; data += 5, size -= 5) {
    uint32_t at;
    std::memcpy(&at, data, 4);
    // Half of the patches go to the end, where most of the structure is.
    at = at & 1 ? bytes.size() - 1 - (at >> 1) % std::min<size_t>(bytes.size(), 1024)
                : (at >> 1) % bytes.size();
    bytes[at] = data[4];
  }
  if (size)
    bytes.resize(bytes.size() - data[0] % bytes.size());
  exercise(bytes, false);
}

struct ImageHost {
  const uint8_t *bytes;
  heddle_member_info info;
};

void loadImage(const uint8_t *data, size_t size) {
  Bytes bytes(data, data + size);
  bytes.resize(std::max<size_t>((size + 255) / 256 * 256, 256));
  ImageHost memory = {bytes.data(), {}};
  memory.info.size = bytes.size();
  runtime::sha256(bytes.data(), bytes.size(), memory.info.digest);
  heddle_host host = {};
  host.context = &memory;
  host.find_member = [](void *context, const char *, heddle_member_info *out, heddle_error *) {
    *out = static_cast<ImageHost *>(context)->info;
    return HEDDLE_OK;
  };
  host.read_member = [](void *context, const char *, uint64_t offset, void *to, size_t count,
                        heddle_error *) {
    std::memcpy(to, static_cast<ImageHost *>(context)->bytes + offset, count);
    return HEDDLE_OK;
  };
  heddle_error error = newError();
  runtime::Image image;
  if (runtime::mapImage(host, "x", false, image, &error) == HEDDLE_OK) {
    if (image.textEnd > image.size || image.textBegin >= image.textEnd)
      abort();
    volatile uint8_t sum = 0;
    for (uint64_t i = image.textBegin; i < image.textEnd; ++i)
      sum = sum + image.base[i];
    runtime::unmapImage(image);
  }
}

void restoreSequence(const uint8_t *data, size_t size) {
  static const Bytes artifact = ToyModel().artifact().build();
  static heddle_session *session = [] {
    heddle_source source = memorySource(artifact);
    heddle_model_options options = vouched();
    heddle_model *model = nullptr;
    heddle_session *made = nullptr;
    if (heddle_model_open(&source, &options, &model, nullptr) ||
        heddle_session_create(model, nullptr, &made, nullptr))
      abort();
    return made;
  }();
  struct Reader {
    const uint8_t *at;
    size_t left;
  } reader = {data, size};
  auto read = [](void *context, void *to, size_t count) {
    Reader &from = *static_cast<Reader *>(context);
    if (count > from.left)
      return 1;
    std::memcpy(to, from.at, count);
    from.at += count;
    from.left -= count;
    return 0;
  };
  heddle_error error = newError();
  bool ok = heddle_session_restore(session, 0, read, &reader, &error) == HEDDLE_OK;
  if (!ok && heddle_sequence_length(session, 0) != 0)
    abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  int part = *data++ % 5;
  --size;
  ArtifactBuilder artifact;
  switch (part) {
  case 0:
    patchArtifact(data, size);
    break;
  case 1:
    artifact = ToyModel().artifact();
    artifact.manifest.assign(data, data + size);
    exercise(artifact.build(), false);
    break;
  case 2:
    artifact = ToyModel().artifact();
    artifact.members.erase(artifact.members.begin());
    artifact.add("program.bin", Bytes(data, data + size));
    exercise(artifact.build(), true);
    break;
  case 3:
    loadImage(data, size);
    break;
  case 4:
    restoreSequence(data, size);
    break;
  }
  return 0;
}
