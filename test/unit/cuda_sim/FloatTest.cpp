#include "test/unit/cuda_sim/Harness.h"
#include <cfenv>
#include <cmath>

using namespace cuda_sim_test;

namespace {

constexpr uint32_t canonicalNan = 0x7fffffff;

uint32_t result(float value) { return isNan(value) ? canonicalNan : bitsOf(value); }
float flush(float v) { return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.0f, v) : v; }
float saturate(float v) { return v > 0 ? std::min(v, 1.0f) : 0.0f; }

template <class F> void check(const std::string &body, F reference) {
  Values a = floats(512, 1), b = floats(512, 2), c = floats(512, 3);
  Values got = evaluate(body, 32, a, b, c);
  for (size_t i = 0; i < a.size(); ++i) {
    INFO(body << " a " << floatOf(a[i]) << " b " << floatOf(b[i]) << " c " << floatOf(c[i]) << " gives "
              << floatOf(got[i]));
    REQUIRE(got[i] == result(reference(floatOf(a[i]), floatOf(b[i]), floatOf(c[i]))));
  }
}

} // namespace

TEST_CASE("f32 to nearest") {
  check("add.f32 %rd, %ra, %rb;", [](float a, float b, float) { return a + b; });
  check("sub.rn.f32 %rd, %ra, %rb;", [](float a, float b, float) { return a - b; });
  check("mul.f32 %rd, %ra, %rb;", [](float a, float b, float) { return a * b; });
  check("fma.rn.f32 %rd, %ra, %rb, %rc;", [](float a, float b, float c) { return std::fma(a, b, c); });
  check("div.rn.f32 %rd, %ra, %rb;", [](float a, float b, float) { return a / b; });
  check("sqrt.rn.f32 %rd, %ra;", [](float a, float, float) { return std::sqrt(a); });
  check("rcp.rn.f32 %rd, %ra;", [](float a, float, float) { return 1 / a; });
  check("abs.f32 %rd, %ra; mul.f32 %rd, %rd, 1.0;", [](float a, float, float) { return std::fabs(a); });
  check("add.ftz.f32 %rd, %ra, %rb;", [](float a, float b, float) { return flush(flush(a) + flush(b)); });
  check("fma.rn.ftz.sat.f32 %rd, %ra, %rb, %rc;",
        [](float a, float b, float c) { return saturate(flush(std::fma(flush(a), flush(b), flush(c)))); });
  check("mul.sat.f32 %rd, %ra, %rb;", [](float a, float b, float) { return saturate(a * b); });
}

