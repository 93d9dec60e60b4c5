// Random choices that a seed fixes, on every machine and with every standard library.
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace heddle::random_modules {

class Random {
public:
  explicit Random(uint64_t seed) : state(seed) {}

  /// SplitMix64: 64 equally likely bits.
  uint64_t bits() {
    state += 0x9e3779b97f4a7c15;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  int64_t between(int64_t low, int64_t high) { return low + int64_t(bits() % uint64_t(high - low + 1)); }
  bool chance(int percent) { return between(0, 99) < percent; }
  double real(double low, double high) { return low + (high - low) * double(bits() >> 11) * 0x1p-53; }
  template <typename T> const T &pick(const T *items, size_t count) { return items[bits() % count]; }
  template <typename T> T pick(std::initializer_list<T> items) {
    return items.begin()[bits() % items.size()];
  }

private:
  uint64_t state;
};

} // namespace heddle::random_modules
