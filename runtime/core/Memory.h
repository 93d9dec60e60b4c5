// Memory of one model and its sessions: the embedder's allocator or the default one, and the limit on all of
// it.
#pragma once
#include "core/Support.h"

namespace heddle::runtime {

class Memory {
public:
  /// `allocator` without functions means the default.
  void setUp(const heddle_allocator &allocator, uint64_t limit);
  /// NULL when the limit or the machine's memory does not suffice. Contents are undefined.
  void *allocate(uint64_t size, size_t alignment);
  void release(void *memory, uint64_t size);
  uint64_t used() const { return __atomic_load_n(&usedBytes, __ATOMIC_RELAXED); }
  uint64_t limitBytes() const { return limit; }

private:
  heddle_allocator allocator;
  uint64_t limit = UINT64_MAX;
  uint64_t usedBytes = 0;
};

/// The message for an allocation that failed.
heddle_status failAllocation(const Memory &memory, uint64_t size, heddle_error *error);

} // namespace heddle::runtime
