#include "test/unit/cuda_sim/Harness.h"
#include <cmath>

using namespace cuda_sim_test;

namespace {

uint16_t bitsOfHalf(_Float16 value) { return value != value ? 0x7fff : std::bit_cast<uint16_t>(value); }
_Float16 half(uint64_t bits) { return std::bit_cast<_Float16>(static_cast<uint16_t>(bits)); }
float bfloat(uint64_t bits) { return floatOf(bits << 16); }

/// bf16 nearest to an exact value of 113 bits.
uint16_t bitsOfBfloat(__float128 exact) {
  if (exact != exact)
    return 0x7fff;
  float value = static_cast<float>(exact); // then to odd, so that the second rounding is right
  uint32_t bits = bitsOf(value);
  __float128 error = exact - value;
  if (error != 0 && std::isfinite(value) && !(bits & 1))
    bits += (error > 0) == (value > 0 || (value == 0 && error > 0)) ? 1 : -1;
  if (error != 0 && value == 0)
    bits = error > 0 ? 1 : 0x80000001;
  if (std::isinf(value))
    return static_cast<uint16_t>(bits >> 16);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

Values words(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Values out;
  while (out.size() < count) {
    // Half of them near one another, so that sums cancel and round.
    uint32_t bits = random();
    out.push_back(random() % 2 ? bits : (bits & 0x83ff83ff) | 0x38003800);
  }
  return out;
}

} // namespace

TEST_CASE("all f16 become f32 and return") {
  Values a;
  for (uint32_t bits = 0; bits < 0x10000; ++bits)
    a.push_back(bits);
  Values wide = evaluate("cvt.f32.f16 %rd, %ha;", 32, a, {}, {}, "", 256);
  Values back = evaluate("cvt.rn.f16.f32 %hd, %ra;", 16, wide, {}, {}, "", 256);
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if (half(bits) != half(bits)) {
      REQUIRE(isNan(floatOf(wide[bits])));
      REQUIRE(back[bits] == 0x7fff);
    } else {
      REQUIRE(floatOf(wide[bits]) == static_cast<float>(half(bits)));
      REQUIRE(back[bits] == bits);
    }
  }
}

TEST_CASE("f32 to f16 and bf16, in all directions") {
  Values a = floats(2048, 21);
  for (size_t i = 0; i < a.size(); i += 2) // into the range of f16
    if (std::isfinite(floatOf(a[i])))
      a[i] = bitsOf(std::ldexp(std::frexp(floatOf(a[i]), std::make_unique<int>().get()),
                               static_cast<int>(i % 48) - 28));
  Values nearest = evaluate("cvt.rn.f16.f32 %hd, %ra;", 16, a),
         down = evaluate("cvt.rm.f16.f32 %hd, %ra;", 16, a), up = evaluate("cvt.rp.f16.f32 %hd, %ra;", 16, a),
         zero = evaluate("cvt.rz.f16.f32 %hd, %ra;", 16, a);
  Values brain = evaluate("cvt.rn.bf16.f32 %hd, %ra;", 16, a),
         brainZero = evaluate("cvt.rz.bf16.f32 %hd, %ra;", 16, a);
  Values pair = evaluate("cvt.rn.f16x2.f32 %rd, %ra, %rb;", 32, a, a);
  for (size_t i = 0; i < a.size(); ++i) {
    float v = floatOf(a[i]);
    INFO(v);
    REQUIRE(nearest[i] == bitsOfHalf(static_cast<_Float16>(v)));
    REQUIRE(pair[i] == (nearest[i] << 16 | nearest[i]));
    REQUIRE(brain[i] == bitsOfBfloat(v));
    if (isNan(v))
      continue;
    REQUIRE(static_cast<float>(half(down[i])) <= v);
    REQUIRE(static_cast<float>(half(up[i])) >= v);
    REQUIRE((nearest[i] == down[i] || nearest[i] == up[i]));
    REQUIRE(zero[i] == (std::signbit(v) ? up[i] : down[i]));
    REQUIRE(brainZero[i] == (std::isinf(v) ? brain[i] : a[i] >> 16));
  }
}

