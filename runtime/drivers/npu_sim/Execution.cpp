// The sequencer and its three queues. Commands are executed in the order in which they start, which makes
// results and cycles the same in every run; ChipMemory sees to it that no other order would give other
// results.
#include "drivers/npu_sim/Units.h"
#include <algorithm>
#include <cstring>
#include <deque>

namespace heddle::npu_sim {

namespace {

/// So many numbers are left when ChipMemory starts a run.
constexpr uint64_t mostCommands = 1 << 30;

struct Pending {
  Resolved command;
  uint64_t dispatched; // cycle
  uint32_t number;
};

struct Queue {
  std::deque<Pending> pending;
  Clock clock;           // what its next command comes after
  uint64_t free = 0;     // cycle from which it can start a command
  uint64_t complete = 0; // cycle at which all that it started is complete
  uint64_t banks = 0;    // of the command that keeps it busy until `free`
};

struct Semaphore {
  struct Unit {
    uint64_t count, cycle;
    Clock clock;
  };
  std::deque<Unit> units;
  uint64_t count = 0;
  int signaller = -1, waiter = -1; // queues
};

/// A place in the stream.
struct Loop {
  size_t begin; // first command of the body
  int64_t left;
};

class Execution {
public:
  Execution(const Function &function, const Machine &machine, ChipMemory &chip, const Dram &dram,
            const Options &options, Report &report);
  void setRegisters(std::span<const int64_t> values);
  void run();
  size_t currentCommand() const { return current; }
  uint32_t lastNumber() const { return number; }

private:
  bool dispatchNext();
  bool sequence(const Resolved &command);
  void skipLoop();
  void setRegister(const Resolved &command);
  void loadRegister(const Resolved &command);
  void claimSemaphore(const Resolved &command, bool signals);
  void noteStored(const Resolved &command);
  void count();

  bool startEarliest();
  bool startOf(int queue, uint64_t &cycle) const;
  void start(int queue, uint64_t cycle);
  void wait(Queue &queue, const Resolved &command);
  void signal(Queue &queue, const Resolved &command);
  uint64_t conflictDelay(int queue, uint64_t cycle, const Duration &duration, uint64_t banks) const;
  Resolved resolve(size_t command) const;

  const Function &function;
  const Machine &machine;
  ChipMemory &chip;
  const Dram &dram;
  const Options &options;
  Report &report;
  Budget budget;

