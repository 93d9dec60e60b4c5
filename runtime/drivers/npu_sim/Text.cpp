#include "drivers/npu_sim/Command.h"
#include <charconv>

namespace heddle::npu_sim {

static constexpr std::string_view typeNames[] = {"s8", "s16", "s32"};

std::string print(const Command &command) {
  const CommandInfo *info = infoOf(command.opcode);
  if (!info)
    return "unknown opcode " + std::to_string(command.opcode);
  std::string out = info->name;
  if (command.function < info->function_count)
    out += " " + std::string(info->functions[command.function]);
  for (int i = 0; i < info->type_count; ++i)
    if (int type = command.types >> (2 * i) & 3; type < 3)
      out += " " + std::string(info->types[i]) + ":" + std::string(typeNames[type]);
  for (int i = 0; i < info->mode_count; ++i)
    if (command.modes >> i & 1)
      out += " " + std::string(info->modes[i]);
  for (int i = 0; i < info->field_count; ++i) {
    int reg = command.registers[i], immediate = command.immediates[i];
    if (reg == 0 && immediate == 0)
      continue;
    out += " " + std::string(info->fields[i]) + "=";
    if (reg != 0)
      out += "r" + std::to_string(reg) + (immediate == 0 ? "" : immediate > 0 ? "+" : "");
    if (reg == 0 || immediate != 0)
      out += std::to_string(immediate);
  }
  return out;
}

namespace {

/// The next word of `line`, which is shortened; empty at the end.
std::string_view takeWord(std::string_view &line) {
  size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos)
    return line = {};
  size_t end = std::min(line.find_first_of(" \t", begin), line.size());
  std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

/// Decimal or 0x...; up to 2^32 - 1, since addresses of accumulators do not fit an s32.
bool parseNumber(std::string_view text, int32_t &out) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+'))
    text.remove_prefix(1);
  bool hex = text.starts_with("0x");
  if (hex)
    text.remove_prefix(2);
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < 0)
    return false;
  value = negative ? -value : value;
  out = static_cast<int32_t>(value);
  return value >= INT32_MIN && value <= UINT32_MAX;
}

bool parseValue(std::string_view text, uint8_t &reg, int32_t &immediate) {
  reg = 0, immediate = 0;
  if (!text.starts_with('r'))
    return parseNumber(text, immediate);
  text.remove_prefix(1);
  size_t digits = std::min(text.find_first_of("+-"), text.size());
  auto [end, error] = std::from_chars(text.data(), text.data() + digits, reg);
  return error == std::errc() && end == text.data() + digits && digits > 0 &&
         (digits == text.size() || parseNumber(text.substr(digits), immediate));
}

template <typename Names> int indexOf(const Names &names, int count, std::string_view name) {
  for (int i = 0; i < count; ++i)
    if (name == names[i])
      return i;
  return -1;
}

bool parseWord(std::string_view word, const CommandInfo &info, Command &command) {
  if (size_t equals = word.find('='); equals != std::string_view::npos) {
    int i = indexOf(info.fields, info.field_count, word.substr(0, equals));
    return i >= 0 && parseValue(word.substr(equals + 1), command.registers[i], command.immediates[i]);
  }
  if (size_t colon = word.find(':'); colon != std::string_view::npos) {
    int i = indexOf(info.types, info.type_count, word.substr(0, colon));
    int type = indexOf(typeNames, 3, word.substr(colon + 1));
    command.types |= i >= 0 && type >= 0 ? type << (2 * i) : 0;
    return i >= 0 && type >= 0;
  }
  if (int i = indexOf(info.modes, info.mode_count, word); i >= 0) {
    command.modes |= 1 << i;
    return true;
  }
  int function = indexOf(info.functions, info.function_count, word);
  command.function = function < 0 ? 0 : function;
  return function >= 0;
}

} // namespace

bool parse(std::string_view text, std::vector<Command> &out, std::string &error) {
  for (int number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    line = line.substr(0, line.find('#'));
    std::string_view name = takeWord(line);
    if (name.empty())
      continue;
    const CommandInfo *info = nullptr;
    for (const CommandInfo &candidate : heddle_npu_command_table)
      if (name == candidate.name)
        info = &candidate;
    Command command = {};
    command.opcode = info ? info->opcode : 0;
    std::string_view bad = info ? "" : name;
    for (std::string_view word; bad.empty() && !(word = takeWord(line)).empty();)
      if (!parseWord(word, *info, command))
        bad = word;
    if (!bad.empty()) {
      error = "line " + std::to_string(number) + ": unknown word '" + std::string(bad) + "'";
      return false;
    }
    out.push_back(command);
  }
  return true;
}

} // namespace heddle::npu_sim
