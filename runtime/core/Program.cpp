#include "core/Program.h"
#include <heddle/artifact.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

namespace heddle::runtime {

// Caps on what a program may ask for; far above any model, low enough that no product below overflows.
static constexpr uint64_t maxRows = 1u << 20, maxContext = 1u << 24, maxSlots = 1u << 16, maxPages = 1u << 30,
                          maxBytes = 1ull << 46, maxItems = 1ull << 40, maxLaunches = 1u << 20,
                          maxOperands = 1u << 23;

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

  [[gnu::format(printf, 2, 3), gnu::cold]] heddle_status bad(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return fail(error, HEDDLE_INVALID_FILE, "program.bin: %s", text);
  }

  template <typename T> heddle_status table(const heddle_span &span, uint64_t most, const T *&out, const char *name) {
    if (span.offset % 8 || span.count > most || !inRange(span.offset, span.count * sizeof(T), header->file_size))
      return bad("table '%s' (%" PRIu64 " records at byte %" PRIu64 ") does not lie in the file (%" PRIu64 " bytes)",
                 name, span.count, span.offset, header->file_size);
    out = reinterpret_cast<const T *>(bytes + span.offset);
    return HEDDLE_OK;
  }

  bool isString(uint32_t offset) const { return offset < header->strings.count; }
  heddle_status checkHeader();
  heddle_status checkTables();
  heddle_status checkCaches();
  heddle_status checkIo(const heddle_entry &entry, const heddle_io &io);
  heddle_status checkTextEntry(const heddle_entry &entry, uint32_t inputs);
  heddle_status checkEntry(const heddle_entry &entry);
  heddle_status checkLaunch(const heddle_entry &entry, const heddle_variant &variant, const heddle_launch &launch);
  heddle_status checkOperand(const heddle_entry &entry, const heddle_variant &variant, const heddle_operand &operand);
};

heddle_status Checker::checkHeader() {
  if (size < sizeof(*header))
    return bad("%" PRIu64 " bytes are too few for the header", size);
  header = program.header = reinterpret_cast<const heddle_program_header *>(bytes);
  if (memcmp(header->magic, HEDDLE_PROGRAM_MAGIC, 8) != 0)
    return bad("expected it to start with '" HEDDLE_PROGRAM_MAGIC "'");
  if (header->version != HEDDLE_PROGRAM_VERSION || header->code_abi != HEDDLE_CODE_ABI)
    return fail(error, HEDDLE_UNSUPPORTED,
                "program.bin: version %u with code ABI %u, but this library runs version %u with code ABI %u; compile "
                "the model again or use the matching Heddle",
                header->version, header->code_abi, HEDDLE_PROGRAM_VERSION, HEDDLE_CODE_ABI);
  // The container rounds the size up with zeros.
  if (header->file_size > size || size - header->file_size >= HEDDLE_ZIP_SIZE_MULTIPLE)
    return bad("expected %" PRIu64 " bytes, but found %" PRIu64, header->file_size, size);
  for (uint64_t i = header->file_size; i < size; ++i)
    if (bytes[i])
      return bad("expected zeros behind its end");
  if (header->weights_size > maxBytes)
    return bad("the weights' size %" PRIu64 " is too large", header->weights_size);
  if (header->max_rows == 0 || header->max_rows > maxRows || header->max_wanted > header->max_rows)
    return bad("bounds of %u rows and %u wanted rows are out of range", header->max_rows, header->max_wanted);
  if (header->max_context > maxContext || header->max_context % HEDDLE_PAGE_TOKENS)
    return bad("a context of %u tokens is out of range or no multiple of %u", header->max_context,
               HEDDLE_PAGE_TOKENS);
  if (header->max_slots == 0 || header->max_slots > maxSlots ||
      static_cast<uint64_t>(header->max_slots) * (header->max_context / HEDDLE_PAGE_TOKENS) > maxPages)
    return bad("%u sequences are out of range", header->max_slots);
  bounds[HEDDLE_DIM_ROWS] = header->max_rows;
  bounds[HEDDLE_DIM_WANTED] = header->max_wanted;
  bounds[HEDDLE_DIM_WORK] = header->max_rows; // every piece of work has a row at least
  return HEDDLE_OK;
}

