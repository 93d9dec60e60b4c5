// A block while it runs: its warps, shared memory, barriers, and the way to memory and to the report.
#pragma once
#include "drivers/cuda_sim/GlobalMemory.h"
#include "drivers/cuda_sim/SharedMemory.h"
#include <map>
#include <memory>
#include <set>

namespace heddle::cuda_sim {

constexpr unsigned warpLimit = 32, barrierLimit = 16;

/// What all blocks of a launch share.
struct Launch {
  const Kernel *kernel;
  const Syntax *syntax; // for names of files
  Memory::Impl *memory;
  Options options;
  Dim3 grid, block;
  uint32_t dynamicShared = 0;
  std::vector<std::byte> constants, parameters;
  std::atomic<uint64_t> nextBlock{0}, steps{0};
  std::atomic<bool> stopped{false};
  std::mutex mutex; // of what follows
  struct Found {
    uint64_t block;
    Problem problem;
  };
  std::map<std::pair<ProblemKind, uint32_t>, Found> problems; // by kind and place
  uint64_t suppressed = 0;
  Counters counters;
};

class Block {
public:
  explicit Block(Launch &launch);
  void run(Dim3 index); // throws std::bad_alloc
  Counters counters;

  // --- for handlers
  const Kernel &kernel() const { return *launch.kernel; }
  const Options &options() const { return launch.options; }
  const std::vector<std::byte> &parameters() const { return launch.parameters; }
  bool isStopped() const { return stopped; }
  uint64_t steps = 0; // warp instructions of this block

  /// Notes a problem of one lane; ends the launch if nothing sensible can follow.
  void problem(ProblemKind kind, const Warp &w, const Instruction &i, unsigned lane,
               const std::string &message);
  /// Finds the lanes' bytes in global memory. Lanes with a problem are reported and not in the result.
  uint32_t global(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                  unsigned bytes, bool isRead, bool isWrite, std::byte **out);
  /// The same in shared memory; `values` of what will be written, for the shadow: bytes each.
  uint32_t sharedRead(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                      unsigned bytes, bool strong, std::byte **out);
  uint32_t sharedWrite(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                       unsigned bytes, bool strong, const std::byte *values, std::byte **out);
  void sharedAtomic(const Warp &w, const Instruction &i, unsigned lane, uint64_t address, unsigned bytes);
  /// Bounds and alignment only.
  uint32_t sharedBounds(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                        unsigned bytes, std::byte **out);
  /// Where each lane's access lies in a memory of `size` bytes, which begins at at(lane); 0 lanes after a
  /// problem.
  template <typename At>
  uint32_t within(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                  unsigned bytes, uint64_t size, const char *memory, At at, std::byte **out);
  uint32_t local(Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes, unsigned bytes,
                 std::byte **out);
  uint32_t parameter(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                     unsigned bytes, std::byte **out);
  void countGlobal(const uint64_t *addresses, uint32_t lanes, unsigned bytes, bool isStore);
  void countShared(const uint64_t *addresses, uint32_t lanes, unsigned bytes);
  void orderWarp(const Warp &w) { ++clocks[w.index][w.index]; } // bar.warp.sync
  /// An atomic access orders memory in kernels that also fence.
  void synchronizeAt(const Warp &w, uint64_t address);
  Accessor accessor(const Warp &w, const Instruction &i, unsigned lane, bool strong) const {
    return {w.index, lane, clocks[w.index], static_cast<uint32_t>(&i - kernel().code.data()), strong};
  }
  SharedMemory shared;

private:
  void noteConflict(const Warp &w, const Instruction &i, unsigned lane, uint64_t address,
                    const Conflict &conflict);
  enum class Outcome : uint8_t { Slice, Waits, Done };
  struct Barrier {
    uint32_t expected = 0, arrived = 0; // threads; expected 0: nobody is here
    uint32_t count = 0;                 // of true predicates
    uint32_t seen[warpLimit] = {};      // what happened before the arrivals
  };
  void startWarp(Warp &w, unsigned index);
  Outcome runWarp(Warp &w);
  void runGroup(Warp &w, size_t group, uint32_t &budget);
  size_t pickGroup(Warp &w);
  bool sync(Warp &w, size_t group, const Instruction &i);
  void branch(Warp &w, size_t group, uint32_t taken, uint32_t target);
  void branchIndexed(Warp &w, size_t group, const Instruction &i, uint32_t lanes);
  void split(Warp &w, size_t group, uint32_t lanes, uint32_t target);
  void exitLanes(Warp &w, size_t group, uint32_t lanes);
  bool arrive(Warp &w, size_t group, const Instruction &i); // false: it waits, or the launch ends
  void completeBarriers();
  void release(unsigned barrier);
  void reportStuck();
  bool releaseWarpBarrier(Warp &w);
  uint32_t liveThreads() const;
  Dim3 threadOf(const Warp &w, unsigned lane) const;
  Allocation *allocationOf(const Instruction &i, uint64_t address);
  void outOfBounds(const Warp &w, const Instruction &i, unsigned lane, uint64_t address, unsigned bytes,
                   const Allocation *nearest);
  bool checkAlignment(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t &lanes,
                      unsigned bytes);
  std::string describe(const Instruction &i) const;

  Launch &launch;
  Dim3 index;
  bool stopped = false;
  unsigned warpCount;
  std::vector<Warp> warps;
  std::vector<std::byte> registers;
  std::vector<uint32_t> predicates;
  Barrier barriers[barrierLimit];
  uint32_t clocks[warpLimit][warpLimit];
  std::map<uint64_t, std::vector<uint32_t>>
      synchronized; // what has happened before an atomic access at an address
  Allocation *cache[64] = {};
  std::set<std::pair<ProblemKind, uint32_t>> reported; // by this block
};

} // namespace heddle::cuda_sim
