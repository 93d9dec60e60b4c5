// What ld, st and atom share: addresses of lanes, and the state space behind a generic address.
#pragma once
#include "drivers/cuda_sim/Block.h"
#include "drivers/cuda_sim/Selector.h"

namespace heddle::cuda_sim {

enum class Access : uint8_t { Read, Write, Atomic };

/// Base operand plus offset. `wide`: the base has 64 bits.
void addressesOf(const Warp &w, int32_t base, bool wide, int64_t offset, uint64_t *out);

/// Where the active lanes access `bytes` bytes; returns the lanes that may. `values`: what a write will
/// store, bytes each.
uint32_t locate(Warp &w, const Instruction &i, Space space, const uint64_t *addresses, unsigned bytes,
                Access access, bool strong, const std::byte *values, std::byte **out);

/// Modifiers of memory instructions that do not change what is computed here; true if the access is volatile,
/// relaxed, acquire or release.
bool takeOrdering(Selector &s);
void takeCacheHints(Selector &s);
Space takeSpaceIfAny(Selector &s);

} // namespace heddle::cuda_sim