  std::array<int64_t, HEDDLE_NPU_REGISTERS> registers{};
  size_t next = 0;    // command of the sequencer
  size_t current = 0; // command that is being dispatched or executed
  uint64_t cycle = 0; // of the sequencer
  uint32_t number;
  std::vector<Loop> loops;
  PerQueue<Queue> queues;
  uint64_t matmulEnd = 0; // when the last one was over
  std::array<Semaphore, HEDDLE_NPU_SEMAPHORES> semaphores;
  struct Stored {
    __int128 begin, end;
  };
  std::vector<Stored> stored; // DRAM that dispatched commands may write
};

Execution::Execution(const Function &function, const Machine &machine, ChipMemory &chip, const Dram &dram,
                     const Options &options, Report &report)
    : function(function), machine(machine), chip(chip), dram(dram), options(options), report(report),
      budget(options.workLimit), number(chip.startRun()) {
  for (Queue &queue : queues)
    queue.clock.fill(number);
}

void Execution::setRegisters(std::span<const int64_t> values) {
  for (size_t i = 0; i < values.size() && i + 1 < registers.size(); ++i)
    registers[i + 1] = values[i];
}

Resolved Execution::resolve(size_t index) const {
  const Command &command = function.commands[index];
  const CommandInfo &info = *infoOf(command.opcode);
  Resolved out = {&info, command.function, command.types, command.modes, static_cast<uint32_t>(index), {}};
  for (int i = 0; i < info.field_count; ++i) {
    out.values[i] = static_cast<int64_t>(static_cast<uint64_t>(registers[command.registers[i]]) +
                                         static_cast<uint64_t>(int64_t{command.immediates[i]}));
    bool address =
        info.kinds[i] == HEDDLE_NPU_KIND_CHIP_ADDRESS || (info.kinds[i] == HEDDLE_NPU_KIND_SCALAR_OR_CHIP &&
                                                          !(command.modes & HEDDLE_NPU_VEC_BINARY_B_SCALAR));
    if (address)
      out.values[i] = static_cast<uint32_t>(out.values[i]);
    Range range = rangeOf(info, i, command.modes, machine);
    if (out.values[i] < range.minimum || out.values[i] > range.maximum)
      throw Failure{Problem::Kind::BadValue, "expected '" + std::string(info.fields[i]) + "' from " +
                                                 std::to_string(range.minimum) + " to " +
                                                 std::to_string(range.maximum) + ", but found " +
                                                 std::to_string(out.values[i])};
  }
  return out;
}

// -----------------------------------------------------------------------------------------------------------------
// The sequencer

/// False when it cannot go on now.
bool Execution::dispatchNext() {
  if (next == function.commands.size())
    return false;
  current = next;
  Resolved command = resolve(next);
  int owner = command.info->queue == HEDDLE_NPU_QUEUE_ANY ? command.function : command.info->queue;
  if (owner == HEDDLE_NPU_QUEUE_CONTROL)
    return sequence(command);
  Queue &queue = queues[owner];
  if (queue.pending.size() >= machine.queue_depth)
    return false;
  count();
  if (command.info->queue == HEDDLE_NPU_QUEUE_ANY)
    claimSemaphore(command, command.info->opcode == HEDDLE_NPU_SIGNAL);
  if (command.info->opcode == HEDDLE_NPU_DMA_STORE || command.info->opcode == HEDDLE_NPU_DMA_SCATTER)
    noteStored(command);
  queue.pending.push_back({command, ++cycle, ++number});
  ++next;
  return true;
}

void Execution::count() {
  if (++report.counts.commands > std::min(options.commandLimit, mostCommands))
    throw Failure{Problem::Kind::Limit,
                  "the program executes more than " + std::to_string(options.commandLimit) + " commands"};
}

/// Keeps what a store may write, since `load` must not read it.
void Execution::noteStored(const Resolved &c) {
  __int128 begin, size;
  if (c.info->opcode == HEDDLE_NPU_DMA_SCATTER) {
    if (c[HEDDLE_NPU_DMA_SCATTER_FIELD_N0] == 0 || c[HEDDLE_NPU_DMA_SCATTER_FIELD_N1] == 0)
      return;
    begin = c[HEDDLE_NPU_DMA_SCATTER_FIELD_DRAM];
    size = c[HEDDLE_NPU_DMA_SCATTER_FIELD_N0] +
           __int128(c[HEDDLE_NPU_DMA_SCATTER_FIELD_ROWS] - 1) * c[HEDDLE_NPU_DMA_SCATTER_FIELD_DRAM_S1];
  } else {
    int64_t n0 = c[HEDDLE_NPU_DMA_STORE_FIELD_N0], n1 = c[HEDDLE_NPU_DMA_STORE_FIELD_N1],
            n2 = c[HEDDLE_NPU_DMA_STORE_FIELD_N2];
    if (n0 == 0 || n1 == 0 || n2 == 0)
      return;
    begin = c[HEDDLE_NPU_DMA_STORE_FIELD_DRAM];
    size = n0 + __int128(n1 - 1) * c[HEDDLE_NPU_DMA_STORE_FIELD_DRAM_S1] +
           __int128(n2 - 1) * c[HEDDLE_NPU_DMA_STORE_FIELD_DRAM_S2];
  }
  stored.push_back({begin, begin + size});
}

/// A control command; false for a barrier that has to wait.
bool Execution::sequence(const Resolved &command) {
  if (command.info->opcode == HEDDLE_NPU_BARRIER) {
    uint64_t complete = cycle;
    for (const Queue &queue : queues) {
      if (!queue.pending.empty())
        return false;
      complete = std::max(complete, queue.complete);
    }
    cycle = complete;
    for (Queue &queue : queues)
      queue.clock.fill(number);
  }
  count();
  ++cycle;
  ++next;
  switch (command.info->opcode) {
  case HEDDLE_NPU_SET:
    setRegister(command);
    break;
  case HEDDLE_NPU_LOAD:
    loadRegister(command);
    break;
  case HEDDLE_NPU_LOOP:
    if (command[HEDDLE_NPU_LOOP_FIELD_COUNT] > 0)
      loops.push_back({next, command[HEDDLE_NPU_LOOP_FIELD_COUNT]});
    else
      skipLoop();
    break;
  case HEDDLE_NPU_END_LOOP:
    if (--loops.back().left > 0)
      next = loops.back().begin;
    else
      loops.pop_back();
    break;
  }
  return true;
}

/// To behind the end of the loop that `next` lies in; loops are known to match.
void Execution::skipLoop() {
  for (int depth = 1; depth > 0; ++next) {
    depth += function.commands[next].opcode == HEDDLE_NPU_LOOP;
    depth -= function.commands[next].opcode == HEDDLE_NPU_END_LOOP;
    budget.take(1);
  }
}

int64_t divideDown(int64_t a, int64_t b) {
  if (b == -1)
    return static_cast<int64_t>(-static_cast<uint64_t>(a)); // without overflow
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

void Execution::setRegister(const Resolved &command) {
  int64_t a = command[HEDDLE_NPU_SET_FIELD_A], b = command[HEDDLE_NPU_SET_FIELD_B];
  uint64_t x = a, y = b, out = 0;
  switch (command.function) {
  case HEDDLE_NPU_REGISTER_FUNCTION_ADD:
    out = x + y;
    break;
  case HEDDLE_NPU_REGISTER_FUNCTION_SUB:
    out = x - y;
    break;
  case HEDDLE_NPU_REGISTER_FUNCTION_MUL:
    out = x * y;
    break;
  case HEDDLE_NPU_REGISTER_FUNCTION_MIN:
    out = std::min(a, b);
    break;
  case HEDDLE_NPU_REGISTER_FUNCTION_MAX:
    out = std::max(a, b);
    break;
  case HEDDLE_NPU_REGISTER_FUNCTION_DIV:
    if (b == 0)
      throw Failure{Problem::Kind::BadValue, "a division by 0"};
    out = divideDown(a, b);
    break;
  case HEDDLE_NPU_REGISTER_FUNCTION_AND:
    out = x & y;
    break;
  default:
    if (b < 0 || b > 63)
      throw Failure{Problem::Kind::BadValue, "expected a shift from 0 to 63, but found " + std::to_string(b)};
    out = command.function == HEDDLE_NPU_REGISTER_FUNCTION_SHL ? x << b : static_cast<uint64_t>(a >> b);
  }
  registers[command[HEDDLE_NPU_SET_FIELD_RD]] = out;
}

void Execution::loadRegister(const Resolved &command) {
  int64_t address = command[HEDDLE_NPU_LOAD_FIELD_ADDRESS];
  if (address % 4 != 0)
    throw Failure{Problem::Kind::Misaligned, "expected 'address' to be a multiple of 4"};
  const std::byte *from = dram.read(address, 4);
  budget.take(stored.size());
  for (const Stored &range : stored)
    if (address < range.end && address + 4 > range.begin)
      throw Failure{Problem::Kind::Race, "the program itself may have written DRAM address " +
                                             std::to_string(address) + " before"};
  int32_t value;
  std::memcpy(&value, from, 4);
  registers[command[HEDDLE_NPU_LOAD_FIELD_RD]] = value;
}

void Execution::claimSemaphore(const Resolved &command, bool signals) {
  Semaphore &semaphore = semaphores[command[HEDDLE_NPU_SIGNAL_FIELD_SEMAPHORE]];
  int &owner = signals ? semaphore.signaller : semaphore.waiter;
  if (owner >= 0 && owner != command.function)
    throw Failure{Problem::Kind::Semaphore,
                  std::string("another queue ") + (signals ? "signals" : "waits for") + " semaphore " +
                      std::to_string(command[HEDDLE_NPU_SIGNAL_FIELD_SEMAPHORE]) + " already"};
  owner = command.function;
}

// -----------------------------------------------------------------------------------------------------------------
// Queues

/// When the next command of the queue can start; false when it cannot yet.
bool Execution::startOf(int index, uint64_t &cycle) const {
  const Queue &queue = queues[index];
  if (queue.pending.empty())
    return false;
  const Pending &head = queue.pending.front();
  cycle = std::max(queue.free, head.dispatched);
  if (head.command.info->opcode != HEDDLE_NPU_WAIT)
    return true;
  const Semaphore &semaphore = semaphores[head.command[HEDDLE_NPU_WAIT_FIELD_SEMAPHORE]];
  uint64_t needed = head.command[HEDDLE_NPU_WAIT_FIELD_UNITS];
  if (semaphore.count < needed)
    return false;
  for (const Semaphore::Unit &unit : semaphore.units) {
    cycle = std::max(cycle, unit.cycle);
    if (unit.count >= needed)
      break;
    needed -= unit.count;
  }
  return true;
}

/// Starts the command that can start first; of several the queue that comes first.
bool Execution::startEarliest() {
  int first = -1;
  uint64_t earliest = UINT64_MAX;
  for (int queue = 0; queue < 3; ++queue)
    if (uint64_t cycle; startOf(queue, cycle) && cycle < earliest)
      first = queue, earliest = cycle;
  if (first < 0)
    return false;
  start(first, earliest);
  return true;
}

void Execution::wait(Queue &queue, const Resolved &command) {
  Semaphore &semaphore = semaphores[command[HEDDLE_NPU_WAIT_FIELD_SEMAPHORE]];
  uint64_t needed = command[HEDDLE_NPU_WAIT_FIELD_UNITS];
  semaphore.count -= needed;
  while (needed > 0) {
    Semaphore::Unit &unit = semaphore.units.front();
    for (int i = 0; i < 3; ++i)
      queue.clock[i] = std::max(queue.clock[i], unit.clock[i]);
    uint64_t taken = std::min(needed, unit.count);
    needed -= taken;
    unit.count -= taken;
    if (unit.count == 0)
      semaphore.units.pop_front();
  }
}

void Execution::signal(Queue &queue, const Resolved &command) {
  Semaphore &semaphore = semaphores[command[HEDDLE_NPU_SIGNAL_FIELD_SEMAPHORE]];
  uint64_t units = command[HEDDLE_NPU_SIGNAL_FIELD_UNITS];
  semaphore.units.push_back({units, queue.complete, queue.clock});
  semaphore.count += units;
}

uint64_t Execution::conflictDelay(int index, uint64_t cycle, const Duration &duration, uint64_t banks) const {
  uint64_t delay = 0;
  for (int other = 0; other < 3; ++other)
    if (const Queue &queue = queues[other]; other != index && queue.free > cycle && (queue.banks & banks))
      delay += std::min(duration.busy, divideUp(queue.free - cycle, 2));
  return delay;
}

void Execution::start(int index, uint64_t begin) {
  Queue &queue = queues[index];
  Pending head = std::move(queue.pending.front());
  bool wasFull = queue.pending.size() >= machine.queue_depth;
  queue.pending.pop_front();
  if (wasFull) // the sequencer may have waited for this place
    cycle = std::max(cycle, begin);
  const Resolved &command = head.command;
  current = command.command;
  Counts &counts = report.counts;
  Context context{machine, chip, dram, budget, counts, {index, head.number, &queue.clock}};
  Duration duration = {1};
  if (command.info->opcode == HEDDLE_NPU_WAIT) {
    counts.waiting[index] += begin - std::max(queue.free, head.dispatched);
    wait(queue, command);
  } else if (command.info->queue == HEDDLE_NPU_QUEUE_DMA) {
    duration = executeDma(command, context);
  } else if (command.info->queue == HEDDLE_NPU_QUEUE_ARRAY) {
    duration = executeArray(command, context);
    if (context.banks != 0 && (matmulEnd == 0 || begin > matmulEnd + 16)) // the array has run empty
      duration.busy += 2 * machine.array;
  } else if (command.info->queue == HEDDLE_NPU_QUEUE_VECTOR) {
    duration = executeVector(command, context);
  }
  uint64_t delay = conflictDelay(index, begin, duration, context.banks);
  queue.free = begin + duration.busy + delay;
  queue.complete = std::max(queue.complete, queue.free + duration.latency);
  queue.banks = context.banks;
  if (index == HEDDLE_NPU_QUEUE_ARRAY && context.banks != 0)
    matmulEnd = queue.free;
  queue.clock[index] = head.number;
  if (command.info->opcode == HEDDLE_NPU_SIGNAL)
    signal(queue, command);
  if (command.info->queue != HEDDLE_NPU_QUEUE_ANY)
    counts.busy[index] += duration.busy + delay;
  counts.conflicts[index] += delay;
  if (options.trace)
    report.events.push_back(
        {begin, queue.free, command.command, static_cast<uint8_t>(index), command.info->opcode});
}

void Execution::run() {
  do {
    while (dispatchNext()) {
    }
  } while (startEarliest());
  for (const Queue &queue : queues)
    report.counts.cycles = std::max(report.counts.cycles, queue.complete);
  report.counts.cycles = std::max(report.counts.cycles, cycle);
  if (next == function.commands.size() &&
      std::all_of(queues.begin(), queues.end(), [](const Queue &queue) { return queue.pending.empty(); }))
    return;
  std::string who;
  for (const Queue &queue : queues)
    if (!queue.pending.empty()) {
      current = queue.pending.front().command.command;
      who += (who.empty() ? "" : ", ") + ("command " + std::to_string(current)) + " (" +
             print(function.commands[current]) + ")";
    }
  throw Failure{Problem::Kind::Deadlock,
                "no queue can go on: " + who + " wait for units that nothing signals"};
}

} // namespace

Simulator::Simulator(const Machine &machine)
    : machine(machine), chip(std::make_unique<ChipMemory>(machine)) {}
Simulator::~Simulator() = default;

Report Simulator::run(const Function &function, std::span<const int64_t> registers,
                      std::span<const Region> regions, const Options &options) {
  Report report;
  Dram dram(regions);
  Execution execution(function, machine, *chip, dram, options, report);
  execution.setRegisters(registers);
  try {
    execution.run();
  } catch (const Failure &failure) {
    size_t command = execution.currentCommand();
    report.problem = {failure.kind, command, function.sourceOf(command), failure.message,
                      print(function.commands[command])};
  }
  chip->endRun(execution.lastNumber());
  return report;
}

} // namespace heddle::npu_sim
