#include "core/Model.h"
#include "core/Sha256.h"
#include <inttypes.h>
#include <stddef.h>

using namespace heddle::runtime;

static heddle_status failDigest(const Member &member, heddle_error *error) {
  return fail(error, HEDDLE_INVALID_FILE,
              "artifact: member '%s' does not have the SHA-256 that the manifest lists", member.name);
}

// ---------------------------------------------------------------------------------------------------------------
// What drivers may ask of the model

static heddle_status findMember(const heddle_model &model, const char *name, const Member *&out,
                                heddle_error *error) {
  out = name ? model.archive.find(name) : nullptr;
  if (!out)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "the artifact has no member '%s'", name ? name : "NULL");
  return HEDDLE_OK;
}

static heddle_status writeMemberInfo(const Member &member, heddle_member_info *out, heddle_error *error) {
  heddle_member_info info = {sizeof(info), member.name, member.size, {}};
  memcpy(info.digest, member.digest, sizeof(info.digest));
  return writeStruct(out, info, "out_info", error);
}

static void *hostAllocate(void *context, size_t size, size_t alignment) {
  return static_cast<heddle_model *>(context)->memory.allocate(size, alignment);
}
static void hostRelease(void *context, void *memory, size_t size) {
  static_cast<heddle_model *>(context)->memory.release(memory, size);
}
static heddle_status hostFindMember(void *context, const char *name, heddle_member_info *out,
                                    heddle_error *error) {
  return heddle_model_find_member(static_cast<heddle_model *>(context), name, out, error);
}
static heddle_status hostReadMember(void *context, const char *name, uint64_t offset, void *buffer,
                                    size_t size, heddle_error *error) {
  const heddle_model &model = *static_cast<heddle_model *>(context);
  const Member *member;
  HEDDLE_TRY(findMember(model, name, member, error));
  if (!inRange(offset, size, member->size))
    return fail(error, HEDDLE_INVALID_ARGUMENT, "a read past the end of member '%s'", name);
  return model.source.read(member->offset + offset, buffer, size, error);
}
static void hostLog(void *context, heddle_log_level level, const char *message) {
  const heddle_model &model = *static_cast<heddle_model *>(context);
  if (model.log)
    model.log(model.logContext, level, message);
}

// ---------------------------------------------------------------------------------------------------------------
// Open

static heddle_status checkOptions(const heddle_model_options &options, heddle_error *error) {
  constexpr uint32_t flags = HEDDLE_OPEN_PERF_MAP | HEDDLE_OPEN_GDB | HEDDLE_OPEN_SKIP_WEIGHT_HASH;
  constexpr uint32_t features = HEDDLE_CPU_X86_64_V3 | HEDDLE_CPU_AVX_VNNI | HEDDLE_CPU_X86_64_V4 |
                                HEDDLE_CPU_AVX512_VNNI | HEDDLE_CPU_AVX512_BF16 | HEDDLE_CPU_AMX_BF16;
  if (options.trust < HEDDLE_TRUST_EMBEDDER_VOUCHES || options.trust > HEDDLE_TRUST_INSPECT_ONLY ||
      (options.trust == HEDDLE_TRUST_DIGEST && !options.trust_digest) ||
      (options.trust == HEDDLE_TRUST_CALLBACK && !options.trust_callback))
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "expected options->trust with the digest or callback that it needs, but found %d; there is "
                "no default, "
                "because an artifact is a program",
                static_cast<int>(options.trust));
  if (options.weights > HEDDLE_WEIGHTS_MAP || options.flags & ~flags || options.cpu_features & ~features)
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "unknown value in options: weights %d, flags 0x%x, cpu_features 0x%x",
                static_cast<int>(options.weights), options.flags, options.cpu_features);
  return HEDDLE_OK;
}

static heddle_status decideTrust(const heddle_model &model, const heddle_model_options &options,
                                 heddle_error *error) {
  const Archive &archive = model.archive;
  const uint8_t *digest = archive.members[archive.count - 1].digest;
  bool trusted =
      options.trust == HEDDLE_TRUST_DIGEST ? memcmp(digest, options.trust_digest, 32) == 0
      : options.trust == HEDDLE_TRUST_CALLBACK
          ? options.trust_callback(options.trust_context, digest, archive.manifest(), archive.manifestSize())
          : true;
  return trusted ? HEDDLE_OK : fail(error, HEDDLE_NOT_TRUSTED, "artifact: nothing vouches for this program");
}

