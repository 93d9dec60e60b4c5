// The state of one warp while it runs, and what handlers of instructions need to compute on 32 lanes.
#pragma once
#include "drivers/cuda_sim/Kernel.h"
#include <bit>
#include <tuple>
#include <utility>

namespace heddle::cuda_sim {

constexpr unsigned warpSize = 32;
constexpr uint32_t allLanes = ~0u;
constexpr size_t slotBytes = warpSize * 4;

// Windows of generic addresses; global memory lies above.
constexpr uint64_t sharedWindow = uint64_t(1) << 24, sharedWindowEnd = uint64_t(2) << 24;
constexpr uint64_t localWindow = uint64_t(2) << 24, localWindowEnd = uint64_t(3) << 24;
constexpr uint64_t paramWindow = uint64_t(3) << 24, paramWindowEnd = uint64_t(4) << 24;

class Block;

/// Lanes that are at the same instruction.
struct Group {
  uint32_t pc = 0, mask = 0;
  enum class State : uint8_t { Ready, AtSync, AtBarrier } state = State::Ready;
  bool aside = false;  // spins; others first
  uint8_t barrier = 0; // that it waits at
};

struct AsyncCopy { // of one lane
  uint32_t lane, address, bytes;
  uint32_t group; // number of the lane's groups that were committed before
  uint32_t place;
  std::byte data[16];
};

struct Warp {
  Block *block = nullptr;
  const Kernel *kernel = nullptr;
  std::byte *registers = nullptr;
  const std::byte *constants = nullptr;
  uint32_t *predicates = nullptr;
  std::vector<std::byte> local; // [lane][kernel->localBytes]
  uint32_t active = 0;          // lanes that execute the current instruction
  uint32_t live = 0;            // lanes that have not exited
  uint32_t carry = 0;           // of add.cc and its like, a bit a lane
  uint32_t index = 0;           // in the block
  bool polled = false;   // an atomic or volatile access since the last backward branch that was counted
  uint32_t backward = 0; // backward branches while other groups wait
  std::vector<Group> groups;
  std::vector<AsyncCopy> copies;
  uint32_t committed[warpSize] = {}; // groups of copies

  template <class T> const T *slot(int32_t op) const {
    return reinterpret_cast<const T *>(op >= 0 ? registers + size_t(op) * slotBytes
                                               : constants + size_t(~op) * slotBytes);
  }
  template <class T> T *target(int32_t op) {
    return reinterpret_cast<T *>(registers + size_t(op) * slotBytes);
  }
  uint32_t predicate(int32_t op) const { return predicates[op >> 1] ^ (0u - uint32_t(op & 1)); }
  void setPredicate(int32_t op, uint32_t value) {
    uint32_t &p = predicates[op >> 1];
    p = (p & ~active) | ((value ^ (0u - uint32_t(op & 1))) & active);
  }
  bool isActive(unsigned lane) const { return active >> lane & 1; }
  uint64_t steps() const; // Block.cpp
};

// ---------------------------------------------------------------------------------------------------------------
// Values in slots: 64-bit types take two slots, everything else one 32-bit lane, zero-extended.

struct half_t {
  uint16_t bits;
};
struct bhalf_t {
  uint16_t bits;
};

template <class T> using SlotOf = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T> inline T fromSlot(SlotOf<T> value) {
  if constexpr (std::is_same_v<T, half_t> || std::is_same_v<T, bhalf_t>)
    return T{static_cast<uint16_t>(value)};
  else if constexpr (std::is_floating_point_v<T>)
    return std::bit_cast<T>(value);
  else
    return static_cast<T>(value);
}

template <class T> inline SlotOf<T> toSlot(T value) {
  if constexpr (std::is_same_v<T, half_t> || std::is_same_v<T, bhalf_t>)
    return value.bits;
  else if constexpr (std::is_floating_point_v<T>)
    return std::bit_cast<SlotOf<T>>(value);
  else
    return static_cast<SlotOf<T>>(static_cast<std::make_unsigned_t<T>>(value));
}

template <class S> inline void writeLanes(Warp &w, int32_t op, const S *values) {
  S *to = w.target<S>(op);
  uint32_t mask = w.active;
  if (mask == allLanes) {
    for (unsigned i = 0; i < warpSize; ++i)
      to[i] = values[i];
    return;
  }
  for (unsigned i = 0; i < warpSize; ++i)
    to[i] = mask >> i & 1 ? values[i] : to[i];
}

/// op[0] = f(op[1], ...) on every active lane. What inactive lanes compute is dropped, so f must be safe for
/// any value.
template <class D, class... S, class F> inline void map(Warp &w, const Instruction &i, F f) {
  alignas(64) SlotOf<D> out[warpSize];
  [&]<size_t... N>(std::index_sequence<N...>) {
    const std::tuple<const SlotOf<S> *...> from{w.slot<SlotOf<S>>(i.op[N + 1])...};
    for (unsigned lane = 0; lane < warpSize; ++lane)
      out[lane] = toSlot<D>(f(fromSlot<S>(std::get<N>(from)[lane])...));
  }(std::index_sequence_for<S...>());
  writeLanes(w, i.op[0], out);
}

} // namespace heddle::cuda_sim