TEST_CASE("f32 in other directions") {
  struct Direction {
    const char *name;
    int mode;
  };
  for (Direction direction : {Direction{"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}}) {
    auto rounded = [&](auto f) {
      return [f, direction](float a, float b, float c) {
        volatile float x = a, y = b, z = c;
        std::fesetround(direction.mode);
        volatile float out = f(x, y, z);
        std::fesetround(FE_TONEAREST);
        return static_cast<float>(out);
      };
    };
    std::string name = direction.name;
    check("add." + name + ".f32 %rd, %ra, %rb;",
          rounded([](volatile float &a, volatile float &b, volatile float &) { return a + b; }));
    check("mul." + name + ".f32 %rd, %ra, %rb;",
          rounded([](volatile float &a, volatile float &b, volatile float &) { return a * b; }));
    check("fma." + name + ".f32 %rd, %ra, %rb, %rc;",
          rounded([](volatile float &a, volatile float &b, volatile float &c) {
            volatile float out =
                std::fma(static_cast<float>(a), static_cast<float>(b), static_cast<float>(c));
            return static_cast<float>(out);
          }));
    check("div." + name + ".f32 %rd, %ra, %rb;",
          rounded([](volatile float &a, volatile float &b, volatile float &) { return a / b; }));
  }
}

TEST_CASE("minimum and maximum") {
  auto least = [](float a, float b) {
    return isNan(a) ? b : isNan(b) ? a : a == b ? (std::signbit(a) ? a : b) : std::min(a, b);
  };
  check("min.f32 %rd, %ra, %rb;", [&](float a, float b, float) { return least(a, b); });
  check("max.f32 %rd, %ra, %rb;", [&](float a, float b, float) { return -least(-a, -b); });
  check("max.NaN.f32 %rd, %ra, %rb;",
        [&](float a, float b, float) { return isNan(a) || isNan(b) ? NAN : -least(-a, -b); });
}

TEST_CASE("approximations are the exact result, rounded") {
  check("ex2.approx.f32 %rd, %ra;", [](float a, float, float) { return float(std::exp2(double(a))); });
  check("ex2.approx.ftz.f32 %rd, %ra;",
        [](float a, float, float) { return flush(float(std::exp2(double(flush(a))))); });
  check("lg2.approx.f32 %rd, %ra;", [](float a, float, float) { return float(std::log2(double(a))); });
  check("rsqrt.approx.f32 %rd, %ra;", [](float a, float, float) {
    return a == 0 ? std::copysign(INFINITY, a) : float(1 / std::sqrt(double(a)));
  });
  check("rcp.approx.ftz.f32 %rd, %ra;", [](float a, float, float) { return flush(1 / flush(a)); });
  check("tanh.approx.f32 %rd, %ra;", [](float a, float, float) { return float(std::tanh(double(a))); });
  check("sin.approx.f32 %rd, %ra;", [](float a, float, float) { return float(std::sin(double(a))); });
  check("div.full.f32 %rd, %ra, %rb;", [](float a, float b, float) { return a / b; });
}

TEST_CASE("f64") {
  Values a, b, c;
  for (Values *values : {&a, &b, &c})
    for (uint64_t v : floats(256, 5 + (values == &b) + 2 * (values == &c)))
      values->push_back(std::bit_cast<uint64_t>(double(floatOf(v)) * 1.0000000001));
  auto is = [&](const std::string &body, auto reference) {
    Values got = evaluate(body, 64, a, b, c);
    for (size_t i = 0; i < a.size(); ++i) {
      double expected =
          reference(std::bit_cast<double>(a[i]), std::bit_cast<double>(b[i]), std::bit_cast<double>(c[i]));
      double value = std::bit_cast<double>(got[i]);
      INFO(body << " gives " << value << " for " << expected);
      REQUIRE((got[i] == std::bit_cast<uint64_t>(expected) || (value != value && expected != expected)));
    }
  };
  is("add.f64 %ld, %la, %lb;", [](double x, double y, double) { return x + y; });
  is("fma.rn.f64 %ld, %la, %lb, %lc;", [](double x, double y, double z) { return std::fma(x, y, z); });
  is("div.rn.f64 %ld, %la, %lb;", [](double x, double y, double) { return x / y; });
  is("sqrt.rn.f64 %ld, %la;", [](double x, double, double) { return std::sqrt(x); });
  is("mul.rp.f64 %ld, %la, %lb;", [](double x, double y, double) {
    volatile double u = x, v = y;
    std::fesetround(FE_UPWARD);
    volatile double out = u * v;
    std::fesetround(FE_TONEAREST);
    return static_cast<double>(out);
  });
  is("neg.f64 %ld, %la;", [](double x, double, double) { return -x; });
}

TEST_CASE("comparisons of f32 know NaN") {
  Values a = floats(256, 8), b = floats(256, 9);
  auto is = [&](const std::string &name, auto reference) {
    Values got = evaluate("setp." + name + ".f32 %p, %ra, %rb;", 1, a, b);
    for (size_t i = 0; i < a.size(); ++i) {
      INFO(name << " " << floatOf(a[i]) << " " << floatOf(b[i]));
      REQUIRE(got[i] == uint64_t(reference(floatOf(a[i]), floatOf(b[i]))));
    }
  };
  is("lt", [](float x, float y) { return x < y; });
  is("ne", [](float x, float y) { return x < y || x > y; });
  is("equ", [](float x, float y) { return x == y || isNan(x) || isNan(y); });
  is("neu", [](float x, float y) { return x != y; });
  is("geu", [](float x, float y) { return !(x < y); });
  is("num", [](float x, float y) { return !isNan(x) && !isNan(y); });
  is("nan", [](float x, float y) { return isNan(x) || isNan(y); });
}

TEST_CASE("conversions of f32 and integers") {
  Values a = floats(512, 11), n = integers(512, 12);
  auto toInteger = [&](const std::string &body, unsigned bits, auto round, double low, double high,
                       uint64_t ofNan) {
    Values got = evaluate(body, bits, a);
    for (size_t i = 0; i < a.size(); ++i) {
      double value = round(double(floatOf(a[i])));
      uint64_t expected = isNan(floatOf(a[i])) ? ofNan
                          : value <= low       ? uint64_t(int64_t(low))
                          : value >= high      ? uint64_t(high)
                                               : uint64_t(int64_t(value));
      INFO(body << " of " << floatOf(a[i]));
      REQUIRE(got[i] == (bits == 64 ? expected : expected & ((uint64_t(1) << bits) - 1)));
    }
  };
  toInteger("cvt.rzi.s32.f32 %rd, %ra;", 32, [](double v) { return std::trunc(v); }, INT32_MIN, INT32_MAX, 0);
  toInteger(
      "cvt.rni.s32.f32 %rd, %ra;", 32, [](double v) { return std::nearbyint(v); }, INT32_MIN, INT32_MAX, 0);
  toInteger("cvt.rmi.u32.f32 %rd, %ra;", 32, [](double v) { return std::floor(v); }, 0, UINT32_MAX, 0);
  toInteger("cvt.rpi.s16.f32 %hd, %ra;", 16, [](double v) { return std::ceil(v); }, INT16_MIN, INT16_MAX, 0);
  toInteger("cvt.rni.sat.s8.f32 %rd, %ra;", 32, [](double v) { return std::nearbyint(v); }, -128, 127, 0);

  auto fromInteger = [&](const std::string &body, auto reference) {
    Values got = evaluate(body, 32, n);
    for (size_t i = 0; i < n.size(); ++i) {
      INFO(body << " of " << n[i]);
      REQUIRE(got[i] == bitsOf(reference(n[i])));
    }
  };
  fromInteger("cvt.rn.f32.s32 %rd, %ra;", [](uint64_t v) { return float(int32_t(v)); });
  fromInteger("cvt.rn.f32.u64 %rd, %la;", [](uint64_t v) { return float(v); });
  fromInteger("cvt.rz.f32.s64 %rd, %la;", [](uint64_t v) {
    volatile int64_t number = static_cast<int64_t>(v);
    std::fesetround(FE_TOWARDZERO);
    volatile float out = static_cast<float>(number);
    std::fesetround(FE_TONEAREST);
    return static_cast<float>(out);
  });
  check("cvt.rni.f32.f32 %rd, %ra;", [](float v, float, float) { return std::nearbyint(v); });
  check("cvt.sat.f32.f32 %rd, %ra;", [](float v, float, float) { return saturate(v); });
  check("cvt.rna.tf32.f32 %rd, %ra;", [](float v, float, float) {
    return std::isfinite(v) ? floatOf((bitsOf(v) + 0x1000) & ~0x1fffu) : v;
  });
}
