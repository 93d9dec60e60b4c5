#include "Machine.h"
#include <algorithm>
#include <cmath>
#include <cstring>

namespace example {

static const heddle_npu_command_info &infoOf(const heddle_npu_command &command) {
  for (const heddle_npu_command_info &info : heddle_npu_command_table)
    if (info.opcode == command.opcode)
      return info;
  throw Stop{"unknown opcode"};
}

static bool isScalar(int kind, int modes) {
  return kind == HEDDLE_NPU_KIND_SCALAR ||
         (kind == HEDDLE_NPU_KIND_SCALAR_OR_CHIP && (modes & HEDDLE_NPU_VEC_BINARY_B_SCALAR));
}

static bool isInRange(int kind, int modes, int64_t x, const heddle_npu_machine &machine) {
  switch (kind) {
  case HEDDLE_NPU_KIND_CHIP_STRIDE:
  case HEDDLE_NPU_KIND_BYTES:
    return x >= 0 && x <= 1 << 24;
  case HEDDLE_NPU_KIND_DRAM_STRIDE:
    return x >= 0 && x <= int64_t{1} << 40;
  case HEDDLE_NPU_KIND_COUNT:
    return x >= 0 && x <= 65535;
  case HEDDLE_NPU_KIND_COLUMNS:
    return x >= 0 && x <= machine.array;
  case HEDDLE_NPU_KIND_ROW_LIMIT:
    return x >= 1 && x <= INT32_MAX;
  case HEDDLE_NPU_KIND_SHIFT:
    return x >= 0 && x <= 62;
  case HEDDLE_NPU_KIND_EXPONENT:
    return x >= -64 && x <= 64;
  case HEDDLE_NPU_KIND_TRIPS:
    return x <= int64_t{1} << 32;
  case HEDDLE_NPU_KIND_UNITS:
    return x >= 1 && x <= 65535;
  case HEDDLE_NPU_KIND_DESTINATION:
    return x >= 1 && x < HEDDLE_NPU_REGISTERS;
  case HEDDLE_NPU_KIND_SEMAPHORE:
    return x >= 0 && x < HEDDLE_NPU_SEMAPHORES;
  }
  return !isScalar(kind, modes) || (x >= INT32_MIN && x <= INT32_MAX);
}

static void need(bool holds, const char *rule) {
  if (!holds)
    throw Stop{rule};
}

static void checkOne(const heddle_npu_command &c, const heddle_npu_machine &machine) {
  const heddle_npu_command_info &info = infoOf(c);
  need(c.function < std::max<int>(info.function_count, 1), "unknown function");
  for (int i = 0; i < 4; ++i)
    need((c.types >> (2 * i) & 3) < (i < info.type_count ? 3 : 1), "unknown type");
  need(c.modes >> info.mode_count == 0, "unknown mode");
  need(c.opcode != HEDDLE_NPU_VEC_BINARY || c.modes != 3, "two modes at once");
  need(c.opcode != HEDDLE_NPU_VEC_LOOKUP || (c.types >> 2 & 3) != HEDDLE_NPU_S32, "lookup of s32");
  for (int i = 0; i < HEDDLE_NPU_FIELDS; ++i) {
    if (i >= info.field_count) {
      need(c.registers[i] == 0 && c.immediates[i] == 0, "unused field");
      continue;
    }
    need(c.registers[i] < HEDDLE_NPU_REGISTERS, "unknown register");
    bool fixed = info.kinds[i] == HEDDLE_NPU_KIND_DESTINATION || info.kinds[i] == HEDDLE_NPU_KIND_SEMAPHORE;
    need(!fixed || c.registers[i] == 0, "a register where none may be");
    need(c.registers[i] != 0 || isInRange(info.kinds[i], c.modes, c.immediates[i], machine),
         "value out of range");
  }
}

void check(const std::vector<heddle_npu_command> &commands, const heddle_npu_machine &machine) {
  int depth = 0;
  for (const heddle_npu_command &c : commands) {
    checkOne(c, machine);
    depth += c.opcode == HEDDLE_NPU_LOOP;
    depth -= c.opcode == HEDDLE_NPU_END_LOOP;
    need(depth >= 0 && depth <= HEDDLE_NPU_LOOP_DEPTH, "loops do not match");
  }
  need(depth == 0, "a loop without end");
}

// -----------------------------------------------------------------------------------------------------------------
// Sequencer

Machine::Issued Machine::evaluate(const heddle_npu_command &command) const {
  const heddle_npu_command_info &info = infoOf(command);
  Issued out = {command, {}};
  for (int i = 0; i < info.field_count; ++i) {
    int64_t x = static_cast<int64_t>(static_cast<uint64_t>(registers[command.registers[i]]) +
                                     static_cast<uint64_t>(int64_t{command.immediates[i]}));
    bool isChip =
        info.kinds[i] == HEDDLE_NPU_KIND_CHIP_ADDRESS || info.kinds[i] == HEDDLE_NPU_KIND_SCALAR_OR_CHIP;
    if (isChip && !isScalar(info.kinds[i], command.modes))
      x = static_cast<uint32_t>(x);
    need(isInRange(info.kinds[i], command.modes, x, description), "value out of range");
    out.value[i] = x;
  }
  return out;
}

int64_t Machine::arithmetic(int function, int64_t a, int64_t b) const {
  uint64_t x = a, y = b;
  switch (function) {
  case HEDDLE_NPU_REGISTER_FUNCTION_ADD:
    return x + y;
  case HEDDLE_NPU_REGISTER_FUNCTION_SUB:
    return x - y;
  case HEDDLE_NPU_REGISTER_FUNCTION_MUL:
    return x * y;
  case HEDDLE_NPU_REGISTER_FUNCTION_MIN:
    return std::min(a, b);
  case HEDDLE_NPU_REGISTER_FUNCTION_MAX:
    return std::max(a, b);
  case HEDDLE_NPU_REGISTER_FUNCTION_AND:
    return x & y;
  case HEDDLE_NPU_REGISTER_FUNCTION_DIV: {
    need(b != 0, "division by 0");
    __int128 above = static_cast<__int128>(a) % b + b; // the rest, which has b's sign then
    return static_cast<int64_t>((a - above % b) / b);
  }
  }
  need(b >= 0 && b <= 63, "shift out of range");
  return function == HEDDLE_NPU_REGISTER_FUNCTION_SHL ? static_cast<int64_t>(x << b) : a >> b;
}

bool Machine::control(const Issued &c) {
  switch (c.command.opcode) {
  case HEDDLE_NPU_BARRIER:
    if (!queues[0].empty() || !queues[1].empty() || !queues[2].empty())
      return false;
    break;
  case HEDDLE_NPU_SET:
    registers[c.value[0]] = arithmetic(c.command.function, c.value[1], c.value[2]);
    break;
  case HEDDLE_NPU_LOAD: {
    need(c.value[1] % 4 == 0, "misaligned");
    int32_t x;
    std::memcpy(&x, inDram(c.value[1], 4, false), 4);
    registers[c.value[0]] = x;
    break;
  }
  case HEDDLE_NPU_LOOP:
    if (c.value[0] > 0) {
      loops.push_back({next + 1, c.value[0]});
      break;
    }
    for (int depth = 1; depth > 0;) {
      ++next;
      depth += commands[next].opcode == HEDDLE_NPU_LOOP;
      depth -= commands[next].opcode == HEDDLE_NPU_END_LOOP;
    }
    break;
  case HEDDLE_NPU_END_LOOP:
    if (--loops.back().left > 0) {
      next = loops.back().begin;
      return true;
    }
    loops.pop_back();
    break;
  }
  ++next;
  return true;
}

bool Machine::dispatch() {
  if (next == commands.size())
    return false;
  Issued c = evaluate(commands[next]);
  const heddle_npu_command_info &info = infoOf(c.command);
  need(++steps < 1 << 24, "too many commands");
  if (info.queue == HEDDLE_NPU_QUEUE_CONTROL)
    return control(c);
  auto &queue = queues[info.queue == HEDDLE_NPU_QUEUE_ANY ? c.command.function : info.queue];
  if (queue.size() >= description.queue_depth)
    return false;
  queue.push_back(c);
  ++next;
  return true;
}

bool Machine::execute(int index) {
  auto &queue = queues[index];
  if (queue.empty())
    return false;
  Issued c = queue.front();
  if (c.command.opcode == HEDDLE_NPU_WAIT) {
    if (units[c.value[0]] < c.value[1])
      return false;
    units[c.value[0]] -= c.value[1];
  } else if (c.command.opcode == HEDDLE_NPU_SIGNAL) {
    units[c.value[0]] += c.value[1];
  } else if (c.command.opcode == HEDDLE_NPU_DMA_LOAD || c.command.opcode == HEDDLE_NPU_DMA_STORE) {
    move(c);
  } else if (index == HEDDLE_NPU_QUEUE_DMA) {
    moveRows(c);
  } else if (index == HEDDLE_NPU_QUEUE_ARRAY) {
    matmul(c);
  } else {
    vector(c);
  }
  queue.pop_front();
  return true;
}

void Machine::run() {
  for (;;) {
    if (dispatch() || execute(2) || execute(1) || execute(0))
      continue;
    need(next == commands.size() && queues[0].empty() && queues[1].empty() && queues[2].empty(), "deadlock");
    return;
  }
}

// -----------------------------------------------------------------------------------------------------------------
// Memory, DMA, array

unsigned char *Machine::onChip(int64_t address, uint64_t size) {
  bool high = address >= HEDDLE_NPU_ACCUMULATORS;
  uint64_t offset = high ? address - HEDDLE_NPU_ACCUMULATORS : address;
  uint64_t limit = high ? chip.size() - scratchpad : scratchpad;
  need(offset <= limit && size <= limit - offset, "outside of on-chip memory");
  return chip.data() + offset + (high ? scratchpad : 0);
}

unsigned char *Machine::inDram(int64_t address, uint64_t size, bool writes) {
  for (const Memory &part : memory) {
    uint64_t offset = static_cast<uint64_t>(address) - part.address;
    if (offset <= part.size && size <= part.size - offset) {
      need(part.writable || !writes, "memory that may only be read");
      return part.host + offset;
    }
  }
  throw Stop{"outside of DRAM"};
}

void Machine::copy(int64_t address, int64_t dram, uint64_t size, bool toChip) {
  unsigned char *here = onChip(address, size), *there = inDram(dram, size, !toChip);
  toChip ? std::memcpy(here, there, size) : std::memcpy(there, here, size);
}

void Machine::move(const Issued &c) {
  auto [at, s1, s2, dram, d1, d2, n0, n1, n2, unused1, unused2, unused3] = c.value;
  for (int64_t j = 0; n0 > 0 && j < n2; ++j)
    for (int64_t i = 0; i < n1; ++i)
      copy(at + i * s1 + j * s2, dram + i * d1 + j * d2, n0, c.command.opcode == HEDDLE_NPU_DMA_LOAD);
}

void Machine::moveRows(const Issued &c) {
  auto [at, s1, dram, d1, n0, n1, index, rows, unused1, unused2, unused3, unused4] = c.value;
  if (n0 == 0 || n1 == 0)
    return;
  need(index % 4 == 0, "misaligned");
  std::vector<int32_t> list(n1);
  std::memcpy(list.data(), onChip(index, 4 * n1), 4 * n1);
  for (int64_t i = 0; i < n1; ++i)
    copy(at + i * s1, dram + std::min<int64_t>(std::max(list[i], 0), rows - 1) * d1, n0,
         c.command.opcode == HEDDLE_NPU_DMA_GATHER);
}

void Machine::matmul(const Issued &c) {
  auto [acc, accStride, a, aStride, w, wStride, m, k, n, unused1, unused2, unused3] = c.value;
  if (m == 0 || k == 0 || n == 0)
    return;
  need(acc >= HEDDLE_NPU_ACCUMULATORS && a < HEDDLE_NPU_ACCUMULATORS && w < HEDDLE_NPU_ACCUMULATORS,
       "wrong memory");
  need(acc % 4 == 0 && (m == 1 || accStride % 4 == 0), "misaligned");
  bool transposed = c.command.modes & HEDDLE_NPU_MATMUL_TRANSPOSED;
  std::vector<uint32_t> sums(m * n);
  for (int64_t r = 0; r < m; ++r) {
    unsigned char *old = onChip(acc + r * accStride, 4 * n);
    if (c.command.modes & HEDDLE_NPU_MATMUL_ACCUMULATE)
      std::memcpy(&sums[r * n], old, 4 * n);
    auto row = reinterpret_cast<const signed char *>(onChip(a + r * aStride, k));
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < n; ++j) {
        auto weight =
            static_cast<signed char>(*onChip(transposed ? w + j * wStride + i : w + i * wStride + j, 1));
        sums[r * n + j] += static_cast<uint32_t>(row[i] * weight);
      }
  }
  for (int64_t r = 0; r < m; ++r)
    std::memcpy(onChip(acc + r * accStride, 4 * n), &sums[r * n], 4 * n);
}

int64_t Machine::element(int64_t base, int64_t index, int type) {
  const unsigned char *from = onChip(base + (index << type), uint64_t{1} << type);
  int32_t x = 0;
  std::memcpy(&x, from, 1 << type);
  int unusedBits = 32 - (8 << type);
  return static_cast<int32_t>(static_cast<uint32_t>(x) << unusedBits) >> unusedBits;
}

} // namespace example
