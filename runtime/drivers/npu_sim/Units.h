// The three units: what a command computes, the cycles it takes and the banks it touches.
#ifndef HEDDLE_DRIVERS_NPU_SIM_UNITS_H
#define HEDDLE_DRIVERS_NPU_SIM_UNITS_H
#include "drivers/npu_sim/ChipMemory.h"

namespace heddle::npu_sim {

/// A dispatched command: its fields have values.
struct Resolved {
  const CommandInfo *info;
  uint8_t function, types, modes;
  uint32_t command; // index in the function
  std::array<int64_t, HEDDLE_NPU_FIELDS> values;

  int64_t operator[](int field) const { return values[field]; }
};

/// The memory that a launch gave.
class Dram {
public:
  explicit Dram(std::span<const Region> regions) : regions(regions) {}
  const std::byte *read(int64_t address, uint64_t size) const { return find(address, size, false); }
  std::byte *write(int64_t address, uint64_t size) const { return find(address, size, true); }

private:
  std::byte *find(int64_t address, uint64_t size, bool writes) const;
  std::span<const Region> regions;
};

/// What the commands of a run may still do.
class Budget {
public:
  explicit Budget(uint64_t limit) : left(limit) {}
  void take(uint64_t work) {
    if (work > left)
      throw Failure{Problem::Kind::Limit, "the program does more work than the limit allows"};
    left -= work;
  }

private:
  uint64_t left;
};

/// What a unit works with while it executes a command.
struct Context {
  const Machine &machine;
  ChipMemory &chip;
  const Dram &dram;
  Budget &budget;
  Counts &counts;
  Accessor who;
  uint64_t banks = 0; // that the command touches

  /// Of the bytes from `first` to `last`, which are known to exist.
  void noteBanks(int64_t first, int64_t last) { banks |= chip.banks(first, last); }
};

/// Cycles at work; `latency` is how many later the results are there.
struct Duration {
  uint64_t busy, latency = 0;
};

Duration executeDma(const Resolved &command, Context &context);
/// Without what an idle array adds.
Duration executeArray(const Resolved &command, Context &context);
Duration executeVector(const Resolved &command, Context &context);

inline uint64_t divideUp(uint64_t a, uint64_t b) { return (a + b - 1) / b; }
inline uint64_t sizeOfType(int type) { return uint64_t{1} << type; }
inline void checkAligned(int64_t address, int64_t stride, uint64_t rows, uint64_t size, const char *what) {
  if (address % static_cast<int64_t>(size) != 0 || (rows > 1 && stride % static_cast<int64_t>(size) != 0))
    throw Failure{Problem::Kind::Misaligned, std::string("expected address and stride of '") + what +
                                                 "' to be multiples of " + std::to_string(size)};
}

} // namespace heddle::npu_sim
#endif