static heddle_status failMember(const char *name, heddle_error *error) {
  return fail(error, HEDDLE_INVALID_FILE, "artifact: member '%s' is missing, or has a wrong size", name);
}

/// Reads a program, in place of one that was read before.
static heddle_status loadProgram(heddle_model &model, const Member &member, heddle_error *error) {
  model.memory.release(model.programBytes, model.programSize);
  model.programBytes = model.memory.allocate(member.size, 64);
  if (!model.programBytes)
    return failAllocation(model.memory, member.size, error);
  model.programSize = member.size;
  HEDDLE_TRY(heddle_model_read_member(&model, member.name, model.programBytes, member.size, error));
  heddle_program &program = model.program;
  HEDDLE_TRY(parseProgram(model.programBytes, member.size, program, error));
  for (uint64_t i = 0; i < program.header->codes.count; ++i)
    if (!model.archive.find(model.string(program.codes[i].member)))
      return failMember(model.string(program.codes[i].member), error);
  uint64_t left = alignUp(program.header->weights_size, HEDDLE_ZIP_SIZE_MULTIPLE);
  const char *name = "weights.bin";
  for (uint32_t i = 0; i < program.header->weights.count; ++i) {
    name = model.string(program.weights[i]);
    const Member *member = model.archive.find(name);
    if (!member || member->size > left)
      return failMember(name, error);
    left -= member->size;
  }
  return left ? failMember(name, error) : HEDDLE_OK;
}

/// Reads the weights into device memory, hashing each piece while it is in the cache.
static heddle_status copyWeights(heddle_model &model, bool check, heddle_error *error) {
  constexpr uint64_t piece = 256 << 10;
  const heddle_program_header &header = *model.program.header;
  uint64_t total = alignUp(header.weights_size, HEDDLE_ZIP_SIZE_MULTIPLE), place = 0;
  HEDDLE_TRY(model.driver->allocate(model.device, total, &model.weights, error));
  void *staging = nullptr;
  if (!model.weights.host && !(staging = model.memory.allocate(piece, 64)))
    return failAllocation(model.memory, piece, error);
  heddle_status status = HEDDLE_OK;
  for (uint32_t i = 0; i < header.weights.count && !status; ++i) {
    const Member &member = *model.archive.find(model.string(model.program.weights[i]));
    Sha256 hash;
    for (uint64_t at = 0; at < member.size && !status; at += piece) {
      uint64_t size = smaller(piece, member.size - at);
      void *to = staging ? staging : static_cast<char *>(model.weights.host) + place + at;
      status = model.source.read(member.offset + at, to, size, error);
      if (check && !status)
        hash.update(to, size);
      heddle_buffer from = {staging, reinterpret_cast<uintptr_t>(staging), size};
      if (staging && !status)
        status = model.driver->copy(model.device, &model.weights, place + at, &from, 0, size, error);
    }
    place += member.size;
    uint8_t digest[32];
    hash.finish(digest);
    if (check && !status && memcmp(digest, member.digest, 32) != 0)
      status = failDigest(member, error);
  }
  model.memory.release(staging, piece);
  return status;
}

static heddle_status loadWeights(heddle_model &model, const heddle_model_options &options,
                                 heddle_error *error) {
  uint64_t members = model.program.header->weights.count;
  if (members == 0)
    return HEDDLE_OK;
  if (options.weights != HEDDLE_WEIGHTS_MAP)
    return copyWeights(model, !(options.flags & HEDDLE_OPEN_SKIP_WEIGHT_HASH), error);
  if (!model.unified || members > 1)
    return fail(error, HEDDLE_UNSUPPORTED,
                "the device cannot use mapped weights, or they are in several members; copy them instead");
  const Member &member = *model.archive.find(model.string(model.program.weights[0]));
  HEDDLE_TRY(model.source.map(member.offset, member.size, &model.mappedWeights, error));
  void *host = const_cast<void *>(model.mappedWeights);
  model.weights = {host, reinterpret_cast<uintptr_t>(host), member.size};
  return HEDDLE_OK;
}

static heddle_status openDevice(heddle_model &model, const heddle_model_options &options,
                                heddle_error *error) {
  model.driver = options.driver ? options.driver : heddle_driver_cpu();
  if (model.driver->version != HEDDLE_DRIVER_VERSION)
    return fail(error, HEDDLE_UNSUPPORTED, "the driver has version %u, but this library uses %u",
                model.driver->version, HEDDLE_DRIVER_VERSION);
  model.host = {sizeof(heddle_host),
                &model,
                hostAllocate,
                hostRelease,
                hostFindMember,
                hostReadMember,
                hostLog,
                options.cpu_features ? options.cpu_features : UINT32_MAX,
                options.flags,
                options.linked_code,
                options.linked_code_count};
  HEDDLE_TRY(model.driver->open(&model.host, &model.device, error));
  heddle_capabilities capabilities = {};
  capabilities.struct_size = sizeof(capabilities);
  HEDDLE_TRY(model.driver->capabilities(model.device, &capabilities, error));
  model.unified = capabilities.unified;
  return HEDDLE_OK;
}

