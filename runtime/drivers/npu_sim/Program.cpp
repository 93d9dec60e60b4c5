// The member of an artifact that holds NPU code (heddle/npu.h), read and written.
#include "drivers/npu_sim/Simulator.h"
#include <cstring>

namespace heddle::npu_sim {

namespace {

struct FileError {
  std::string message;
};

class Reader {
public:
  explicit Reader(std::span<const std::byte> file) : file(file) {
    if (file.size() < sizeof(header))
      throw FileError{"shorter than its header"};
    std::memcpy(&header, file.data(), sizeof(header));
    if (std::memcmp(header.magic, HEDDLE_NPU_MAGIC, 8) != 0)
      throw FileError{"no NPU code: the magic bytes are missing"};
    // The archive rounds members up with zeros.
    if (header.file_size < sizeof(header) || header.file_size > file.size())
      throw FileError{"'file_size' is " + std::to_string(header.file_size) + ", but the file has " +
                      std::to_string(file.size()) + " bytes"};
  }

  template <typename T> std::vector<T> table(heddle_span span, const char *name, uint64_t limit) const {
    if (span.count > limit)
      throw FileError{"'" + std::string(name) + "' has " + std::to_string(span.count) + " records; at most " +
                      std::to_string(limit)};
    if (span.offset > header.file_size || span.count > (header.file_size - span.offset) / sizeof(T))
      throw FileError{"'" + std::string(name) + "' ends past the end of the file"};
    std::vector<T> out(span.count);
    if (!out.empty())
      std::memcpy(out.data(), file.data() + span.offset, span.count * sizeof(T));
    return out;
  }

  heddle_npu_header header;

private:
  std::span<const std::byte> file;
};

constexpr uint64_t maxFunctions = 1 << 16, maxBytes = 1 << 28;

std::string stringAt(const std::vector<char> &strings, uint32_t offset) {
  if (offset >= strings.size())
    throw FileError{"a string lies outside of the table of strings"};
  const char *begin = strings.data() + offset;
  return std::string(begin, strnlen(begin, strings.size() - offset));
}

template <typename T> std::vector<T> slice(const std::vector<T> &all, uint64_t first, uint64_t count) {
  if (first > all.size() || count > all.size() - first)
    throw FileError{"a function's part lies outside of its table"};
  return {all.begin() + first, all.begin() + first + count};
}

std::unique_ptr<Program> readProgram(std::span<const std::byte> bytes) {
  Reader file(bytes);
  auto program = std::make_unique<Program>();
  program->machine = findMachine(file.header.machine);
  if (!program->machine)
    throw FileError{"unknown machine " + std::to_string(file.header.machine)};
  auto functions = file.table<heddle_npu_function>(file.header.functions, "functions", maxFunctions);
  auto commands = file.table<Command>(file.header.commands, "commands", HEDDLE_NPU_MAX_COMMANDS);
  auto sources = file.table<heddle_npu_source>(file.header.sources, "sources", HEDDLE_NPU_MAX_COMMANDS);
  auto data = file.table<std::byte>(file.header.data, "data", maxBytes);
  auto strings = file.table<char>(file.header.strings, "strings", maxBytes);
  uint64_t total = 0; // functions may share bytes of the file: what they become in memory is bounded as well
  for (const heddle_npu_function &record : functions) {
    Function function;
    function.name = stringAt(strings, record.name);
    total += record.command_count * sizeof(Command) + record.data_bytes;
    if (record.data_bytes > maxBytes || total > maxBytes)
      throw FileError{"functions are larger than " + std::to_string(maxBytes) + " bytes"};
    function.commands = slice(commands, record.first_command, record.command_count);
    function.data = slice(data, record.data_offset, record.data_bytes);
    function.operandCount = record.operand_count;
    if (record.operand_count > HEDDLE_NPU_MAX_OPERANDS)
      throw FileError{"function '" + function.name + "' has " + std::to_string(record.operand_count) +
                      " operands; at most " + std::to_string(HEDDLE_NPU_MAX_OPERANDS)};
    size_t bad;
    std::string problem = validate(function.commands, *program->machine, bad);
    if (!problem.empty())
      throw FileError{"function '" + function.name + "', command " + std::to_string(bad) + ": " + problem};
    program->functions.push_back(std::move(function));
  }
  uint32_t last = 0;
  for (const heddle_npu_source &source : sources) {
    if (source.command < last)
      throw FileError{"'sources' are not ascending"};
    last = source.command;
    std::string name = stringAt(strings, source.name);
    for (size_t i = 0; i < functions.size(); ++i)
      if (uint32_t offset = source.command - functions[i].first_command;
          source.command >= functions[i].first_command && offset < functions[i].command_count &&
          (total += name.size()) <= maxBytes)
        program->functions[i].sources.push_back({offset, name});
  }
  return program;
}

} // namespace

std::unique_ptr<Program> Program::read(std::span<const std::byte> file, std::string &error) {
  try {
    return readProgram(file);
  } catch (const FileError &problem) {
    error = problem.message;
    return nullptr;
  }
}

namespace {

class Writer {
public:
  uint32_t string(const std::string &text) {
    uint32_t offset = strings.size();
    strings.insert(strings.end(), text.c_str(), text.c_str() + text.size() + 1);
    return offset;
  }
  template <typename T> heddle_span append(const std::vector<T> &records) {
    heddle_span span = {file.size(), records.size()};
    auto begin = reinterpret_cast<const std::byte *>(records.data());
    file.insert(file.end(), begin, begin + records.size() * sizeof(T));
    file.resize((file.size() + 7) / 8 * 8);
    return span;
  }
  std::vector<std::byte> file = std::vector<std::byte>(sizeof(heddle_npu_header));
  std::vector<char> strings;
};

} // namespace

std::vector<std::byte> Program::write() const {
  Writer out;
  std::vector<heddle_npu_function> records;
  std::vector<Command> commands;
  std::vector<heddle_npu_source> sources;
  std::vector<std::byte> data;
  for (const Function &function : functions) {
    data.resize((data.size() + 63) / 64 * 64);
    records.push_back({out.string(function.name), static_cast<uint32_t>(commands.size()),
                       static_cast<uint32_t>(function.commands.size()), function.operandCount, data.size(),
                       function.data.size()});
    for (const Function::Source &source : function.sources)
      sources.push_back({static_cast<uint32_t>(commands.size()) + source.command, out.string(source.name)});
    commands.insert(commands.end(), function.commands.begin(), function.commands.end());
    data.insert(data.end(), function.data.begin(), function.data.end());
  }
  heddle_npu_header header = {};
  std::memcpy(header.magic, HEDDLE_NPU_MAGIC, 8);
  header.machine = machine->id;
  header.functions = out.append(records);
  header.commands = out.append(commands);
  header.sources = out.append(sources);
  header.data = out.append(data);
  header.strings = out.append(out.strings);
  header.file_size = out.file.size();
  std::memcpy(out.file.data(), &header, sizeof(header));
  return out.file;
}

const Function *Program::find(std::string_view name) const {
  for (const Function &function : functions)
    if (function.name == name)
      return &function;
  return nullptr;
}

const std::string &Function::sourceOf(size_t command) const {
  static const std::string none;
  const std::string *found = &none;
  for (const Source &source : sources)
    if (source.command <= command)
      found = &source.name;
  return *found;
}

} // namespace heddle::npu_sim
