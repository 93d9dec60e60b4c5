// The arithmetic of docs/npu-isa.md, by the letter.
#ifndef HEDDLE_DRIVERS_NPU_SIM_ARITHMETIC_H
#define HEDDLE_DRIVERS_NPU_SIM_ARITHMETIC_H
#include <array>
#include <cstdint>

namespace heddle::npu_sim {

/// x / 2^shift, rounded to the nearest integer, halves to even; shift from 0 to 62.
inline int64_t roundingShift(int64_t x, int shift) {
  if (shift == 0)
    return x;
  int64_t floor = x >> shift;
  int64_t rest = x & ((int64_t{1} << shift) - 1), half = int64_t{1} << (shift - 1);
  return floor + (rest > half || (rest == half && (floor & 1)));
}

inline int64_t clampTo(int64_t x, int bits) {
  int64_t limit = int64_t{1} << (bits - 1);
  return x < -limit ? -limit : x > limit - 1 ? limit - 1 : x;
}

/// a * 2^shift / b, rounded to the nearest integer, halves to even; a and b are s32, shift up to 31.
int64_t divide(int64_t a, int64_t b, int shift);

/// binary32 times 2^exponent as an integer, clamped to s32 at least.
int64_t fromFloat(float x, int exponent);
float toFloat(int64_t x, int exponent);
/// The same with binary16, as bits.
int64_t fromHalf(uint16_t bits, int exponent);
uint16_t toHalf(int64_t x, int exponent);

/// Functions of an s32, before they are clamped; the table of each is built in.
int64_t exponential(int64_t a, int shift);
int64_t gelu(int64_t a, int shift);
int64_t silu(int64_t a, int shift);
int64_t reciprocalRoot(int64_t a, int shift);

/// Entries 0 to 255 and the one behind.
struct Tables {
  std::array<int64_t, 257> exponential, gelu, silu, reciprocalRoot;
  Tables();
};
const Tables &tables();

} // namespace heddle::npu_sim
#endif