/// The last program that the device runs; the first one when nothing will run. All that are looked at are
/// checked.
static heddle_status chooseProgram(heddle_model &model, heddle_error *error) {
  heddle_status status = failMember("program.bin", error);
  for (uint32_t i = model.archive.count; i-- > 0;) {
    const Member &member = model.archive.members[i];
    if (memcmp(member.name, "program", 7) != 0)
      continue;
    HEDDLE_TRY(loadProgram(model, member, error));
    status = HEDDLE_OK;
    if (model.device)
      status = model.driver->load(model.device, &model.program, &model.module, error);
    if (model.device && status != HEDDLE_UNSUPPORTED)
      break;
  }
  return status;
}

static heddle_status openModel(heddle_model &model, const heddle_source &source,
                               const heddle_model_options &options, heddle_error *error) {
  HEDDLE_TRY(model.source.open(source, error));
  HEDDLE_TRY(model.archive.open(model.source, model.memory, error));
  if (options.trust != HEDDLE_TRUST_INSPECT_ONLY) {
    HEDDLE_TRY(decideTrust(model, options, error));
    HEDDLE_TRY(openDevice(model, options, error));
  }
  HEDDLE_TRY(chooseProgram(model, error));
  if (model.module)
    HEDDLE_TRY(loadWeights(model, options, error));
  model.openBytes = model.memory.used();
  return HEDDLE_OK;
}

static void destroyModel(heddle_model *model) {
  if (model->mappedWeights)
    model->source.unmap(model->mappedWeights, model->weights.size);
  else if (model->weights.size)
    model->driver->release(model->device, &model->weights);
  if (model->module)
    model->driver->unload(model->module);
  if (model->device)
    model->driver->close(model->device);
  model->memory.release(model->programBytes, model->programSize);
  model->archive.close();
  model->source.close();
  Memory memory = model->memory; // outlives the block that it frees
  memory.release(model, sizeof(heddle_model));
}

namespace heddle::runtime {

heddle_status findEntry(const heddle_model &model, const char *name, uint32_t &out, heddle_error *error) {
  out = 0;
  if (!name)
    return HEDDLE_OK; // a valid program has one at least
  for (; out < model.program.header->entries.count; ++out)
    if (strcmp(model.string(model.program.entries[out].name), name) == 0)
      return HEDDLE_OK;
  return fail(error, HEDDLE_INVALID_ARGUMENT, "the model has no entry '%s'", name);
}

} // namespace heddle::runtime

static heddle_status failIndex(const char *what, uint32_t index, heddle_error *error) {
  return fail(error, HEDDLE_INVALID_ARGUMENT, "there is no %s number %u", what, index);
}

