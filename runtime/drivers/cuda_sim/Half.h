// Conversions between floating-point formats with every rounding mode, written so that loops over lanes
// vectorize.
#pragma once
#include "drivers/cuda_sim/Warp.h"
#include <cmath>
#include <limits>

namespace heddle::cuda_sim {

enum class Rounding : uint8_t { NearestEven, Zero, Down, Up, NearestAway };

constexpr uint32_t canonicalNan = 0x7fffffff;

inline float canonical(float value) { return value != value ? std::bit_cast<float>(canonicalNan) : value; }
inline double canonical(double value) { return value; } // PTX leaves the bits of f64 NaNs open

inline float flushed(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
}

/// [0, 1], NaN to +0.
template <class T> inline T saturated(T value) { return value > T(0) ? (value < T(1) ? value : T(1)) : T(0); }

inline float floatOf(half_t value) {
  uint32_t magnitude = value.bits & 0x7fffu, sign = (value.bits & 0x8000u) << 16;
  uint32_t scaled = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
  return std::bit_cast<float>((magnitude >= 0x7c00 ? magnitude << 13 | 0x7f800000 : scaled) | sign);
}
inline float floatOf(bhalf_t value) { return std::bit_cast<float>(uint32_t(value.bits) << 16); }

/// Rounds a double once to a format with `Mantissa` stored bits and `Exponent` exponent bits: its bits.
template <unsigned Mantissa, unsigned Exponent> inline uint32_t narrow(double value, Rounding rounding) {
  constexpr int bias = (1 << (Exponent - 1)) - 1, least = 1 - bias; // exponent of the smallest normal number
  constexpr uint32_t infinity = ((1u << Exponent) - 1) << Mantissa;
  uint64_t bits = std::bit_cast<uint64_t>(value);
  uint32_t sign = uint32_t(bits >> 63) << (Mantissa + Exponent);
  uint64_t magnitude = bits & ~(uint64_t(1) << 63);
  if (magnitude > uint64_t(0x7ff) << 52)
    return infinity | ((1u << Mantissa) - 1);
  if (magnitude == uint64_t(0x7ff) << 52)
    return sign | infinity;
  if (magnitude == 0)
    return sign;
  int exponent = int(magnitude >> 52) - 1023;
  uint64_t significand = (magnitude & ((uint64_t(1) << 52) - 1)) | uint64_t(1) << 52;
  int drop = 52 - int(Mantissa) + (exponent < least ? least - exponent : 0);
  bool up;
  uint64_t kept, rest, half;
  if (drop > 54) { // far below the smallest number
    kept = 0;
    rest = 1;
    half = 2;
  } else {
    kept = significand >> drop;
    rest = significand & ((uint64_t(1) << drop) - 1);
    half = uint64_t(1) << (drop - 1);
  }
  switch (rounding) {
  case Rounding::NearestEven:
    up = rest > half || (rest == half && (kept & 1));
    break;
  case Rounding::NearestAway:
    up = rest >= half;
    break;
  case Rounding::Down:
    up = rest && sign;
    break;
  case Rounding::Up:
    up = rest && !sign;
    break;
  default:
    up = false;
  }
  kept += up;
  // A carry out of the mantissa goes into the exponent by itself.
  uint64_t out = exponent < least ? kept : kept + (uint64_t(exponent - least) << Mantissa);
  if (out >= infinity) {
    bool toInfinity = rounding == Rounding::NearestEven || rounding == Rounding::NearestAway ||
                      (rounding == Rounding::Up && !sign) || (rounding == Rounding::Down && sign);
    return sign | (toInfinity ? infinity : infinity - 1);
  }
  return sign | uint32_t(out);
}

inline half_t halfOf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffff;
  uint32_t sign = bits >> 16 & 0x8000;
  uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
  uint32_t normal = (magnitude + 0xc8000fff + (magnitude >> 13 & 1)) >> 13;
  uint32_t out = magnitude >= 0x47800000 ? 0x7c00 : magnitude < 0x38800000 ? small : normal;
  return {uint16_t(magnitude > 0x7f800000 ? 0x7fff : out | sign)};
}
inline bhalf_t bhalfOf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return {uint16_t((bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : rounded)};
}
inline half_t halfOf(double value, Rounding rounding = Rounding::NearestEven) {
  return {uint16_t(value != value ? 0x7fff : narrow<10, 5>(value, rounding))};
}
inline bhalf_t bhalfOf(double value, Rounding rounding = Rounding::NearestEven) {
  return {uint16_t(value != value ? 0x7fff : narrow<7, 8>(value, rounding))};
}
inline float floatOf(double value, Rounding rounding) {
  return std::bit_cast<float>(value != value ? canonicalNan : narrow<23, 8>(value, rounding));
}

template <class H> inline H roundTo(float value) {
  if constexpr (std::is_same_v<H, half_t>)
    return halfOf(value);
  else
    return bhalfOf(value);
}
template <class H> inline H roundTo(double value, Rounding rounding = Rounding::NearestEven) {
  if constexpr (std::is_same_v<H, half_t>)
    return halfOf(value, rounding);
  else
    return bhalfOf(value, rounding);
}

// ---------------------------------------------------------------------------------------------------------------
// Doubles rounded to odd: rounding them once more to a format of at most 51 bits gives the correctly rounded
// result.

inline double toOdd(double rounded, double error) {
  uint64_t bits = std::bit_cast<uint64_t>(rounded);
  if (error == 0 || error != error || (bits & 1) || std::isinf(rounded))
    return rounded;
  return std::bit_cast<double>((error > 0) == (rounded > 0) ? bits + 1 : bits - 1);
}
inline double addToOdd(double a, double b) {
  double sum = a + b, part = sum - a;
  return toOdd(sum, (a - (sum - part)) + (b - part));
}
/// a * b has to be exact in f64, as of two f32.
inline double fmaToOdd(double a, double b, double c) { return addToOdd(a * b, c); }
inline double divideToOdd(double a, double b) {
  double quotient = a / b;
  double rest = std::fma(-quotient, b, a);
  return toOdd(quotient, b > 0 ? rest : -rest);
}
inline double rootToOdd(double a) {
  double root = std::sqrt(a);
  return toOdd(root, std::fma(-root, root, a));
}

} // namespace heddle::cuda_sim
