// Byte layout of dynamically quantized activations (docs/kernel-abi.md), for interpreter, passes and
// generators.
#pragma once
#include <cstdint>

namespace heddle {

struct ActivationLayout {
  int64_t columns;
  int planes; // of integers: 1: act_i8, 2: act_i16; 0: act_bf16, which is [columns] bf16 and nothing else
  bool perRow = false; // act_i8_row: [columns] codes, then the row's amax, s32 with 16 fraction bits

  int64_t low() const { return columns; } // only with two planes
  int64_t scale() const { return columns * planes; }
  int64_t sum() const { return scale() + columns / 32 * 4; }
  int64_t isum() const { return sum() + columns / 16 * 4; }
  int64_t stride() const {
    if (perRow)
      return (scale() + 4 + 63) / 64 * 64;
    return ((planes == 0 ? columns * 2 : isum() + columns / 16 * 4) + 63) / 64 * 64;
  }

  /// Largest code: amax maps onto it.
  float limit() const { return planes == 1 ? 127.0f : 32512.0f; }
};

} // namespace heddle
