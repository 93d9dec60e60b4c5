// The bytes of an artifact: a file, read with pread, or the caller's memory. Never reads past its size.
#pragma once
#include "core/Support.h"

namespace heddle::runtime {

class Source {
public:
  heddle_status open(const heddle_source &source, heddle_error *error);
  void close();
  uint64_t size() const { return bytes; }
  /// Safe from any thread.
  heddle_status read(uint64_t offset, void *buffer, uint64_t size, heddle_error *error) const;
  /// The bytes in place: the caller's memory, or a new read-only mapping. `offset` is a multiple of 64 KiB.
  heddle_status map(uint64_t offset, uint64_t size, const void **out, heddle_error *error) const;
  void unmap(const void *mapped, uint64_t size) const;

private:
  int descriptor = -1;
  const uint8_t *memory = nullptr;
  uint64_t bytes = 0;
};

} // namespace heddle::runtime