extern "C" {

heddle_status heddle_model_open(const heddle_source *source, const heddle_model_options *options,
                                heddle_model **out_model, heddle_error *error) {
  *out_model = nullptr;
  heddle_source from;
  heddle_model_options with;
  heddle_allocator allocator = {};
  HEDDLE_TRY(readStruct(from, source, "source", error));
  HEDDLE_TRY(readStruct(with, options, "options", error));
  HEDDLE_TRY(checkOptions(with, error));
  if (with.allocator)
    HEDDLE_TRY(readStruct(allocator, with.allocator, "options->allocator", error));
  if (!allocator.allocate != !allocator.release)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected options->allocator to have both functions");

  Memory memory;
  memory.setUp(allocator, with.max_memory);
  void *block = memory.allocate(sizeof(heddle_model), alignof(max_align_t));
  if (!block)
    return failAllocation(memory, sizeof(heddle_model), error);
  memset(block, 0, sizeof(heddle_model));
  heddle_model *model = static_cast<heddle_model *>(block);
  model->memory = memory;
  model->source = Source();
  model->log = with.log;
  model->logContext = with.log_context;
  if (heddle_status status = openModel(*model, from, with, error)) {
    destroyModel(model);
    return status;
  }
  *out_model = model;
  return HEDDLE_OK;
}

heddle_status heddle_model_close(heddle_model *model, heddle_error *error) {
  if (!model)
    return HEDDLE_OK;
  if (uint32_t living = __atomic_load_n(&model->sessions, __ATOMIC_ACQUIRE))
    return fail(error, HEDDLE_BUSY, "the model cannot be closed while %u of its sessions live", living);
  destroyModel(model);
  return HEDDLE_OK;
}

heddle_status heddle_model_get_info(const heddle_model *model, heddle_model_info *out_info,
                                    heddle_error *error) {
  const heddle_program_header &header = *model->program.header;
  heddle_model_info info = {};
  memcpy(info.digest, model->archive.members[model->archive.count - 1].digest, 32);
  info.entry_count = header.entries.count;
  info.member_count = model->archive.count;
  info.max_rows = header.max_rows;
  info.max_wanted = header.max_wanted;
  info.max_context = header.max_context;
  info.max_sequences = header.max_slots;
  info.vocabulary = header.vocabulary;
  info.model_bytes = model->openBytes;
  if (model->module) {
    uint32_t code = model->driver->code(model->module);
    if (code < header.codes.count) {
      info.code_features = model->program.codes[code].features;
      info.code_member = model->string(model->program.codes[code].member);
    }
  }
  return writeStruct(out_info, info, "out_info", error);
}

heddle_status heddle_model_member(const heddle_model *model, uint32_t index, heddle_member_info *out_info,
                                  heddle_error *error) {
  if (index >= model->archive.count)
    return failIndex("member", index, error);
  return writeMemberInfo(model->archive.members[index], out_info, error);
}

heddle_status heddle_model_find_member(const heddle_model *model, const char *name,
                                       heddle_member_info *out_info, heddle_error *error) {
  const Member *member;
  HEDDLE_TRY(findMember(*model, name, member, error));
  return writeMemberInfo(*member, out_info, error);
}

heddle_status heddle_model_read_member(const heddle_model *model, const char *name, void *buffer,
                                       uint64_t size, heddle_error *error) {
  const Member *member;
  HEDDLE_TRY(findMember(*model, name, member, error));
  if (!buffer || size != member->size)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected a buffer of %" PRIu64 " bytes for member '%s'",
                member->size, member->name);
  HEDDLE_TRY(model->source.read(member->offset, buffer, size, error));
  uint8_t digest[32];
  sha256(buffer, size, digest);
  return memcmp(digest, member->digest, 32) == 0 ? HEDDLE_OK : failDigest(*member, error);
}

heddle_status heddle_model_entry_at(const heddle_model *model, uint32_t index, heddle_entry_info *out_info,
                                    heddle_error *error) {
  if (index >= model->program.header->entries.count)
    return failIndex("entry", index, error);
  const heddle_entry &entry = model->program.entries[index];
  uint32_t inputs = inputCount(model->program, entry);
  heddle_entry_info info = {sizeof(info), model->string(entry.name),
                            static_cast<heddle_entry_kind>(entry.kind), inputs, entry.io_count - inputs};
  return writeStruct(out_info, info, "out_info", error);
}

heddle_status heddle_model_entry(const heddle_model *model, const char *name, heddle_entry_info *out_info,
                                 heddle_error *error) {
  uint32_t index;
  HEDDLE_TRY(findEntry(*model, name, index, error));
  return heddle_model_entry_at(model, index, out_info, error);
}

heddle_status heddle_model_entry_io(const heddle_model *model, const char *entry, uint32_t io,
                                    heddle_io_info *out_info, heddle_error *error) {
  uint32_t index;
  HEDDLE_TRY(findEntry(*model, entry, index, error));
  const heddle_entry &found = model->program.entries[index];
  if (io >= found.io_count)
    return failIndex("input or output", io, error);
  const heddle_io &record = model->program.ios[found.first_io + io];
  const heddle_program_header &header = *model->program.header;
  heddle_io_info info = {};
  info.name = model->string(record.name);
  info.dtype = static_cast<heddle_dtype>(record.dtype);
  info.is_output = record.is_output;
  info.rank = record.rank;
  for (uint32_t i = 0; i < record.rank; ++i) {
    int64_t size = record.dim[i];
    info.dimension[i] = size >= 0 ? heddle_dimension{size, size, 1}
                        : record.dim_id[i] == HEDDLE_DIM_WANTED
                            ? heddle_dimension{found.kind == HEDDLE_ENTRY_STEP ? 0 : 1, header.max_wanted, 1}
                            : heddle_dimension{1, header.max_rows, 1};
  }
  return writeStruct(out_info, info, "out_info", error);
}
}
