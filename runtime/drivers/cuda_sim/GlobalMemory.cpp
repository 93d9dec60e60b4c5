#include "drivers/cuda_sim/GlobalMemory.h"
#include <cstdlib>
#include <new>

namespace heddle::cuda_sim {

namespace {
constexpr uint64_t firstAddress = uint64_t(1) << 40; // far above the windows of the other state spaces
constexpr uint64_t lastAddress = uint64_t(1) << 47;
constexpr uint64_t alignment = 512, gap = 4096;
} // namespace

Allocation::~Allocation() {
  if (owned)
    std::free(host);
  std::free(written);
}

void Allocation::markRange(uint64_t offset, uint64_t bytes, bool value) {
  while (written && bytes > 0) {
    uint64_t bit = offset & 63, count = bytes < 64 - bit ? bytes : 64 - bit;
    uint64_t mask = (count == 64 ? ~uint64_t(0) : (uint64_t(1) << count) - 1) << bit;
    if (value)
      written[offset >> 6] |= mask;
    else
      written[offset >> 6] &= ~mask;
    offset += count;
    bytes -= count;
  }
}

Memory::Impl::Impl(uint64_t limit) : limit(limit), next(firstAddress) {}

Allocation *Memory::Impl::find(uint64_t address) const {
  std::shared_lock lock(mutex);
  auto at = allocations.upper_bound(address);
  return at == allocations.begin() ? nullptr : std::prev(at)->second.get();
}

uint64_t Memory::Impl::add(std::unique_ptr<Allocation> allocation, uint64_t bytes) {
  std::unique_lock lock(mutex);
  if (bytes > limit - used || bytes > lastAddress - next)
    return 0;
  uint64_t address = next;
  allocation->begin = address;
  allocation->end = address + bytes;
  next = (address + bytes + gap + alignment - 1) / alignment * alignment;
  used += bytes;
  allocations.emplace(address, std::move(allocation));
  return address;
}

Memory::Memory(uint64_t limit) : state(new Impl(limit)) {}
Memory::~Memory() = default;

uint64_t Memory::allocate(uint64_t bytes, std::string_view name) try {
  if (bytes == 0 || bytes > state->limit)
    return 0;
  auto allocation = std::make_unique<Allocation>();
  allocation->owned = true;
  allocation->name = name;
  allocation->host = static_cast<std::byte *>(std::calloc(bytes, 1));
  allocation->written = static_cast<uint64_t *>(std::calloc(bytes / 64 + 1, 8));
  if (!allocation->host || !allocation->written)
    return 0;
  return state->add(std::move(allocation), bytes);
} catch (const std::bad_alloc &) {
  return 0;
}

uint64_t Memory::adopt(void *host, uint64_t bytes, std::string_view name, bool written) try {
  if (bytes == 0)
    return 0;
  auto allocation = std::make_unique<Allocation>();
  allocation->name = name;
  allocation->host = static_cast<std::byte *>(host);
  allocation->allWritten = written;
  if (!written && !(allocation->written = static_cast<uint64_t *>(std::calloc(bytes / 64 + 1, 8))))
    return 0;
  return state->add(std::move(allocation), bytes);
} catch (const std::bad_alloc &) {
  return 0;
}

void Memory::release(uint64_t address) {
  std::unique_lock lock(state->mutex);
  auto at = state->allocations.find(address);
  if (at == state->allocations.end())
    return;
  state->used -= at->second->end - at->second->begin;
  state->allocations.erase(at);
}

void *Memory::host(uint64_t address, uint64_t bytes) const {
  Allocation *allocation = state->find(address);
  return allocation && allocation->contains(address, bytes) ? allocation->host + (address - allocation->begin)
                                                            : nullptr;
}

bool Memory::write(uint64_t address, const void *from, uint64_t bytes) {
  if (bytes == 0) // memcpy and memset allow no null pointer, whatever the size
    return true;
  void *to = host(address, bytes);
  if (!to)
    return false;
  std::memcpy(to, from, bytes);
  Allocation *allocation = state->find(address);
  allocation->markRange(address - allocation->begin, bytes, true);
  return true;
}

bool Memory::read(uint64_t address, void *to, uint64_t bytes) const {
  if (bytes == 0)
    return true;
  const void *from = host(address, bytes);
  if (!from)
    return false;
  std::memcpy(to, from, bytes);
  return true;
}

bool Memory::fill(uint64_t address, uint8_t value, uint64_t bytes) {
  if (bytes == 0)
    return true;
  void *to = host(address, bytes);
  if (!to)
    return false;
  std::memset(to, value, bytes);
  Allocation *allocation = state->find(address);
  allocation->markRange(address - allocation->begin, bytes, true);
  return true;
}

bool Memory::forget(uint64_t address, uint64_t bytes) {
  if (!host(address, bytes))
    return bytes == 0;
  Allocation *allocation = state->find(address);
  allocation->markRange(address - allocation->begin, bytes, false);
  return true;
}

} // namespace heddle::cuda_sim
