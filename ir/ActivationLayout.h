// Byte layout of dynamically quantized activations (docs/kernel-abi.md), for interpreter, passes and
// generators.
#pragma once
#include <cstdint>

namespace heddle {

struct ActivationLayout {
  int64_t columns;
  int planes; // 1: act_i8, 2: act_i16

  int64_t low() const { return columns; } // only with two planes
  int64_t scale() const { return columns * planes; }
  int64_t sum() const { return scale() + columns / 32 * 4; }
  int64_t isum() const { return sum() + columns / 16 * 4; }
  int64_t stride() const { return (isum() + columns / 16 * 4 + 63) / 64 * 64; }

  /// Largest code: amax maps onto it.
  float limit() const { return planes == 1 ? 127.0f : 32512.0f; }
};

} // namespace heddle
