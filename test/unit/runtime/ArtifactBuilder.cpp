#include "ArtifactBuilder.h"
#include "core/Sha256.h"
#include <cstring>
#include <elf.h>
#include <fstream>
#include <heddle/artifact.h>
#include <iterator>
#include <stdexcept>

namespace heddle::test {

ProgramBuilder::ProgramBuilder() {
  std::memcpy(header.magic, HEDDLE_PROGRAM_MAGIC, 8);
  header.version = HEDDLE_PROGRAM_VERSION;
  header.code_abi = HEDDLE_CODE_ABI;
}

uint32_t ProgramBuilder::string(const std::string &text) {
  uint32_t offset = strings.size();
  strings += text;
  strings += '\0';
  return offset;
}

void ProgramBuilder::io(const std::string &name, heddle_dtype dtype, bool isOutput,
                        std::vector<int64_t> dimensions) {
  heddle_io record = {};
  record.name = string(name);
  record.dtype = dtype;
  record.is_output = isOutput;
  record.rank = dimensions.size();
  for (size_t i = 0; i < HEDDLE_MAX_RANK; ++i) {
    int64_t dimension = i < dimensions.size() ? dimensions[i] : 0;
    record.dim[i] = dimension < 0 ? -1 : dimension;
    record.dim_id[i] = dimension < 0 ? -1 - dimension : -1;
  }
  ios.push_back(record);
  ++entries.back().io_count;
}

uint32_t ProgramBuilder::function(const std::string &name, uint64_t scratch) {
  functions.push_back({string(name), 0, scratch});
  offsets.push_back(kernelOffset(name));
  return functions.size() - 1;
}

void ProgramBuilder::launch(uint32_t function, std::vector<heddle_operand> list, int32_t itemsDim,
                            uint32_t itemsMultiplier, bool barrier) {
  heddle_launch record = {};
  record.function = function;
  record.first_operand = operands.size();
  record.operand_count = list.size();
  record.flags = barrier ? HEDDLE_LAUNCH_BARRIER : 0;
  record.items_dim = itemsDim;
  record.items_mul = itemsMultiplier;
  record.items_div = 1;
  record.grain = 1;
  record.source = functions[function].name;
  operands.insert(operands.end(), list.begin(), list.end());
  launches.push_back(record);
  ++variants.back().launch_count;
}

Bytes ProgramBuilder::build() const {
  heddle_program_header filled = header;
  Bytes out(sizeof(filled));
  auto table = [&](heddle_span &span, const auto &records) {
    out.resize((out.size() + 7) / 8 * 8);
    span = {out.size(), records.size()};
    auto *bytes = reinterpret_cast<const uint8_t *>(records.data());
    out.insert(out.end(), bytes, bytes + records.size() * sizeof(records[0]));
  };
  table(filled.strings, strings);
  table(filled.entries, entries);
  table(filled.ios, ios);
  table(filled.variants, variants);
  table(filled.launches, launches);
  table(filled.operands, operands);
  table(filled.functions, functions);
  table(filled.codes, codes);
  table(filled.offsets, offsets);
  table(filled.caches, caches);
  table(filled.weights, weights);
  filled.file_size = out.size();
  std::memcpy(out.data(), &filled, sizeof(filled));
  return out;
}

void ArtifactBuilder::add(const std::string &name, Bytes bytes) {
  bytes.resize((bytes.size() + HEDDLE_ZIP_SIZE_MULTIPLE - 1) / HEDDLE_ZIP_SIZE_MULTIPLE *
               HEDDLE_ZIP_SIZE_MULTIPLE);
  members.push_back({name, std::move(bytes)});
}

std::string ArtifactBuilder::makeManifest() const {
  std::string text = "{\"format\":1,\"members\":[";
  for (const Member &member : members) {
    uint8_t digest[32];
    runtime::sha256(member.bytes.data(), member.bytes.size(), digest);
    text += &member == members.data() ? "{" : ",{";
    text += "\"name\":\"" + member.name + "\",\"size_bytes\":" + std::to_string(member.bytes.size()) +
            ",\"sha256\":\"";
    for (uint8_t byte : digest) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    text += "\"}";
  }
  return text + "]}";
}

static uint32_t crc32(const Bytes &bytes) {
  static const std::vector<uint32_t> table = [] {
    std::vector<uint32_t> entries;
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit)
        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
      entries.push_back(crc);
    }
    return entries;
  }();
  uint32_t crc = ~0u;
  for (uint8_t byte : bytes)
    crc = crc >> 8 ^ table[(crc ^ byte) & 255];
  return ~crc;
}

