// The tolerance policy: when two evaluations of one program agree. Everything that compares numbers takes it
// from here.
//
// A result y agrees with the reference r when
//
//   |y - r| <= c * epsilon(accumulator) * sum |a||b|  +  what the operands' tolerances become  + quantization
//   bound
//
// sum |a||b| is the *magnitude* of a result: the sum of the absolute values of the terms that its operation
// adds up (a function of one number has its own absolute value, or that of its terms where they cancel, as in
// gelu). The interpreter computes the right side as a companion of every value (Options::toleranceEpsilon),
// so that it holds for chains of operations too: an operand's tolerance passes through its operation's
// derivative, at the actual operands; where a sum takes many of them, they add up as independent deviations
// do, as the root of the sum of their squares (the sum itself grows by an order of magnitude a layer and soon
// says nothing). Integers are exact: they have no tolerance, and a quantized value has one only where a code
// may flip, because what was rounded had one.
#pragma once
#include <cfloat>
#include <cmath>

namespace heddle {

/// The constant c. A sequential f32 sum of K random terms deviates by about 0.35 epsilon of sum |a||b| in the
/// mean, one of equal signs by sqrt(K)/6 epsilon; 8 leaves room for the ulp of approximated functions and for
/// orders of summation.
inline constexpr double kToleranceFactor = 8;

/// Steps of its format that a number counts for which rounding may move: one step where it may flip to the
/// neighbour, half a step where a program without the rounding is compared. Sums take them as independent;
/// two leave room for some of one sign.
inline constexpr double kStepFactor = 2;

inline constexpr double kF32Epsilon = FLT_EPSILON; // 2^-23
inline constexpr double kF64Epsilon = DBL_EPSILON; // 2^-52

/// The NPU computes with 16 fraction bits, tables of 256 entries and multipliers of 16 bits at the least
/// (docs/npu.md, "Numbers"): what it says agrees to this epsilon, and to this many steps of its numbers.
inline constexpr double kFixedPointEpsilon = 0x1p-15;
inline constexpr double kFixedPointStep = 16 * 0x1p-16;
/// Its attention makes 8-bit codes of queries, keys and values, a scale for each: results agree to this much
/// of the largest of them.
inline constexpr double kCodedAttention = 0x1p-6;

/// NaN agrees with NaN alone, infinity with the same infinity. A finite reference asks for a finite value,
/// unless it is out of f32's range, where infinity of its sign is right. Results below f32's normal range may
/// be flushed to zero.
inline bool agrees(double value, double reference, double tolerance) {
  if (std::isnan(reference) || std::isnan(value))
    return std::isnan(reference) && std::isnan(value);
  if (value == reference)
    return true;
  if (!(tolerance > 0))
    tolerance = 0;
  if (std::isinf(value))
    return !std::isinf(reference) && std::signbit(value) == std::signbit(reference) &&
           std::abs(reference) + tolerance >= FLT_MAX;
  return !std::isinf(reference) && std::abs(value - reference) <= tolerance + FLT_MIN;
}

/// Tolerance of a constant that was written down as f32: half a unit of its last place.
inline double roundingToF32(double value) { return std::abs(value) * (kF32Epsilon / 2); }

} // namespace heddle
