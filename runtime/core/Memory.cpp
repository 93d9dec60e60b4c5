#include "core/Memory.h"
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace heddle::runtime {

// From this size on blocks are mapped, so that they can start on a huge page and go back to the system when
// freed.
static constexpr size_t mapFrom = 1u << 20;
static constexpr size_t page = 4096;

static void *allocateDefault(void *, size_t size, size_t alignment) {
  if (size < mapFrom) {
    void *memory = nullptr;
    return posix_memalign(&memory, alignment < 64 ? 64 : alignment, size) == 0 ? memory : nullptr;
  }
  // Maps more than needed and gives back what lies outside of the aligned part.
  size_t rounded = alignUp(size, page), slack = alignment > page ? alignment : 0;
  void *mapped = mmap(nullptr, rounded + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    return nullptr;
  if (!slack)
    return mapped;
  char *begin = static_cast<char *>(mapped);
  char *aligned =
      begin + (alignUp(reinterpret_cast<uintptr_t>(begin), alignment) - reinterpret_cast<uintptr_t>(begin));
  if (aligned > begin)
    munmap(begin, aligned - begin);
  char *end = begin + rounded + slack;
  if (end > aligned + rounded)
    munmap(aligned + rounded, end - (aligned + rounded));
  return aligned;
}

static void releaseDefault(void *, void *memory, size_t size) {
  if (size < mapFrom)
    free(memory);
  else
    munmap(memory, alignUp(size, page));
}

void Memory::setUp(const heddle_allocator &given, uint64_t limitBytes) {
  allocator = given;
  if (!allocator.allocate) {
    allocator.allocate = allocateDefault;
    allocator.release = releaseDefault;
  }
  if (limitBytes)
    limit = limitBytes;
}

void *Memory::allocate(uint64_t size, size_t alignment) {
  if (size == 0 || size > SIZE_MAX / 2)
    return nullptr;
  uint64_t before = used();
  do {
    if (size > limit || before > limit - size)
      return nullptr;
  } while (!__atomic_compare_exchange_n(&usedBytes, &before, before + size, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
  void *memory = allocator.allocate(allocator.context, size, alignment);
  if (!memory)
    __atomic_fetch_sub(&usedBytes, size, __ATOMIC_RELAXED);
  return memory;
}

void Memory::release(void *memory, uint64_t size) {
  if (!memory)
    return;
  allocator.release(allocator.context, memory, size);
  __atomic_fetch_sub(&usedBytes, size, __ATOMIC_RELAXED);
}

heddle_status failAllocation(const Memory &memory, uint64_t size, heddle_error *error) {
  return fail(error, HEDDLE_RESOURCE_LIMIT,
              "%" PRIu64 " bytes of memory are not available; %" PRIu64
              " are in use, and the limit is %" PRIu64,
              size, memory.used(), memory.limitBytes());
}

} // namespace heddle::runtime
