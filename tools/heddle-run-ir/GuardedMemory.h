// Memory that shows what is written outside of it.
#pragma once
#include <cstddef>
#include <utility>

namespace heddle::run_ir {

/// `size` bytes, aligned to 64, that end where a page begins which may not be touched (but for up to 63 bytes
/// of alignment). They and all around them hold a pattern, which as f32 is NaN.
class GuardedMemory {
public:
  GuardedMemory() = default;
  explicit GuardedMemory(size_t size);
  GuardedMemory(GuardedMemory &&other) noexcept { swap(other); }
  GuardedMemory &operator=(GuardedMemory &&other) noexcept { return swap(other), *this; }
  ~GuardedMemory();

  char *data() { return begin; }
  size_t size() const { return bytes; }

  /// The first byte that is not the pattern and not one of the first `used`, as an offset from data(); `used`
  /// when there is none.
  ptrdiff_t firstWritten(size_t used) const;

private:
  void swap(GuardedMemory &other) {
    std::swap(mapped, other.mapped);
    std::swap(begin, other.begin);
    std::swap(bytes, other.bytes);
  }
  char *mapped = nullptr, *begin = nullptr;
  size_t bytes = 0;
};

} // namespace heddle::run_ir
