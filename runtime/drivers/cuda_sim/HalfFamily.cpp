// f16, bf16 and their pairs.
#include "drivers/cuda_sim/Arithmetic.h"
#include "drivers/cuda_sim/Half.h"

namespace heddle::cuda_sim {

namespace {

// f16 sums and products are exact enough in f32 that rounding twice is rounding once (24 >= 2 * 11 + 2). bf16
// has the exponents of f32, so that denormal results would be rounded twice: it goes through f64.
template <class H> using WideOf = std::conditional_t<std::is_same_v<H, half_t>, float, double>;

/// How operands and results are treated. i.a: 1 flush, 2 saturate, 4 relu, 8 NaN wins, 16 maximum
enum : uint8_t { Flush = 1, Saturate = 2, Relu = 4, NanWins = 8, Maximum = 16 };

template <class H> inline H withFlags(H value, uint8_t flags) {
  constexpr uint16_t exponent = std::is_same_v<H, half_t> ? 0x7c00 : 0x7f80;
  uint16_t one = std::is_same_v<H, half_t> ? 0x3c00 : 0x3f80;
  uint16_t bits = value.bits;
  bool isNan = (bits & 0x7fff) > exponent;
  if ((flags & Flush) && (bits & exponent) == 0)
    bits &= 0x8000;
  if (flags & Saturate)
    bits = isNan || (bits & 0x8000) ? 0 : bits > one ? one : bits;
  if (flags & Relu)
    bits = !isNan && (bits & 0x8000) ? 0 : bits;
  return {bits};
}

template <class H> inline WideOf<H> wide(H value) { return static_cast<WideOf<H>>(floatOf(value)); }
template <class H> inline H takenHalf(H value, uint8_t flags) { return withFlags(value, flags & Flush); }

/// Applies f to one value or to both of a pair, from `Sources` operands.
template <class H, bool Pair, size_t Sources, class F>
inline void mapHalf(Warp &w, const Instruction &i, F f) {
  alignas(64) uint32_t out[warpSize];
  const uint32_t *from[Sources];
  for (size_t k = 0; k < Sources; ++k)
    from[k] = w.slot<uint32_t>(i.op[k + 1]);
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    H low[Sources], high[Sources];
    for (size_t k = 0; k < Sources; ++k) {
      low[k] = takenHalf(H{uint16_t(from[k][lane])}, i.a);
      high[k] = takenHalf(H{uint16_t(from[k][lane] >> 16)}, i.a);
    }
    uint32_t bits = withFlags(f(low), i.a).bits;
    if (Pair)
      bits |= uint32_t(withFlags(f(high), i.a).bits) << 16;
    out[lane] = bits;
  }
  writeLanes(w, i.op[0], out);
}

template <class H, bool Pair> struct Half {
  static void add(Warp &w, const Instruction &i) {
    mapHalf<H, Pair, 2>(w, i, [](const H *v) { return roundTo<H>(wide(v[0]) + wide(v[1])); });
  }
  static void sub(Warp &w, const Instruction &i) {
    mapHalf<H, Pair, 2>(w, i, [](const H *v) { return roundTo<H>(wide(v[0]) - wide(v[1])); });
  }
  static void mul(Warp &w, const Instruction &i) {
    mapHalf<H, Pair, 2>(w, i, [](const H *v) { return roundTo<H>(wide(v[0]) * wide(v[1])); });
  }
  static void fma(Warp &w, const Instruction &i) {
    mapHalf<H, Pair, 3>(
        w, i, [](const H *v) { return roundTo<H>(fmaToOdd(floatOf(v[0]), floatOf(v[1]), floatOf(v[2]))); });
  }
  static void neg(Warp &w, const Instruction &i) {
    mapHalf<H, Pair, 1>(w, i, [](const H *v) { return H{uint16_t(v[0].bits ^ 0x8000)}; });
  }
  static void abs(Warp &w, const Instruction &i) {
    mapHalf<H, Pair, 1>(w, i, [](const H *v) { return H{uint16_t(v[0].bits & 0x7fff)}; });
  }
  static void minMax(Warp &w, const Instruction &i) {
    uint8_t flags = i.a;
    mapHalf<H, Pair, 2>(w, i, [flags](const H *v) {
      float a = floatOf(v[0]), b = floatOf(v[1]);
      bool aNan = a != a, bNan = b != b;
      if ((flags & NanWins) ? aNan || bNan : aNan && bNan)
        return H{0x7fff};
      if (aNan || bNan)
        return aNan ? v[1] : v[0];
      bool max = flags & Maximum;
      bool first = a == b ? std::signbit(a) != max : max ? a > b : a < b;
      return first ? v[0] : v[1];
    });
  }
  static void ex2(Warp &w, const Instruction &i) {
    mapHalf<H, Pair, 1>(w, i, [](const H *v) { return roundTo<H>(std::exp2(double(floatOf(v[0])))); });
  }
  static void tangentH(Warp &w, const Instruction &i) {
    mapHalf<H, Pair, 1>(w, i, [](const H *v) { return roundTo<H>(std::tanh(double(floatOf(v[0])))); });
  }
};

#define HEDDLE_SIM_HALF(name, type)                                                                          \
  ((type) == Type::F16     ? Half<half_t, false>::name                                                       \
   : (type) == Type::F16x2 ? Half<half_t, true>::name                                                        \
   : (type) == Type::BF16  ? Half<bhalf_t, false>::name                                                      \
                           : Half<bhalf_t, true>::name)

} // namespace

void selectHalfArithmetic(Selector &s, Type type) {
  std::string_view opcode = s.statement.opcode;
  s.out.cls = Class::Half;
  if (type == Type::TF32)
    s.failType(type);
  s.take("rn");
  s.out.a = (s.take("ftz") ? Flush : 0) | (s.take("sat") ? Saturate : 0) | (s.take("relu") ? Relu : 0) |
            (s.take("NaN") ? NanWins : 0) | (opcode == "max" ? Maximum : 0);
  size_t sources = opcode == "fma" ? 3 : opcode == "abs" || opcode == "neg" ? 1 : 2;
  if (opcode == "add")
    s.out.execute = HEDDLE_SIM_HALF(add, type);
  else if (opcode == "sub")
    s.out.execute = HEDDLE_SIM_HALF(sub, type);
  else if (opcode == "mul")
    s.out.execute = HEDDLE_SIM_HALF(mul, type);
  else if (opcode == "fma")
    s.out.execute = HEDDLE_SIM_HALF(fma, type);
  else if (opcode == "neg")
    s.out.execute = HEDDLE_SIM_HALF(neg, type);
  else if (opcode == "abs")
    s.out.execute = HEDDLE_SIM_HALF(abs, type);
  else if (opcode == "min" || opcode == "max")
    s.out.execute = HEDDLE_SIM_HALF(minMax, type);
  else
    s.failType(type);
  s.resultAndSources(type, sources);
}

void selectHalfSpecial(Selector &s, Type type) {
  std::string_view opcode = s.statement.opcode;
  if (type != Type::F16 && type != Type::F16x2 && type != Type::BF16 && type != Type::BF16x2)
    s.failType(type);
  s.out.a = s.take("ftz") ? Flush : 0;
  if (opcode == "ex2")
    s.out.execute = HEDDLE_SIM_HALF(ex2, type);
  else if (opcode == "tanh")
    s.out.execute = HEDDLE_SIM_HALF(tangentH, type);
  else
    s.failType(type);
  s.resultAndSources(type, 1);
}

} // namespace heddle::cuda_sim
