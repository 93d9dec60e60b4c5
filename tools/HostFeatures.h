// What code this machine runs, as the CPU driver sees it: for tools and tests.
#pragma once
#include <cstdlib>
#include <heddle/driver.h>

namespace heddle {

/// HEDDLE_CPU_* bits that this host's processor and operating system offer.
inline uint32_t hostCpuFeatures() {
  heddle_host host = {};
  host.struct_size = sizeof host;
  host.allocate = [](void *, size_t size, size_t alignment) {
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  };
  host.release = [](void *, void *memory, size_t) { std::free(memory); };
  host.features = ~0u;
  const heddle_driver *driver = heddle_driver_cpu();
  heddle_device *device = nullptr;
  heddle_capabilities capabilities = {};
  capabilities.struct_size = sizeof capabilities;
  if (driver->open(&host, &device, nullptr) != HEDDLE_OK)
    std::abort(); // without memory for a handful of words
  if (driver->capabilities(device, &capabilities, nullptr) != HEDDLE_OK)
    std::abort();
  driver->close(device);
  return capabilities.features;
}

} // namespace heddle
