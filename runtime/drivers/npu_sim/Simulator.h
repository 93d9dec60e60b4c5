// The NPU simulator: executes programs for the machines of docs/npu-isa.md, bit by bit, finds what breaks its
// rules, and counts cycles. Use of it: docs/npu-sim.md.
#ifndef HEDDLE_DRIVERS_NPU_SIM_SIMULATOR_H
#define HEDDLE_DRIVERS_NPU_SIM_SIMULATOR_H
#include "drivers/npu_sim/Command.h"
#include <array>
#include <cstddef>
#include <memory>
#include <optional>

namespace heddle::npu_sim {

/// A function of a program: its commands, and where they come from.
struct Function {
  std::string name;
  std::vector<Command> commands;
  uint32_t operandCount = 0;
  std::vector<std::byte> data;
  struct Source {
    uint32_t command; // of this one and all up to the next
    std::string name;
  };
  std::vector<Source> sources; // ascending

  const std::string &sourceOf(size_t command) const;
};

/// All functions of an artifact's member (heddle/npu.h).
struct Program {
  const Machine *machine = nullptr;
  std::vector<Function> functions;

  /// Validates every command, too. Null with `error`.
  static std::unique_ptr<Program> read(std::span<const std::byte> file, std::string &error);
  std::vector<std::byte> write() const;
  const Function *find(std::string_view name) const;
};

/// Memory of the host that a program sees as DRAM.
struct Region {
  uint64_t address;
  std::byte *host;
  uint64_t size;
  bool writable;
};

struct Problem {
  enum class Kind { OutOfBounds, Misaligned, BadValue, UnwrittenRead, Race, Semaphore, Deadlock, Limit };
  Kind kind;
  size_t command; // index
  std::string source, message;
  /// "command 17 (matmul ...), for 'blk.0.ffn_up': race: ..."
  std::string text() const;
  std::string commandText;
};
const char *nameOf(Problem::Kind kind);

/// Index: HEDDLE_NPU_QUEUE_DMA, ARRAY, VECTOR.
template <typename T> using PerQueue = std::array<T, 3>;

struct Counts {
  uint64_t cycles = 0, commands = 0; // executed
  PerQueue<uint64_t> busy{};         // cycles at work, bank conflicts included
  PerQueue<uint64_t> waiting{};      // for semaphores
  PerQueue<uint64_t> conflicts{};    // delays by banks
  uint64_t multiplyAdds = 0, bytesLoaded = 0, bytesStored = 0;
  void add(const Counts &other);
};

/// One command in a queue, for a trace.
struct Event {
  uint64_t start, end;
  uint32_t command;
  uint8_t queue, opcode;
};

struct Report {
  std::optional<Problem> problem;
  Counts counts;
  std::vector<Event> events; // with Options::trace
  bool ok() const { return !problem; }
};

struct Options {
  uint64_t commandLimit = uint64_t{1} << 26;
  uint64_t workLimit = uint64_t{1} << 42; // multiply-adds, elements and bytes
  bool trace = false;
};

/// On-chip memory with what is known of every byte; kept from run to run, since making it takes time.
class ChipMemory;
class Simulator {
public:
  explicit Simulator(const Machine &machine);
  ~Simulator();
  /// `registers`: values of r1, r2, ... at the start.
  Report run(const Function &function, std::span<const int64_t> registers, std::span<const Region> regions,
             const Options &options = {});

private:
  const Machine &machine;
  std::unique_ptr<ChipMemory> chip;
};

/// Chrome's trace format, a row for each queue, a cycle a microsecond: the events of a run (each ends in a
/// comma), and the file that holds those of several.
std::string chromeTraceEvents(const Function &function, std::span<const Event> events);
std::string chromeTraceFile(const std::string &events);

} // namespace heddle::npu_sim
#endif
