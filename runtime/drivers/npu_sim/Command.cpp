#include "drivers/npu_sim/Command.h"
#include <algorithm>
#include <array>
#include <cstring>

namespace heddle::npu_sim {

const CommandInfo *infoOf(uint8_t opcode) {
  static const auto byOpcode = [] {
    std::array<const CommandInfo *, 256> made{};
    for (const CommandInfo &info : heddle_npu_command_table)
      made[info.opcode] = &info;
    return made;
  }();
  return byOpcode[opcode];
}

template <typename Matches> static const Machine *findMachineIf(Matches matches) {
  auto found = std::find_if(std::begin(heddle_npu_machines), std::end(heddle_npu_machines), matches);
  return found == std::end(heddle_npu_machines) ? nullptr : &*found;
}
const Machine *findMachine(uint32_t id) {
  return findMachineIf([&](const Machine &machine) { return machine.id == id; });
}
const Machine *findMachine(std::string_view name) {
  return findMachineIf([&](const Machine &machine) { return machine.name == name; });
}

Range rangeOf(const CommandInfo &info, int field, uint8_t modes, const Machine &machine) {
  switch (info.kinds[field]) {
  case HEDDLE_NPU_KIND_CHIP_STRIDE:
  case HEDDLE_NPU_KIND_BYTES:
    return {0, 1 << 24};
  case HEDDLE_NPU_KIND_DRAM_STRIDE:
    return {0, int64_t{1} << 40};
  case HEDDLE_NPU_KIND_COUNT:
    return {0, 65535};
  case HEDDLE_NPU_KIND_COLUMNS:
    return {0, machine.array};
  case HEDDLE_NPU_KIND_ROW_LIMIT:
    return {1, INT32_MAX};
  case HEDDLE_NPU_KIND_SHIFT:
    return {0, 62};
  case HEDDLE_NPU_KIND_EXPONENT:
    return {-64, 64};
  case HEDDLE_NPU_KIND_SCALAR:
    return {INT32_MIN, INT32_MAX};
  case HEDDLE_NPU_KIND_SCALAR_OR_CHIP:
    if (modes & HEDDLE_NPU_VEC_BINARY_B_SCALAR)
      return {INT32_MIN, INT32_MAX};
    break;
  case HEDDLE_NPU_KIND_TRIPS:
    return {INT64_MIN, int64_t{1} << 32};
  case HEDDLE_NPU_KIND_UNITS:
    return {1, 65535};
  case HEDDLE_NPU_KIND_DESTINATION:
    return {1, HEDDLE_NPU_REGISTERS - 1};
  case HEDDLE_NPU_KIND_SEMAPHORE:
    return {0, HEDDLE_NPU_SEMAPHORES - 1};
  }
  return {INT64_MIN, INT64_MAX}; // addresses: memory knows; values: any
}

namespace {

bool isImmediateOnly(uint8_t kind) {
  return kind == HEDDLE_NPU_KIND_DESTINATION || kind == HEDDLE_NPU_KIND_SEMAPHORE;
}

std::string outOfRange(const CommandInfo &info, int field, int64_t value, Range range) {
  return "expected '" + std::string(info.fields[field]) + "' from " + std::to_string(range.minimum) + " to " +
         std::to_string(range.maximum) + ", but found " + std::to_string(value);
}

std::string validateFields(const Command &command, const CommandInfo &info, const Machine &machine) {
  for (int i = 0; i < HEDDLE_NPU_FIELDS; ++i) {
    uint8_t reg = command.registers[i];
    int32_t immediate = command.immediates[i];
    if (i >= info.field_count) {
      if (reg != 0 || immediate != 0)
        return "expected unused fields to be 0";
      continue;
    }
    if (reg >= HEDDLE_NPU_REGISTERS)
      return "'" + std::string(info.fields[i]) + "' names register " + std::to_string(reg) + " of " +
             std::to_string(HEDDLE_NPU_REGISTERS);
    if (reg != 0 && isImmediateOnly(info.kinds[i]))
      return "expected '" + std::string(info.fields[i]) + "' without a register";
    Range range = rangeOf(info, i, command.modes, machine);
    if (reg == 0 && (immediate < range.minimum || immediate > range.maximum))
      return outOfRange(info, i, immediate, range);
  }
  return "";
}

std::string validateOne(const Command &command, const Machine &machine) {
  const CommandInfo *info = infoOf(command.opcode);
  if (!info)
    return "unknown opcode " + std::to_string(command.opcode);
  if (command.function >= std::max<int>(info->function_count, 1))
    return "unknown function " + std::to_string(command.function);
  if (command.types >> (2 * info->type_count) != 0)
    return "expected unused types to be 0";
  for (int i = 0; i < info->type_count; ++i)
    if ((command.types >> (2 * i) & 3) == 3)
      return "unknown type of '" + std::string(info->types[i]) + "'";
  if (command.modes >> info->mode_count != 0)
    return "unknown modes " + std::to_string(command.modes);
  if (command.opcode == HEDDLE_NPU_VEC_BINARY && command.modes == 3)
    return "expected at most one of b_scalar and b_per_row";
  if (command.opcode == HEDDLE_NPU_VEC_LOOKUP && (command.types >> 2 & 3) == HEDDLE_NPU_S32)
    return "expected 'a' to be s8 or s16";
  return validateFields(command, *info, machine);
}

} // namespace

std::string validate(std::span<const Command> commands, const Machine &machine, size_t &bad) {
  std::vector<size_t> loops;
  if (commands.size() > HEDDLE_NPU_MAX_COMMANDS) {
    bad = HEDDLE_NPU_MAX_COMMANDS;
    return "more than " + std::to_string(HEDDLE_NPU_MAX_COMMANDS) + " commands";
  }
  for (bad = 0; bad < commands.size(); ++bad) {
    std::string problem = validateOne(commands[bad], machine);
    if (!problem.empty())
      return problem;
    if (commands[bad].opcode == HEDDLE_NPU_LOOP) {
      loops.push_back(bad);
      if (loops.size() > HEDDLE_NPU_LOOP_DEPTH)
        return "loops nest deeper than " + std::to_string(HEDDLE_NPU_LOOP_DEPTH);
    } else if (commands[bad].opcode == HEDDLE_NPU_END_LOOP) {
      if (loops.empty())
        return "no loop to end";
      loops.pop_back();
    }
  }
  if (loops.empty())
    return "";
  bad = loops.back();
  return "the loop has no end";
}

} // namespace heddle::npu_sim