Bytes ArtifactBuilder::build() const {
  std::vector<Member> all = members;
  std::string text = manifest.empty() ? makeManifest() : manifest;
  text.resize((text.size() + HEDDLE_ZIP_SIZE_MULTIPLE - 1) / HEDDLE_ZIP_SIZE_MULTIPLE *
                  HEDDLE_ZIP_SIZE_MULTIPLE,
              '\n');
  all.push_back({"manifest.json", Bytes(text.begin(), text.end())});
  Bytes out, directory;
  for (const Member &member : all) {
    uint8_t header[HEDDLE_ZIP_HEADER_BYTES];
    uint64_t start = out.size(), size = member.bytes.size();
    uint32_t padding = heddle_zip_padding(member.name.size(), size, start);
    size_t zeros = padding ? padding - 4 : 0;
    size_t length = heddle_zip_header(header, 0, member.name.c_str(), size, crc32(member.bytes), start);
    out.insert(out.end(), header, header + length);
    out.resize(out.size() + zeros);
    out.insert(out.end(), member.bytes.begin(), member.bytes.end());
    length = heddle_zip_header(header, 1, member.name.c_str(), size, crc32(member.bytes), start);
    directory.insert(directory.end(), header, header + length);
    directory.resize(directory.size() + zeros);
  }
  uint8_t end[HEDDLE_ZIP_HEADER_BYTES];
  size_t length = heddle_zip_end(end, all.size(), directory.size(), out.size());
  out.insert(out.end(), directory.begin(), directory.end());
  out.insert(out.end(), end, end + length);
  return out;
}

const Bytes &kernelImage() {
  static const Bytes image = [] {
    std::ifstream file(HEDDLE_TEST_KERNELS, std::ios::binary);
    if (!file)
      throw std::runtime_error("cannot read " HEDDLE_TEST_KERNELS);
    return Bytes(std::istreambuf_iterator<char>(file), {});
  }();
  return image;
}

uint64_t kernelOffset(const std::string &name) {
  const Bytes &image = kernelImage();
  auto *header = reinterpret_cast<const Elf64_Ehdr *>(image.data());
  auto *sections = reinterpret_cast<const Elf64_Shdr *>(image.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_DYNSYM)
      continue;
    auto *symbols = reinterpret_cast<const Elf64_Sym *>(image.data() + sections[i].sh_offset);
    auto *names = reinterpret_cast<const char *>(image.data() + sections[sections[i].sh_link].sh_offset);
    for (size_t s = 0; s < sections[i].sh_size / sizeof(Elf64_Sym); ++s)
      if (name == names + symbols[s].st_name)
        return symbols[s].st_value;
  }
  throw std::runtime_error("no kernel " + name);
}

static heddle_operand operand(uint32_t kind, uint32_t index, uint64_t offset, uint64_t bytes) {
  return {kind, index, offset, bytes};
}

ToyModel::ToyModel() {
  constexpr int64_t rows = -1 - HEDDLE_DIM_ROWS, wanted = -1 - HEDDLE_DIM_WANTED;
  constexpr uint64_t sumBytes = (maxRows * 2 * 4 + 63) / 64 * 64,
                     pages = maxSlots * maxContext / HEDDLE_PAGE_TOKENS;
  for (uint32_t v = 0; v < vocabulary; ++v)
    weights.push_back(1.0f + v);
  ProgramBuilder &p = program;
  p.header.weights_size = vocabulary * sizeof(float);
  p.weights.push_back(p.string("weights.bin"));
  p.header.max_rows = maxRows;
  p.header.max_wanted = maxWanted;
  p.header.max_context = maxContext;
  p.header.max_slots = maxSlots;
  p.header.vocabulary = vocabulary;
  p.codes.push_back({p.string("code/test.elf"), HEDDLE_CPU_X86_64_V3});
  heddle_cache cache = {2, 4, 4, HEDDLE_DTYPE_F16, HEDDLE_PAGE_TOKENS * 2 * 8 * 2, 0, 0};
  p.caches = {cache};
  uint32_t append = p.function("append"), attend = p.function("attend"), head = p.function("head"),
           pool = p.function("pool"), scale = p.function("scale", 64), gate = p.function("gate"),
           observe = p.function("observe");

  auto entry = [&](const char *name, heddle_entry_kind kind) {
    p.entries.push_back({p.string(name), static_cast<uint32_t>(kind), static_cast<uint32_t>(p.ios.size()), 0,
                         static_cast<uint32_t>(p.variants.size()), 0});
  };
  auto variant = [&](uint32_t first, uint32_t last, uint32_t workRows, uint64_t arena) {
    p.variants.push_back(
        {p.string("rows"), first, last, static_cast<uint32_t>(p.launches.size()), 0, workRows, arena});
    ++p.entries.back().variant_count;
  };
  auto io = [&](uint32_t index) {
    int64_t bounds[] = {maxRows, maxWanted, maxRows};
    const heddle_io &record = p.ios[p.entries.back().first_io + index];
    uint64_t bytes = 4;
    for (uint32_t i = 0; i < record.rank; ++i)
      bytes *= record.dim[i] < 0 ? bounds[record.dim_id[i]] : record.dim[i];
    return operand(HEDDLE_OPERAND_IO, index, 0, bytes);
  };
  heddle_operand table = operand(HEDDLE_OPERAND_PAGE_TABLE, 0, 0, pages * 4),
                 kv = operand(HEDDLE_OPERAND_CACHE, 0, 0, pages * cache.page_bytes),
                 work = operand(HEDDLE_OPERAND_WORK, 0, 0, maxRows * sizeof(heddle_work)),
                 weight = operand(HEDDLE_OPERAND_WEIGHT, 0, 0, vocabulary * 4);

  entry("step", HEDDLE_ENTRY_STEP);
  p.io("tokens", HEDDLE_DTYPE_I32, false, {rows});
  p.io("slots", HEDDLE_DTYPE_I32, false, {rows});
  p.io("positions", HEDDLE_DTYPE_I32, false, {rows});
  p.io("wanted", HEDDLE_DTYPE_I32, false, {wanted});
  p.io("logits", HEDDLE_DTYPE_F32, true, {wanted, vocabulary});
  // Two variants with different pieces of work and places in the arena.
  for (int v = 0; v < 2; ++v) {
    variant(v ? 5 : 1, v ? maxRows : 4, v ? 32 : 4, sumBytes * (v + 1));
    heddle_operand sums = operand(HEDDLE_OPERAND_ARENA, 0, sumBytes * v, sumBytes);
    p.launch(append, {io(0), io(1), io(2), table, kv}, HEDDLE_DIM_ROWS);
    p.launch(attend, {work, table, kv, sums}, HEDDLE_DIM_WORK, 2);
    p.launch(head, {sums, io(3), weight, io(4)}, HEDDLE_DIM_WANTED);
  }

  entry("encode", HEDDLE_ENTRY_ENCODE);
  p.io("tokens", HEDDLE_DTYPE_I32, false, {rows});
  p.io("sequences", HEDDLE_DTYPE_I32, false, {rows});
  p.io("positions", HEDDLE_DTYPE_I32, false, {rows});
  p.io("embeddings", HEDDLE_DTYPE_F32, true, {wanted, width});
  variant(1, maxRows, maxRows, 0);
  p.launch(pool, {work, io(0), io(2), io(3)}, HEDDLE_DIM_WORK);

  entry("scale", HEDDLE_ENTRY_TENSORS);
  p.io("x", HEDDLE_DTYPE_F32, false, {rows, width});
  p.io("y", HEDDLE_DTYPE_F32, true, {rows, width});
  variant(1, maxRows, 0, 0);
  p.launch(scale, {io(0), io(1)}, HEDDLE_DIM_ROWS);

  entry("control", HEDDLE_ENTRY_TENSORS);
  p.io("control", HEDDLE_DTYPE_I32, false, {8});
  p.io("state", HEDDLE_DTYPE_I32, true, {1});
  variant(1, maxRows, 0, 0);
  p.launch(gate, {io(0)}, -1);
  p.launch(observe, {io(0), io(1)}, -1);
}

