// On-chip memory, and who touched each byte last: so that reads of unwritten bytes and accesses of two queues
// that nothing orders are found.
#ifndef HEDDLE_DRIVERS_NPU_SIM_CHIPMEMORY_H
#define HEDDLE_DRIVERS_NPU_SIM_CHIPMEMORY_H
#include "drivers/npu_sim/Simulator.h"

namespace heddle::npu_sim {

/// What ends a run.
struct Failure {
  Problem::Kind kind;
  std::string message;
};

/// Number of the last command of each queue that is known to be complete.
using Clock = PerQueue<uint32_t>;

/// Who touches memory: command `number` of a queue, after all that `clock` says.
struct Accessor {
  int queue;
  uint32_t number;
  const Clock *clock;
};

class ChipMemory {
public:
  explicit ChipMemory(const Machine &machine);
  /// Forgets what was written. Commands of the run have numbers above the one returned.
  uint32_t startRun();
  /// To be called with the last number that was given out.
  void endRun(uint32_t lastNumber) { base = lastNumber; }

  /// `size` bytes at an on-chip address, which are checked and noted as read or written.
  const std::byte *read(const Accessor &who, int64_t address, uint64_t size);
  std::byte *write(const Accessor &who, int64_t address, uint64_t size);

  bool isAccumulator(int64_t address) const { return address >= HEDDLE_NPU_ACCUMULATORS; }
  /// A bit for each bank that the bytes from `first` to `last` lie in; both are valid.
  uint64_t banks(int64_t first, int64_t last) const;

private:
  /// Place in `bytes`; throws where the range is none of the memory.
  uint64_t locate(int64_t address, uint64_t size) const;
  uint64_t locateFirst(int64_t address) const;

  uint64_t bankBytes, scratchpadBytes, accumulatorBytes;
  std::vector<std::byte> bytes; // scratchpad, then accumulators
  std::vector<uint32_t> writer; // number of the last command that wrote the byte
  std::vector<uint8_t> writerQueue;
  PerQueue<std::vector<uint32_t>> reader; // the last command of each queue that read it
  uint32_t base = 0;                      // numbers up to it are of runs before
};

} // namespace heddle::npu_sim
#endif
