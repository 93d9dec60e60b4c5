// Shared memory of one block with its shadow: who wrote and who read each word last, so that unordered
// accesses show.
#pragma once
#include "drivers/cuda_sim/Warp.h"

namespace heddle::cuda_sim {

/// An access and the earlier one that it conflicts with.
struct Conflict {
  ProblemKind kind;
  const char *what;    // "reads what ... wrote"
  uint32_t warp, lane; // of the earlier access
  uint32_t place;      // of the earlier access if it was a write, else ~0
};

/// The thread that accesses: `seen[w]` is the time of warp w up to which its accesses happened before.
struct Accessor {
  uint32_t warp, lane;
  const uint32_t *seen;
  uint32_t place;
  bool strong; // atomic or volatile
};

class SharedMemory {
public:
  /// Throws std::bad_alloc.
  void reset(const Kernel &kernel, uint64_t dynamicBytes, bool shadow);
  bool contains(uint64_t address, uint64_t bytes);
  std::byte *at(uint64_t address) { return data.data() + address; }
  uint64_t size() const { return data.size(); }

  /// False with `conflict` filled in; the access is noted all the same.
  bool noteRead(const Accessor &by, uint64_t address, uint64_t bytes, bool checkUnwritten,
                Conflict &conflict);
  /// `value`: what is about to be written; null for copies that land later, whose words become pending.
  bool noteWrite(const Accessor &by, uint64_t address, uint64_t bytes, const std::byte *value,
                 Conflict &conflict);
  /// A copy has landed.
  void land(const Accessor &by, uint64_t address, uint64_t bytes);

private:
  struct Cells { // of words, or of bytes
    std::vector<uint32_t> writer, readerA, readerB;
    std::vector<uint32_t> place, placeA, placeB; // of those accesses
    void resize(size_t count);
    void copy(size_t to, const Cells &from, size_t index);
  };
  bool readCell(Cells &cells, size_t index, const Accessor &by, uint32_t stamp, bool checkUnwritten,
                Conflict &conflict);
  bool writeCell(Cells &cells, size_t index, const Accessor &by, uint32_t stamp, bool isSame, bool isCopy,
                 Conflict &conflict);
  void split(size_t word);

  std::vector<std::byte> data;
  std::vector<Kernel::Range> ranges;
  size_t lastRange = 0;
  bool hasShadow = false, hasBytes = false;
  Cells words, bytes;
};

} // namespace heddle::cuda_sim
