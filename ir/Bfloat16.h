// Rounding to bfloat16, the upper half of an f32, as x86 does it (VCVTNEPS2BF16, Intel SDM volume 2).
#pragma once
#include <bit>
#include <cstdint>

namespace heddle {

/// Bits of `x` rounded half to even. Subnormal numbers become zeros of their sign, NaN stays one.
inline uint16_t bfloat16Bits(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x), size = bits & 0x7fffffff;
  if (size > 0x7f800000)
    return bits >> 16 | 0x40;
  if (size < 0x00800000)
    return bits >> 16 & 0x8000;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

inline float roundToBfloat16(float x) { return std::bit_cast<float>(uint32_t(bfloat16Bits(x)) << 16); }

/// From 1 to the next number.
inline constexpr double kBfloat16Epsilon = 1.0 / 128;

} // namespace heddle
