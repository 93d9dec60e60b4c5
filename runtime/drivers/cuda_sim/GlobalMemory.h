// Allocations of a simulated device and which of their bytes were written.
#pragma once
#include "drivers/cuda_sim/Simulator.h"
#include <atomic>
#include <map>
#include <mutex>
#include <shared_mutex>

namespace heddle::cuda_sim {

struct Allocation {
  uint64_t begin = 0, end = 0;
  std::byte *host = nullptr;
  bool owned = false;
  bool allWritten = false;
  uint64_t *written = nullptr; // a bit a byte; null if allWritten
  std::string name;
  ~Allocation();

  bool contains(uint64_t address, uint64_t bytes) const {
    return address >= begin && address <= end && bytes <= end - address;
  }
  /// At most 16 bytes at a multiple of their count, so that their bits lie in one word.
  bool isWritten(uint64_t offset, unsigned bytes) const {
    uint64_t mask = ((uint64_t(1) << bytes) - 1) << (offset & 63);
    return (__atomic_load_n(written + (offset >> 6), __ATOMIC_RELAXED) & mask) == mask;
  }
  void markWritten(uint64_t offset, unsigned bytes) {
    uint64_t mask = ((uint64_t(1) << bytes) - 1) << (offset & 63);
    uint64_t *word = written + (offset >> 6);
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & mask) != mask)
      __atomic_fetch_or(word, mask, __ATOMIC_RELAXED);
  }
  void markRange(uint64_t offset, uint64_t bytes, bool value);
};

struct Memory::Impl {
  uint64_t limit, used = 0, next;
  mutable std::shared_mutex mutex;
  std::map<uint64_t, std::unique_ptr<Allocation>> allocations; // by first address
  std::map<uint64_t, std::vector<uint64_t>>
      bindings; // of modules, by their number: addresses of their variables

  explicit Impl(uint64_t limit);
  /// The allocation that holds the address, or the nearest one below it; null if there is none.
  Allocation *find(uint64_t address) const;
  uint64_t add(std::unique_ptr<Allocation> allocation, uint64_t bytes);
};

} // namespace heddle::cuda_sim