heddle_status Checker::checkTables() {
  HEDDLE_TRY(table(header->strings, 1u << 26, program.strings, "strings"));
  HEDDLE_TRY(table(header->entries, 64, program.entries, "entries"));
  HEDDLE_TRY(table(header->ios, 4096, program.ios, "ios"));
  HEDDLE_TRY(table(header->variants, 1024, program.variants, "variants"));
  HEDDLE_TRY(table(header->launches, maxLaunches, program.launches, "launches"));
  HEDDLE_TRY(table(header->operands, maxOperands, program.operands, "operands"));
  HEDDLE_TRY(table(header->functions, 1u << 16, program.functions, "functions"));
  HEDDLE_TRY(table(header->codes, HEDDLE_ZIP_MAX_MEMBERS, program.codes, "codes"));
  HEDDLE_TRY(table(header->offsets, 1u << 22, program.offsets, "offsets"));
  HEDDLE_TRY(table(header->caches, 1u << 12, program.caches, "caches"));
  if (header->entries.count == 0)
    return bad("expected an entry");
  if (header->strings.count == 0 || program.strings[header->strings.count - 1] != 0)
    return bad("expected the strings to end with a zero byte");
  for (uint64_t i = 0; i < header->strings.count; ++i) {
    unsigned char c = program.strings[i];
    if ((c != 0 && c < 0x20) || c == 0x7f)
      return bad("a string has control character %u", c);
  }
  if (!isString(header->sources))
    return bad("the sources' string lies outside of the strings");
  if (header->offsets.count != header->codes.count * header->functions.count)
    return bad("expected %" PRIu64 " function offsets, but found %" PRIu64,
               header->codes.count * header->functions.count, header->offsets.count);
  for (uint64_t i = 0; i < header->functions.count; ++i)
    if (!isString(program.functions[i].name) || program.functions[i].scratch_bytes > maxBytes)
      return bad("function %" PRIu64 " is out of range", i);
  for (uint64_t i = 0; i < header->codes.count; ++i)
    if (!isString(program.codes[i].member))
      return bad("code %" PRIu64 " is out of range", i);
  return HEDDLE_OK;
}

heddle_status Checker::checkCaches() {
  if ((header->caches.count != 0) != (header->max_context != 0))
    return bad("expected a context if and only if there are caches");
  for (uint64_t i = 0; i < header->caches.count; ++i) {
    const heddle_cache &cache = program.caches[i];
    if (cache.dtype != HEDDLE_DTYPE_F16)
      return fail(error, HEDDLE_UNSUPPORTED, "program.bin: cache %" PRIu64 " has element type %u, but this library "
                                             "keeps f16",
                  i, cache.dtype);
    uint64_t width = static_cast<uint64_t>(cache.key_dim) + cache.value_dim;
    if (cache.heads == 0 || cache.heads > 4096 || width == 0 || width > 65536 || !isString(cache.source) ||
        cache.page_bytes != HEDDLE_PAGE_TOKENS * cache.heads * width * 2)
      return bad("cache %" PRIu64 " is out of range", i);
  }
  return HEDDLE_OK;
}

heddle_status Checker::checkIo(const heddle_entry &entry, const heddle_io &io) {
  if (!isString(io.name) || dtypeBytes(io.dtype) == 0 || io.rank > HEDDLE_MAX_RANK || io.is_output > 1)
    return bad("an input or output of entry '%s' is out of range", program.strings + entry.name);
  for (uint32_t i = 0; i < io.rank; ++i) {
    bool isStatic = io.dim[i] >= 0 && io.dim_id[i] == -1;
    bool isDynamic = io.dim[i] == -1 && (io.dim_id[i] == HEDDLE_DIM_ROWS || io.dim_id[i] == HEDDLE_DIM_WANTED);
    if (!isStatic && !isDynamic)
      return bad("dimension %u of '%s' is neither static nor known at run time", i, program.strings + io.name);
  }
  if (ioBytes(io, bounds) == 0)
    return bad("'%s' is empty or too large", program.strings + io.name);
  return HEDDLE_OK;
}