TEST_CASE("arithmetic of f16 pairs rounds once") {
  Values a = words(1024, 31), b = words(1024, 32), c = words(1024, 33);
  auto is = [&](const std::string &body, auto reference) {
    Values got = evaluate(body, 32, a, b, c);
    for (size_t i = 0; i < a.size(); ++i)
      for (int part = 0; part < 32; part += 16) {
        __float128 exact = reference(static_cast<__float128>(static_cast<float>(half(a[i] >> part))),
                                     static_cast<__float128>(static_cast<float>(half(b[i] >> part))),
                                     static_cast<__float128>(static_cast<float>(half(c[i] >> part))));
        // Through f64, rounded to odd where it is not exact.
        double near = static_cast<double>(exact);
        __float128 error = exact - near;
        uint64_t bits = std::bit_cast<uint64_t>(near);
        if (error == error && error != 0 && std::isfinite(near) && !(bits & 1))
          near = std::bit_cast<double>((error > 0) == (near > 0) ? bits + 1 : bits - 1);
        INFO(body << " part " << part << " of " << a[i] << " " << b[i] << " " << c[i]);
        REQUIRE((got[i] >> part & 0xffff) == bitsOfHalf(static_cast<_Float16>(near)));
      }
  };
  is("add.f16x2 %rd, %ra, %rb;", [](__float128 x, __float128 y, __float128) { return x + y; });
  is("mul.rn.f16x2 %rd, %ra, %rb;", [](__float128 x, __float128 y, __float128) { return x * y; });
  is("fma.rn.f16x2 %rd, %ra, %rb, %rc;", [](__float128 x, __float128 y, __float128 z) { return x * y + z; });
}

TEST_CASE("arithmetic of bf16 rounds once") {
  Values a = words(1024, 41), b = words(1024, 42), c = words(1024, 43);
  auto is = [&](const std::string &body, auto reference) {
    Values got = evaluate(body, 16, a, b, c);
    for (size_t i = 0; i < a.size(); ++i) {
      float x = bfloat(a[i] & 0xffff), y = bfloat(b[i] & 0xffff), z = bfloat(c[i] & 0xffff);
      __float128 exact =
          reference(static_cast<__float128>(x), static_cast<__float128>(y), static_cast<__float128>(z));
      INFO(body << " of " << x << " " << y << " " << z);
      REQUIRE(got[i] == bitsOfBfloat(exact));
    }
  };
  is("mul.bf16 %hd, %ha, %hb;", [](__float128 x, __float128 y, __float128) { return x * y; });
  is("fma.rn.bf16 %hd, %ha, %hb, %hc;", [](__float128 x, __float128 y, __float128 z) { return x * y + z; });
}

TEST_CASE("relu, saturation, extremes and comparisons of halves") {
  Values a = words(512, 51), b = words(512, 52);
  Values relu = evaluate("fma.rn.relu.f16 %hd, %ha, %hb, 0x0000;", 16, a, b);
  Values sat = evaluate("add.sat.f16 %hd, %ha, %hb;", 16, a, b),
         most = evaluate("max.f16 %hd, %ha, %hb;", 16, a, b);
  Values less = evaluate("setp.lt.f16 %p, %ha, %hb;", 1, a, b);
  for (size_t i = 0; i < a.size(); ++i) {
    float x = static_cast<float>(half(a[i])), y = static_cast<float>(half(b[i]));
    float product = static_cast<float>(static_cast<_Float16>(x * y));
    if (!isNan(product))
      REQUIRE(half(relu[i]) == static_cast<_Float16>(std::max(product, 0.0f)));
    if (!isNan(x + y))
      REQUIRE(half(sat[i]) == static_cast<_Float16>(std::clamp(x + y, 0.0f, 1.0f)));
    if (!isNan(x) && !isNan(y))
      REQUIRE(static_cast<float>(half(most[i])) == std::max(x, y));
    REQUIRE(less[i] == uint64_t(x < y));
  }
}
