#include "drivers/npu_sim/Arithmetic.h"
#include <algorithm>
#include <bit>
#include <cmath>

namespace heddle::npu_sim {

int64_t divide(int64_t a, int64_t b, int shift) {
  if (b == 0)
    return a > 0 ? INT32_MAX : a < 0 ? INT32_MIN : 0;
  int64_t numerator = a * (int64_t{1} << shift);
  int64_t quotient = numerator / b, rest = numerator % b; // towards zero; the rest has the numerator's sign
  int64_t twice = 2 * (rest < 0 ? -rest : rest), size = b < 0 ? -b : b;
  if (twice > size || (twice == size && (quotient & 1)))
    quotient += (numerator < 0) == (b < 0) ? 1 : -1;
  return quotient;
}

int64_t fromFloat(float x, int exponent) {
  if (std::isnan(x))
    return 0;
  // A double holds every step exactly: 24 bits, and an exponent that stays far inside of its range.
  double value = std::nearbyint(std::ldexp(static_cast<double>(x), exponent));
  return static_cast<int64_t>(std::clamp(value, -4294967296.0, 4294967296.0));
}

float toFloat(int64_t x, int exponent) {
  return static_cast<float>(std::ldexp(static_cast<double>(x), -exponent));
}

int64_t fromHalf(uint16_t bits, int exponent) {
  int e = bits >> 10 & 31;
  double mantissa = (bits & 1023) + (e ? 1024 : 0);
  if (e == 31)
    mantissa = bits & 1023 ? NAN : INFINITY;
  double size = std::ldexp(mantissa, std::max(e, 1) - 25);
  return fromFloat(static_cast<float>(bits & 0x8000 ? -size : size), exponent); // exact
}

uint16_t toHalf(int64_t x, int exponent) {
  double size = std::ldexp(std::fabs(static_cast<double>(x)), -exponent);
  if (size == 0)
    return 0;
  int e = std::max(std::ilogb(size),
                   -14); // of the leading bit; denormal numbers share that of the smallest normal ones
  int64_t digits = std::llrint(std::ldexp(size, std::max(10 - e, -64))); // 1024 to 2048 where it is normal
  int64_t bits = e > 15 ? 0x7c00 : ((e + 15) << 10) + digits - 1024;     // 2048 carries into the exponent
  return static_cast<uint16_t>(std::min<int64_t>(bits, 0x7c00) | (x < 0 ? 0x8000 : 0));
}

Tables::Tables() {
  // No entry is near a half, so that the accuracy of double is enough; MathTest compares them with exact
  // ones.
  for (int i = 0; i <= 256; ++i) {
    double t = i / 32.0, s = i / 16.0;
    exponential[i] = std::llround(std::ldexp(std::exp2(-i / 256.0), 30));
    gelu[i] = i == 256 ? 0 : std::llround(65536.0 * t * 0.5 * std::erfc(t / std::sqrt(2.0)));
    silu[i] = i == 256 ? 0 : std::llround(65536.0 * s / (1.0 + std::exp(s)));
    reciprocalRoot[i] = i < 64 ? 0 : std::llround(std::ldexp(1.0 / std::sqrt(i / 64.0), 30));
  }
}

const Tables &tables() {
  static const Tables made;
  return made;
}

int64_t exponential(int64_t a, int shift) {
  int64_t x = a > 0 ? 0 : std::min<int64_t>(-a, INT32_MAX);
  int64_t u = x * 94548; // 2^16 log2(e)
  int64_t n = (u >> 32) + shift;
  int i = (u >> 24) & 255, w = (u >> 16) & 255;
  const auto &table = tables().exponential;
  int64_t mantissa = table[i] - roundingShift((table[i] - table[i + 1]) * w, 8);
  return n > 62 ? 0 : roundingShift(mantissa, n);
}

/// max(a, 0) - correction(|a|), the correction interpolated between entries 2^step apart.
static int64_t rectified(const std::array<int64_t, 257> &table, int64_t a, int step, int shift) {
  int64_t t = std::min<int64_t>(a < 0 ? -a : a, INT32_MAX);
  int64_t i = t >> step, w = t & ((1 << step) - 1);
  int64_t correction = i > 255 ? 0 : table[i] + roundingShift((table[i + 1] - table[i]) * w, step);
  return roundingShift(std::max<int64_t>(a, 0) - correction, shift);
}
int64_t gelu(int64_t a, int shift) { return rectified(tables().gelu, a, 11, shift); }
int64_t silu(int64_t a, int shift) { return rectified(tables().silu, a, 12, shift); }

int64_t reciprocalRoot(int64_t a, int shift) {
  if (a <= 0)
    return roundingShift(INT32_MAX, shift);
  int e = (std::bit_width(static_cast<uint64_t>(a)) - 1) & ~1;
  uint64_t m = static_cast<uint64_t>(a) << (30 - e); // 2^30 to 2^32
  uint64_t i = m >> 24, w = (m >> 8) & 65535;
  const auto &table = tables().reciprocalRoot;
  int64_t root = table[i] - roundingShift((table[i] - table[i + 1]) * static_cast<int64_t>(w), 16);
  return shift + e / 2 > 62 ? 0 : roundingShift(root, shift + e / 2);
}

} // namespace heddle::npu_sim
