// Byte layout of dynamically quantized activations (docs/kernel-abi.md), for interpreter, passes and
// generators.
#pragma once
#include <cstdint>

namespace heddle {

struct ActivationLayout {
  int64_t columns;
  int planes; // of integers: 1: act_i8, 2: act_i16; 0: act_bf16, which is [columns] bf16 and nothing else
  /// act_i8_row, act_i8_128: so many columns share a scale; [columns] codes, then each group's amax, s32 with
  /// 16 fraction bits. 0: the others.
  int64_t group = 0;

  static constexpr int64_t kGroup = 128; // of act_i8_128

  bool perGroup() const { return group != 0; }
  int64_t groups() const { return columns / group; } // only with perGroup()
  int64_t used() const { return scale() + groups() * 4; }
  int64_t low() const { return columns; } // only with two planes
  int64_t scale() const { return columns * planes; }
  int64_t sum() const { return scale() + columns / 32 * 4; }
  int64_t isum() const { return sum() + columns / 16 * 4; }
  int64_t stride() const {
    if (perGroup())
      return (used() + 63) / 64 * 64;
    return ((planes == 0 ? columns * 2 : isum() + columns / 16 * 4) + 63) / 64 * 64;
  }

  /// Largest code: amax maps onto it.
  float limit() const { return planes == 1 ? 127.0f : 32512.0f; }
};

} // namespace heddle