/// The inputs and outputs that heddle_session_step serves.
heddle_status Checker::checkTextEntry(const heddle_entry &entry, uint32_t inputs) {
  const heddle_io *io = program.ios + entry.first_io;
  bool isStep = entry.kind == HEDDLE_ENTRY_STEP;
  bool ok = inputs == (isStep ? 4 : 3) && entry.io_count > inputs && header->vocabulary != 0 &&
            header->vocabulary <= INT32_MAX && header->max_wanted != 0 && (!isStep || header->max_context != 0);
  for (uint32_t i = 0; ok && i < inputs; ++i)
    ok = io[i].dtype == HEDDLE_DTYPE_I32 && io[i].rank == 1 &&
         io[i].dim_id[0] == (i == 3 ? HEDDLE_DIM_WANTED : HEDDLE_DIM_ROWS);
  if (!ok)
    return bad("expected entry '%s' to have the inputs of a text entry (tokens, slots, positions%s)",
               program.strings + entry.name, isStep ? ", wanted" : "");
  if (isStep && (io[4].dtype != HEDDLE_DTYPE_F32 || io[4].rank != 2 || io[4].dim_id[0] != HEDDLE_DIM_WANTED ||
                 io[4].dim[1] != header->vocabulary))
    return bad("expected the first output of entry '%s' to be f32 logits [wanted, %u]", program.strings + entry.name,
               header->vocabulary);
  return HEDDLE_OK;
}

heddle_status Checker::checkEntry(const heddle_entry &entry) {
  if (!isString(entry.name) || entry.kind < 1 || entry.kind > 3 ||
      !inRange(entry.first_io, entry.io_count, header->ios.count) || entry.io_count > 256 ||
      !inRange(entry.first_variant, entry.variant_count, header->variants.count))
    return bad("an entry is out of range");
  const char *name = program.strings + entry.name;
  uint32_t inputs = inputCount(program, entry);
  bool setsRows = false, setsWanted = false;
  for (uint32_t i = 0; i < entry.io_count; ++i) {
    const heddle_io &io = program.ios[entry.first_io + i];
    HEDDLE_TRY(checkIo(entry, io));
    if (i >= inputs && !io.is_output)
      return bad("expected the inputs of entry '%s' before its outputs", name);
    for (uint32_t d = 0; d < io.rank; ++d) {
      bool &sets = io.dim_id[d] == HEDDLE_DIM_WANTED ? setsWanted : setsRows;
      if (io.dim_id[d] < 0)
        continue;
      if (i < inputs)
        sets = true;
      else if (!sets && !(entry.kind == HEDDLE_ENTRY_ENCODE && io.dim_id[d] == HEDDLE_DIM_WANTED))
        return bad("no input of entry '%s' tells dimension %u of output '%s'", name, d, program.strings + io.name);
    }
  }
  if (entry.kind != HEDDLE_ENTRY_TENSORS)
    HEDDLE_TRY(checkTextEntry(entry, inputs));

  uint32_t covered = 0;
  for (uint32_t i = 0; i < entry.variant_count; ++i) {
    const heddle_variant &variant = program.variants[entry.first_variant + i];
    if (!isString(variant.name) || variant.min_rows != covered + 1 || variant.max_rows < variant.min_rows ||
        variant.max_rows > header->max_rows || variant.work_rows > header->max_rows ||
        variant.arena_bytes > maxBytes || variant.arena_bytes % 64 ||
        !inRange(variant.first_launch, variant.launch_count, header->launches.count))
      return bad("variant %u of entry '%s' is out of range", i, name);
    if (variant.work_rows && entry.kind == HEDDLE_ENTRY_TENSORS)
      return bad("entry '%s' has attention work but no tokens", name);
    covered = variant.max_rows;
    if (variant.launch_count > launchesLeft)
      return bad("the variants have more than %" PRIu64 " launches", maxLaunches);
    launchesLeft -= variant.launch_count;
    for (uint32_t l = 0; l < variant.launch_count; ++l)
      HEDDLE_TRY(checkLaunch(entry, variant, program.launches[variant.first_launch + l]));
  }
  if (covered != header->max_rows)
    return bad("expected the variants of entry '%s' to cover 1 to %u rows, but they end at %u", name,
               header->max_rows, covered);
  return HEDDLE_OK;
}