ArtifactBuilder ToyModel::artifact() const {
  ArtifactBuilder artifact;
  artifact.add("program.bin", program.build());
  artifact.add("code/test.elf", kernelImage());
  auto *bytes = reinterpret_cast<const uint8_t *>(weights.data());
  artifact.add("weights.bin", Bytes(bytes, bytes + weights.size() * sizeof(float)));
  return artifact;
}

ArtifactBuilder relayModel(uint32_t launches, uint32_t rows) {
  ProgramBuilder p;
  p.header.max_rows = rows;
  p.header.max_slots = 1;
  p.codes.push_back({p.string("code/test.elf"), HEDDLE_CPU_X86_64_V3});
  uint32_t relay = p.function("relay");
  p.entries.push_back({p.string("relay"), HEDDLE_ENTRY_TENSORS, 0, 0, 0, 1});
  p.io("from", HEDDLE_DTYPE_I32, false, {-1});
  p.io("to", HEDDLE_DTYPE_I32, true, {-1});
  uint64_t bytes = rows * 4, half = (bytes + 63) / 64 * 64;
  p.variants.push_back({p.string("all"), 1, rows, 0, 0, 0, 2 * half});
  for (uint32_t i = 0; i < launches; ++i) {
    heddle_operand from = operand(HEDDLE_OPERAND_ARENA, 0, half * (i % 2), bytes),
                   to = operand(HEDDLE_OPERAND_ARENA, 0, half * ((i + 1) % 2), bytes);
    if (i == 0)
      from = operand(HEDDLE_OPERAND_IO, 0, 0, bytes);
    if (i + 1 == launches)
      to = operand(HEDDLE_OPERAND_IO, 1, 0, bytes);
    p.launch(relay, {from, to}, HEDDLE_DIM_ROWS);
  }
  ArtifactBuilder artifact;
  artifact.add("program.bin", p.build());
  artifact.add("code/test.elf", kernelImage());
  return artifact;
}

heddle_source memorySource(const Bytes &bytes) {
  heddle_source source = {};
  source.struct_size = sizeof(source);
  source.kind = HEDDLE_SOURCE_MEMORY;
  source.memory = bytes.data();
  source.memory_size = bytes.size();
  return source;
}

heddle_model_options vouched() {
  heddle_model_options options = {};
  options.struct_size = sizeof(options);
  options.trust = HEDDLE_TRUST_EMBEDDER_VOUCHES;
  return options;
}

} // namespace heddle::test
