#include "core/Program.h"
#include <heddle/artifact.h>
#include <inttypes.h>
#include <stddef.h>

namespace heddle::runtime {

// Caps on what a program may ask for; far above any model, low enough that no product below overflows.
static constexpr uint64_t maxRows = 1u << 20, maxContext = 1u << 24, maxSlots = 1u << 16, maxPages = 1u << 30,
                          maxBytes = 1ull << 46, maxItems = 1ull << 40, maxLaunches = 1u << 20,
                          maxOperands = 1u << 23, maxPageBytes = 1ull << 32;

uint64_t dtypeBytes(uint32_t dtype) {
  switch (dtype) {
  case HEDDLE_DTYPE_F32:
  case HEDDLE_DTYPE_I32:
    return 4;
  case HEDDLE_DTYPE_F16:
  case HEDDLE_DTYPE_BF16:
    return 2;
  case HEDDLE_DTYPE_I64:
    return 8;
  case HEDDLE_DTYPE_I8:
  case HEDDLE_DTYPE_U8:
    return 1;
  default:
    return 0;
  }
}

uint64_t ioBytes(const heddle_io &io, const int64_t *dims) {
  uint64_t bytes = dtypeBytes(io.dtype);
  for (uint32_t i = 0; i < io.rank; ++i)
    if (!multiply(bytes, io.dim[i] >= 0 ? io.dim[i] : dims[io.dim_id[i]], bytes) || bytes > maxBytes)
      return 0;
  return bytes;
}

namespace {

/// Each check names what is wrong and, where there are several, which one: the file is damaged, or its
/// compiler has a bug; nobody can repair it by hand.
class Checker {
public:
  Checker(const uint8_t *bytes, uint64_t size, heddle_program &program, heddle_error *error)
      : bytes(bytes), size(size), program(program), error(error) {}

  heddle_status check();

private:
  const uint8_t *bytes;
  uint64_t size;
  heddle_program &program;
  heddle_error *error;
  const heddle_program_header *header = nullptr;
  int64_t bounds[HEDDLE_DIM_COUNT];
  // Tables may share records, so that checking them could take the product of their lengths.
  uint64_t launchesLeft = maxLaunches, operandsLeft = maxOperands;