heddle_status Checker::checkLaunch(const heddle_entry &entry, const heddle_variant &variant,
                                   const heddle_launch &launch) {
  if (!isString(launch.source) || launch.function >= header->functions.count ||
      !inRange(launch.first_operand, launch.operand_count, header->operands.count) || launch.operand_count > 256 ||
      launch.flags & ~static_cast<uint32_t>(HEDDLE_LAUNCH_BARRIER) || launch.items_dim < -1 ||
      launch.items_dim >= HEDDLE_DIM_COUNT || launch.items_div == 0 || launch.grain == 0)
    return bad("a launch of entry '%s' is out of range", program.strings + entry.name);
  if (launch.operand_count > operandsLeft)
    return bad("the launches have more than %" PRIu64 " operands", maxOperands);
  operandsLeft -= launch.operand_count;
  const char *source = program.strings + launch.source;
  if (launch.items_dim == HEDDLE_DIM_WORK && !variant.work_rows)
    return bad("the launch for '%s' counts attention work, but variant '%s' has none", source,
               program.strings + variant.name);
  if (launch.items_dim >= 0 && bounds[launch.items_dim] * static_cast<uint64_t>(launch.items_mul) > maxItems)
    return bad("the launch for '%s' has too many items", source);
  for (uint32_t i = 0; i < launch.operand_count; ++i)
    if (checkOperand(entry, variant, program.operands[launch.first_operand + i]) != HEDDLE_OK)
      return bad("operand %u of the launch for '%s' lies outside of its memory", i, source);
  return HEDDLE_OK;
}

heddle_status Checker::checkOperand(const heddle_entry &entry, const heddle_variant &variant,
                                    const heddle_operand &operand) {
  uint64_t limit = 0, pages = static_cast<uint64_t>(header->max_slots) * pagesPerSlot(program);
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
    if (operand.index < header->caches.count && entry.kind == HEDDLE_ENTRY_STEP &&
        !multiply(pages, program.caches[operand.index].page_bytes, limit))
      limit = 0;
    break;
  case HEDDLE_OPERAND_PAGE_TABLE:
    limit = entry.kind == HEDDLE_ENTRY_STEP ? pages * sizeof(int32_t) : 0;
    break;
  case HEDDLE_OPERAND_WORK:
    limit = variant.work_rows ? header->max_rows * sizeof(heddle_work) : 0;
    break;
  }
  return limit && inRange(operand.offset, operand.bytes, limit) ? HEDDLE_OK : HEDDLE_INVALID_FILE;
}

heddle_status Checker::check() {
  HEDDLE_TRY(checkHeader());
  HEDDLE_TRY(checkTables());
  HEDDLE_TRY(checkCaches());
  for (uint64_t i = 0; i < header->entries.count; ++i) {
    HEDDLE_TRY(checkEntry(program.entries[i]));
    for (uint64_t j = 0; j < i; ++j)
      if (strcmp(program.strings + program.entries[i].name, program.strings + program.entries[j].name) == 0)
        return bad("two entries are called '%s'", program.strings + program.entries[i].name);
  }
  return HEDDLE_OK;
}

} // namespace

heddle_status parseProgram(const void *bytes, uint64_t size, heddle_program &out, heddle_error *error) {
  return Checker(static_cast<const uint8_t *>(bytes), size, out, error).check();
}

} // namespace heddle::runtime