  [[gnu::cold, gnu::noinline]] heddle_status bad(const char *what, uint64_t number) {
    return fail(error, HEDDLE_INVALID_FILE, "program.bin: %s (%" PRIu64 ")", what, number);
  }
  bool isString(uint32_t offset) const { return offset < header->strings.count; }
  heddle_status checkHeader();
  heddle_status checkTables();
  heddle_status checkCaches();
  bool ioIsValid(const heddle_io &io) const;
  bool textInputsAreValid(const heddle_entry &entry, uint32_t inputs) const;
  heddle_status checkIos(const heddle_entry &entry);
  heddle_status checkVariant(const heddle_entry &entry, const heddle_variant &variant);
  heddle_status checkVariants(const heddle_entry &entry);
  heddle_status checkLaunch(const heddle_entry &entry, const heddle_variant &variant,
                            const heddle_launch &launch);
  bool operandIsValid(const heddle_entry &entry, const heddle_variant &variant,
                      const heddle_operand &operand) const;
};

heddle_status Checker::checkHeader() {
  header = program.header = reinterpret_cast<const heddle_program_header *>(bytes);
  if (size < sizeof(*header) || memcmp(header->magic, HEDDLE_PROGRAM_MAGIC, 8) != 0)
    return bad("expected it to start with '" HEDDLE_PROGRAM_MAGIC "'; bytes", size);
  if (header->version != HEDDLE_PROGRAM_VERSION || header->code_abi != HEDDLE_CODE_ABI)
    return fail(error, HEDDLE_UNSUPPORTED,
                "program.bin: this library does not run version %u with code ABI %u; compile the model again",
                header->version, header->code_abi);
  // The container rounds the size up with zeros.
  if (header->file_size > size || size - header->file_size >= HEDDLE_ZIP_SIZE_MULTIPLE)
    return bad("the size in its header is not its size", size);
  for (uint64_t i = header->file_size; i < size; ++i)
    if (bytes[i])
      return bad("expected zeros behind its end", i);
  if (header->weights_size > maxBytes || header->max_rows == 0 || header->max_rows > maxRows ||
      header->max_wanted > header->max_rows || header->max_context > maxContext ||
      (header->caches.count && header->max_context % HEDDLE_PAGE_TOKENS) || header->max_slots == 0 ||
      header->max_slots > maxSlots ||
      static_cast<uint64_t>(header->max_slots) * pagesPerSlot(program) > maxPages)
    return bad("a bound in the header is out of range; rows", header->max_rows);
  bounds[HEDDLE_DIM_ROWS] = header->max_rows;
  bounds[HEDDLE_DIM_WANTED] = header->max_wanted;
  bounds[HEDDLE_DIM_WORK] = header->max_rows; // every piece of work has a row at least
  return HEDDLE_OK;
}

heddle_status Checker::checkTables() {
  // In the order of the spans in the header and of the pointers in heddle_program.
  static const struct {
    uint32_t recordSize, most;
  } limits[] = {{1, 1u << 26},
                {sizeof(heddle_entry), 64},
                {sizeof(heddle_io), 4096},
                {sizeof(heddle_variant), 1024},
                {sizeof(heddle_launch), maxLaunches},
                {sizeof(heddle_operand), maxOperands},
                {sizeof(heddle_function), 1u << 16},
                {sizeof(heddle_code), HEDDLE_ZIP_MAX_MEMBERS},
                {sizeof(uint64_t), 1u << 22},
                {sizeof(heddle_cache), 1u << 12},
                {sizeof(uint32_t), HEDDLE_ZIP_MAX_MEMBERS}};
  static_assert(offsetof(heddle_program_header, weights) - offsetof(heddle_program_header, strings) ==
                    10 * sizeof(heddle_span) &&
                offsetof(heddle_program, weights) - offsetof(heddle_program, strings) == 10 * sizeof(void *));
  const heddle_span *spans = &header->strings;
  const void **tables = reinterpret_cast<const void **>(&program.strings);
  for (uint32_t i = 0; i < 11; ++i) {
    const heddle_span &span = spans[i];
    if (span.offset % 8 || span.count > limits[i].most ||
        !inRange(span.offset, span.count * limits[i].recordSize, header->file_size))
      return bad("a table does not lie in the file; number", i);
    tables[i] = bytes + span.offset;
  }
  uint64_t functions = header->functions.count;
  if (header->entries.count == 0 || header->strings.count == 0 ||
      program.strings[header->strings.count - 1] != 0)
    return bad("there is no entry, or the strings do not end", header->strings.count);
  for (uint64_t i = 0; i < header->strings.count; ++i) {
    unsigned char c = program.strings[i];
    if ((c != 0 && c < 0x20) || c == 0x7f)
      return bad("a string has a control character", c);
  }
  bool valid = isString(header->sources) && header->offsets.count == header->codes.count * functions;
  for (uint64_t i = 0; i < functions; ++i)
    valid &= isString(program.functions[i].name) && program.functions[i].scratch_bytes <= maxBytes;
  for (uint64_t i = 0; i < header->codes.count; ++i)
    valid &= isString(program.codes[i].member);
  for (uint64_t i = 0; i < header->weights.count; ++i)
    valid &= isString(program.weights[i]);
  return valid ? HEDDLE_OK : bad("a function, code or member is out of range", functions);
}

heddle_status Checker::checkCaches() {
  for (uint64_t i = 0; i < header->caches.count; ++i) {
    const heddle_cache &cache = program.caches[i];
    uint64_t width = static_cast<uint64_t>(cache.key_dim) + cache.value_dim;
    const bool codes = dtypeBytes(cache.dtype) == 1;
    if ((!codes && cache.dtype != HEDDLE_DTYPE_F16) || cache.heads == 0 || cache.heads > 4096 || width == 0 ||
        width > 65536 || !isString(cache.source) ||
        cache.page_bytes != HEDDLE_PAGE_TOKENS * cache.heads * (codes ? width + 8 : width * 2) ||
        cache.page_bytes > maxPageBytes)
      return bad("a cache is out of range", i);
  }
  return HEDDLE_OK;
}

bool Checker::ioIsValid(const heddle_io &io) const {
  if (!isString(io.name) || dtypeBytes(io.dtype) == 0 || io.rank > HEDDLE_MAX_RANK || io.is_output > 1)
    return false;
  for (uint32_t i = 0; i < io.rank; ++i) {
    bool isStatic = io.dim[i] >= 0 && io.dim_id[i] == -1;
    bool isDynamic =
        io.dim[i] == -1 && (io.dim_id[i] == HEDDLE_DIM_ROWS || io.dim_id[i] == HEDDLE_DIM_WANTED);
    if (!isStatic && !isDynamic)
      return false;
  }
  return ioBytes(io, bounds) != 0;
}

/// The inputs and the first output that heddle_session_step serves.
bool Checker::textInputsAreValid(const heddle_entry &entry, uint32_t inputs) const {
  const heddle_io *io = program.ios + entry.first_io;
  bool isStep = entry.kind == HEDDLE_ENTRY_STEP;
  uint32_t own = isStep ? 4 : 3; // more inputs are tensors of the model's own
  if (inputs < own || entry.io_count == inputs || header->vocabulary == 0 || header->vocabulary > INT32_MAX ||
      header->max_wanted == 0)
    return false;
  for (uint32_t i = 0; i < own; ++i)
    if (io[i].dtype != HEDDLE_DTYPE_I32 || io[i].rank != 1 ||
        io[i].dim_id[0] != (i == 3 ? HEDDLE_DIM_WANTED : HEDDLE_DIM_ROWS))
      return false;
  return !isStep || (header->caches.count != 0 && header->max_context != 0 &&
                     io[inputs].dtype == HEDDLE_DTYPE_F32 && io[inputs].rank == 2 &&
                     io[inputs].dim_id[0] == HEDDLE_DIM_WANTED && io[inputs].dim[1] == header->vocabulary);
}

heddle_status Checker::checkIos(const heddle_entry &entry) {
  if (!isString(entry.name) || entry.kind < HEDDLE_ENTRY_STEP || entry.kind > HEDDLE_ENTRY_TENSORS ||
      entry.io_count > 256 || !inRange(entry.first_io, entry.io_count, header->ios.count) ||
      !inRange(entry.first_variant, entry.variant_count, header->variants.count))
    return bad("an entry is out of range", entry.name);
  uint32_t inputs = inputCount(program, entry);
  // Dimensions that a run knows: from its inputs, or because it counts the texts.
  uint32_t known = entry.kind == HEDDLE_ENTRY_ENCODE ? 1 << HEDDLE_DIM_WANTED : 0;
  for (uint32_t i = 0; i < entry.io_count; ++i) {
    const heddle_io &io = program.ios[entry.first_io + i];
    if (!ioIsValid(io))
      return bad("an input or output is out of range", i);
    if (i >= inputs && !io.is_output)
      return bad("expected inputs before outputs", i);
    for (uint32_t d = 0; d < io.rank; ++d) {
      uint32_t bit = io.dim_id[d] < 0 ? 0 : 1 << io.dim_id[d];
      if (i < inputs)
        known |= bit;
      else if (bit & ~known)
        return bad("no input tells a dimension of output", i);
    }
  }
  if (entry.kind != HEDDLE_ENTRY_TENSORS && !textInputsAreValid(entry, inputs))
    return bad("expected a text entry's inputs and output", inputs);
  return HEDDLE_OK;
}

heddle_status Checker::checkVariant(const heddle_entry &entry, const heddle_variant &variant) {
  if (!isString(variant.name) || variant.max_rows < variant.min_rows || variant.max_rows > header->max_rows ||
      variant.work_rows > header->max_rows || (variant.work_rows && entry.kind == HEDDLE_ENTRY_TENSORS) ||
      variant.arena_bytes > maxBytes || variant.arena_bytes % 64 || variant.launch_count > launchesLeft ||
      !inRange(variant.first_launch, variant.launch_count, header->launches.count))
    return bad("a variant is out of range", &variant - program.variants);
  launchesLeft -= variant.launch_count;
  for (uint32_t l = 0; l < variant.launch_count; ++l)
    HEDDLE_TRY(checkLaunch(entry, variant, program.launches[variant.first_launch + l]));
  return HEDDLE_OK;
}

heddle_status Checker::checkVariants(const heddle_entry &entry) {
  uint32_t covered = 0;
  for (uint32_t i = 0; i < entry.variant_count; ++i) {
    const heddle_variant &variant = program.variants[entry.first_variant + i];
    if (variant.min_rows != covered + 1)
      return bad("a variant does not follow the one before", entry.first_variant + i);
    HEDDLE_TRY(checkVariant(entry, variant));
    covered = variant.max_rows;
    if (!variant.alternative_features)
      continue;
    const heddle_variant *other = program.variants + variant.alternative;
    if (variant.alternative >= header->variants.count || other->work_rows != variant.work_rows ||
        other->arena_bytes > variant.arena_bytes)
      return bad("expected an alternative that fits into its variant", entry.first_variant + i);
    HEDDLE_TRY(checkVariant(entry, *other));
  }
  return covered == header->max_rows ? HEDDLE_OK
                                     : bad("the variants of an entry do not cover all rows", covered);
}

heddle_status Checker::checkLaunch(const heddle_entry &entry, const heddle_variant &variant,
                                   const heddle_launch &launch) {
  if (!isString(launch.source) || launch.function >= header->functions.count ||
      !inRange(launch.first_operand, launch.operand_count, header->operands.count) ||
      launch.operand_count > 256 || launch.flags & ~static_cast<uint32_t>(HEDDLE_LAUNCH_BARRIER) ||
      launch.items_dim < -1 || launch.items_dim >= HEDDLE_DIM_COUNT || launch.items_div == 0 ||
      launch.grain == 0 || (launch.items_dim == HEDDLE_DIM_WORK && !variant.work_rows) ||
      launch.operand_count > operandsLeft ||
      (launch.items_dim >= 0 &&
       bounds[launch.items_dim] * static_cast<uint64_t>(launch.items_mul) > maxItems))
    return bad("a launch is out of range", &launch - program.launches);
  operandsLeft -= launch.operand_count;
  for (uint32_t i = 0; i < launch.operand_count; ++i)
    if (!operandIsValid(entry, variant, program.operands[launch.first_operand + i]))
      return fail(error, HEDDLE_INVALID_FILE,
                  "program.bin: operand %u of the launch for '%s' lies outside of its memory", i,
                  program.strings + launch.source);
  return HEDDLE_OK;
}

bool Checker::operandIsValid(const heddle_entry &entry, const heddle_variant &variant,
                             const heddle_operand &operand) const {
  uint64_t limit = 0, pages = static_cast<uint64_t>(header->max_slots) * pagesPerSlot(program);
  bool isStep = entry.kind == HEDDLE_ENTRY_STEP;
  switch (operand.kind) {
  case HEDDLE_OPERAND_ARENA:
    limit = variant.arena_bytes;
    break;
  case HEDDLE_OPERAND_WEIGHT:
    limit = header->weights_size;
    break;
  case HEDDLE_OPERAND_IO:
    if (operand.index < entry.io_count)
      limit = ioBytes(program.ios[entry.first_io + operand.index], bounds);
    break;
  case HEDDLE_OPERAND_CACHE:
    if (operand.index < header->caches.count && isStep)
      limit = pages * program.caches[operand.index].page_bytes; // below 2^62
    break;
  case HEDDLE_OPERAND_PAGE_TABLE:
    limit = isStep ? pages * sizeof(int32_t) : 0;
    break;
  case HEDDLE_OPERAND_WORK:
    limit = variant.work_rows ? header->max_rows * sizeof(heddle_work) : 0;
    break;
  }
  return limit && inRange(operand.offset, operand.bytes, limit);
}

heddle_status Checker::check() {
  HEDDLE_TRY(checkHeader());
  HEDDLE_TRY(checkTables());
  HEDDLE_TRY(checkCaches());
  for (uint64_t i = 0; i < header->entries.count; ++i) {
    const heddle_entry &entry = program.entries[i];
    HEDDLE_TRY(checkIos(entry));
    HEDDLE_TRY(checkVariants(entry));
    for (uint64_t j = 0; j < i; ++j)
      if (strcmp(program.strings + entry.name, program.strings + program.entries[j].name) == 0)
        return bad("two entries have one name", i);
  }
  return HEDDLE_OK;
}

} // namespace

heddle_status parseProgram(const void *bytes, uint64_t size, heddle_program &out, heddle_error *error) {
  return Checker(static_cast<const uint8_t *>(bytes), size, out, error).check();
}

} // namespace heddle::runtime
