// f32 and f64 arithmetic, and the entry to arithmetic of every type: add, sub, mul, mad, fma, div, min, max,
// abs, neg.
#include "drivers/cuda_sim/Arithmetic.h"
#include "drivers/cuda_sim/Half.h"
#include <cfenv>

namespace heddle::cuda_sim {

namespace {

// ---------------------------------------------------------------------------------------------------------------
// f32, rounded to nearest

template <bool Flush, bool Saturate> inline float finished(float value) {
  if (Flush)
    value = flushed(value);
  return Saturate ? saturated(value) : canonical(value);
}
template <bool Flush> inline float taken(float value) { return Flush ? flushed(value) : value; }

template <bool Flush, bool Saturate> struct F32 {
  static void add(Warp &w, const Instruction &i) {
    map<float, float, float>(
        w, i, [](float a, float b) { return finished<Flush, Saturate>(taken<Flush>(a) + taken<Flush>(b)); });
  }
  static void sub(Warp &w, const Instruction &i) {
    map<float, float, float>(
        w, i, [](float a, float b) { return finished<Flush, Saturate>(taken<Flush>(a) - taken<Flush>(b)); });
  }
  static void mul(Warp &w, const Instruction &i) {
    map<float, float, float>(
        w, i, [](float a, float b) { return finished<Flush, Saturate>(taken<Flush>(a) * taken<Flush>(b)); });
  }
  static void fma(Warp &w, const Instruction &i) {
    map<float, float, float, float>(w, i, [](float a, float b, float c) {
      return finished<Flush, Saturate>(__builtin_fmaf(taken<Flush>(a), taken<Flush>(b), taken<Flush>(c)));
    });
  }
  static void div(Warp &w, const Instruction &i) {
    map<float, float, float>(
        w, i, [](float a, float b) { return finished<Flush, Saturate>(taken<Flush>(a) / taken<Flush>(b)); });
  }
  static void sqrt(Warp &w, const Instruction &i) {
    map<float, float>(w, i, [](float a) { return finished<Flush, Saturate>(std::sqrt(taken<Flush>(a))); });
  }
  static void rcp(Warp &w, const Instruction &i) {
    map<float, float>(w, i, [](float a) { return finished<Flush, Saturate>(1.0f / taken<Flush>(a)); });
  }
};

/// One of the four variants of F32<flush, saturate>::name.
#define HEDDLE_SIM_F32(name, flush, saturate)                                                                \
  ((flush) ? ((saturate) ? F32<true, true>::name : F32<true, false>::name)                                   \
           : ((saturate) ? F32<false, true>::name : F32<false, false>::name))

// Directed roundings of f32, through doubles. a: Rounding, b: 1 flush, 2 saturate; c: operation
enum Directed : uint8_t { Add, Sub, Mul, Fma, Div, Sqrt, Rcp };

void directed(Warp &w, const Instruction &i) {
  alignas(64) uint32_t out[warpSize];
  const uint32_t *from[3];
  int count = i.c == Fma ? 3 : i.c >= Sqrt ? 1 : 2;
  for (int k = 0; k < count; ++k)
    from[k] = w.slot<uint32_t>(i.op[k + 1]);
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    float v[3] = {0, 0, 0};
    for (int k = 0; k < count; ++k) {
      v[k] = std::bit_cast<float>(from[k][lane]);
      if (i.b & 1)
        v[k] = flushed(v[k]);
    }
    double x = v[0], y = v[1], z = v[2], exact;
    switch (i.c) {
    case Add:
      exact = addToOdd(x, y);
      break;
    case Sub:
      exact = addToOdd(x, -y);
      break;
    case Mul:
      exact = x * y;
      break;
    case Fma:
      exact = fmaToOdd(x, y, z);
      break;
    case Div:
      exact = divideToOdd(x, y);
      break;
    case Sqrt:
      exact = rootToOdd(x);
      break;
    default:
      exact = divideToOdd(1.0, x);
    }
    Rounding rounding = static_cast<Rounding>(i.a);
    // An exact sum of zero is -0 only when rounding down.
    if (exact == 0 && (i.c == Add || i.c == Sub || i.c == Fma)) {
      double first = i.c == Fma ? x * y : x, second = i.c == Sub ? -y : i.c == Fma ? z : y;
      bool bothNegative = std::signbit(first) && std::signbit(second);
      bool opposite = std::signbit(first) != std::signbit(second);
      exact = bothNegative || (opposite && rounding == Rounding::Down) ? -0.0 : 0.0;
    }
    float value = floatOf(exact, rounding);
    if (i.b & 1)
      value = flushed(value);
    out[lane] = std::bit_cast<uint32_t>(i.b & 2 ? saturated(value) : value);
  }
  writeLanes(w, i.op[0], out);
}

// ---------------------------------------------------------------------------------------------------------------
// f64. a: Rounding

void withRounding(uint8_t rounding, Warp &w, const Instruction &i, Handler handler) {
  constexpr int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  int before = std::fegetround();
  std::fesetround(modes[rounding]);
  handler(w, i); // through a pointer, so that nothing is computed before
  std::fesetround(before);
}
void add64(Warp &w, const Instruction &i) {
  map<double, double, double>(w, i, [](double a, double b) { return a + b; });
}
void sub64(Warp &w, const Instruction &i) {
  map<double, double, double>(w, i, [](double a, double b) { return a - b; });
}
void mul64(Warp &w, const Instruction &i) {
  map<double, double, double>(w, i, [](double a, double b) { return a * b; });
}
void fma64(Warp &w, const Instruction &i) {
  map<double, double, double, double>(w, i,
                                      [](double a, double b, double c) { return __builtin_fma(a, b, c); });
}
void div64(Warp &w, const Instruction &i) {
  map<double, double, double>(w, i, [](double a, double b) { return a / b; });
}
void sqrt64(Warp &w, const Instruction &i) {
  map<double, double>(w, i, [](double a) { return std::sqrt(a); });
}
void rcp64(Warp &w, const Instruction &i) {
  map<double, double>(w, i, [](double a) { return 1.0 / a; });
}
void rsqrt64(Warp &w, const Instruction &i) {
  map<double, double>(w, i, [](double a) { return 1.0 / std::sqrt(a); });
}
// Of rcp.approx.ftz.f64 and rsqrt.approx.ftz.f64 only the upper half of operand and result counts.
void rcp64Upper(Warp &w, const Instruction &i) {
  map<uint64_t, uint64_t>(w, i, [](uint64_t a) {
    return std::bit_cast<uint64_t>(1.0 / std::bit_cast<double>(a & ~uint64_t(0xffffffff))) &
           ~uint64_t(0xffffffff);
  });
}
void rsqrt64Upper(Warp &w, const Instruction &i) {
  map<uint64_t, uint64_t>(w, i, [](uint64_t a) {
    double value = std::bit_cast<double>(a & ~uint64_t(0xffffffff));
    return std::bit_cast<uint64_t>(1.0 / std::sqrt(value)) & ~uint64_t(0xffffffff);
  });
}
constexpr Handler handlers64[] = {add64, sub64, mul64, fma64, div64, sqrt64, rcp64};
template <uint8_t Operation> void directed64(Warp &w, const Instruction &i) {
  withRounding(i.a, w, i, handlers64[Operation]);
}
constexpr Handler directedHandlers64[] = {directed64<0>, directed64<1>, directed64<2>, directed64<3>,
                                          directed64<4>, directed64<5>, directed64<6>};

// ---------------------------------------------------------------------------------------------------------------
// Minimum, maximum, sign

/// a: 1 flush, 2 NaN wins, 4 maximum, 8 xorsign.abs
template <class T, bool Max> inline T chosen(T a, T b) {
  bool first = Max ? a > b : a < b;
  bool equal = a == b; // +0 and -0: the sign decides
  T onEqual = std::signbit(a) == Max ? b : a;
  return a != a ? b : b != b ? a : equal ? onEqual : first ? a : b;
}
template <bool Max> void minMax32(Warp &w, const Instruction &i) {
  uint8_t flags = i.a;
  map<float, float, float>(w, i, [flags](float a, float b) {
    if (flags & 1) {
      a = flushed(a);
      b = flushed(b);
    }
    if ((flags & 2) && (a != a || b != b))
      return std::bit_cast<float>(canonicalNan);
    if (flags & 8) {
      uint32_t sign = (std::bit_cast<uint32_t>(a) ^ std::bit_cast<uint32_t>(b)) & 0x80000000;
      float value = chosen<float, Max>(std::fabs(a), std::fabs(b));
      return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
    }
    return canonical(chosen<float, Max>(a, b));
  });
}
template <bool Max> void minMax64(Warp &w, const Instruction &i) {
  map<double, double, double>(w, i, [](double a, double b) { return chosen<double, Max>(a, b); });
}
template <bool Flush> void abs32(Warp &w, const Instruction &i) {
  map<float, float>(w, i, [](float a) { return std::fabs(taken<Flush>(a)); });
}
template <bool Flush> void neg32(Warp &w, const Instruction &i) {
  map<float, float>(w, i, [](float a) { return -taken<Flush>(a); });
}
void abs64(Warp &w, const Instruction &i) {
  map<double, double>(w, i, [](double a) { return std::fabs(a); });
}
void neg64(Warp &w, const Instruction &i) {
  map<double, double>(w, i, [](double a) { return -a; });
}
template <class T> void copySign(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return std::copysign(b, a); });
}

// ---------------------------------------------------------------------------------------------------------------
// Approximations: the exact result, rounded to nearest. a: 1 flush

template <class F> inline void approximate(Warp &w, const Instruction &i, F f) {
  alignas(64) uint32_t out[warpSize] = {};
  const uint32_t *from = w.slot<uint32_t>(i.op[1]);
  bool flush = i.a & 1;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if (!w.isActive(lane))
      continue;
    float value = std::bit_cast<float>(from[lane]);
    if (flush)
      value = flushed(value);
    float result = static_cast<float>(f(static_cast<double>(value)));
    out[lane] = std::bit_cast<uint32_t>(canonical(flush ? flushed(result) : result));
  }
  writeLanes(w, i.op[0], out);
}
void ex2(Warp &w, const Instruction &i) {
  approximate(w, i, [](double a) { return std::exp2(a); });
}
void lg2(Warp &w, const Instruction &i) {
  approximate(w, i, [](double a) { return std::log2(a); });
}
void sine(Warp &w, const Instruction &i) {
  approximate(w, i, [](double a) { return std::sin(a); });
}
void cosine(Warp &w, const Instruction &i) {
  approximate(w, i, [](double a) { return std::cos(a); });
}
void tangentH(Warp &w, const Instruction &i) {
  approximate(w, i, [](double a) { return std::tanh(a); });
}
void rsqrt(Warp &w, const Instruction &i) {
  approximate(w, i, [](double a) { return a == 0 ? std::copysign(HUGE_VAL, a) : 1.0 / std::sqrt(a); });
}

// --- testp
template <class T> void testProperty(Warp &w, const Instruction &i) { // b: property
  const auto *from = w.slot<SlotOf<T>>(i.op[1]);
  uint32_t out = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    int kind = std::fpclassify(fromSlot<T>(from[lane]));
    bool holds = i.b == 0   ? kind != FP_INFINITE && kind != FP_NAN
                 : i.b == 1 ? kind == FP_INFINITE
                 : i.b == 2 ? kind != FP_NAN
                 : i.b == 3 ? kind == FP_NAN
                 : i.b == 4 ? kind == FP_NORMAL || kind == FP_ZERO
                            : kind == FP_SUBNORMAL;
    out |= uint32_t(holds) << lane;
  }
  w.setPredicate(i.op[0], out);
}

// ---------------------------------------------------------------------------------------------------------------
// Selection

/// Rounding::NearestEven without; integer conversions have names of their own.
Rounding takeRounding(Selector &s) {
  std::string_view name = s.takeOneOf({"rn", "rz", "rm", "rp"});
  return name == "rz"   ? Rounding::Zero
         : name == "rm" ? Rounding::Down
         : name == "rp" ? Rounding::Up
                        : Rounding::NearestEven;
}

void selectRounded(Selector &s, Type type, Directed operation, size_t sources) {
  Rounding rounding = takeRounding(s);
  bool flush = s.take("ftz"), saturate = s.take("sat");
  s.out.a = static_cast<uint8_t>(rounding);
  s.resultAndSources(type, sources);
  if (type == Type::F64) {
    if (flush || saturate)
      s.fail(".ftz and .sat do not go with .f64");
    s.out.execute = rounding == Rounding::NearestEven ? handlers64[operation] : directedHandlers64[operation];
    return;
  }
  if (type != Type::F32)
    s.failType(type);
  if (rounding != Rounding::NearestEven) {
    s.out.b = flush | saturate << 1;
    s.out.c = operation;
    s.out.execute = directed;
    return;
  }
  switch (operation) {
  case Add:
    s.out.execute = HEDDLE_SIM_F32(add, flush, saturate);
    break;
  case Sub:
    s.out.execute = HEDDLE_SIM_F32(sub, flush, saturate);
    break;
  case Mul:
    s.out.execute = HEDDLE_SIM_F32(mul, flush, saturate);
    break;
  case Fma:
    s.out.execute = HEDDLE_SIM_F32(fma, flush, saturate);
    break;
  case Div:
    s.out.execute = HEDDLE_SIM_F32(div, flush, saturate);
    break;
  case Sqrt:
    s.out.execute = HEDDLE_SIM_F32(sqrt, flush, saturate);
    break;
  case Rcp:
    s.out.execute = HEDDLE_SIM_F32(rcp, flush, saturate);
  }
}

void selectMinMax(Selector &s, Type type, bool isMax) {
  s.out.a = s.take("ftz") | s.take("NaN") << 1 | s.take("xorsign") << 3;
  s.take("abs");
  s.resultAndSources(type, 2);
  if (type == Type::F64)
    s.out.execute = isMax ? minMax64<true> : minMax64<false>;
  else if (type == Type::F32)
    s.out.execute = isMax ? minMax32<true> : minMax32<false>;
  else
    s.failType(type);
}

void selectFloat(Selector &s, Type type) {
  std::string_view opcode = s.statement.opcode;
  s.out.cls = Class::Float;
  if (opcode == "add")
    return selectRounded(s, type, Add, 2);
  if (opcode == "sub")
    return selectRounded(s, type, Sub, 2);
  if (opcode == "mul")
    return selectRounded(s, type, Mul, 2);
  if (opcode == "mad" || opcode == "fma")
    return selectRounded(s, type, Fma, 3);
  if (opcode == "div") {
    s.takeOneOf({"approx", "full"});
    return selectRounded(s, type, Div, 2);
  }
  if (opcode == "min" || opcode == "max")
    return selectMinMax(s, type, opcode == "max");
  bool flush = s.take("ftz"), isAbs = opcode == "abs";
  s.resultAndSources(type, 1);
  if (type == Type::F64)
    s.out.execute = isAbs ? abs64 : neg64;
  else if (flush)
    s.out.execute = isAbs ? abs32<true> : neg32<true>;
  else
    s.out.execute = isAbs ? abs32<false> : neg32<false>;
}

void selectArithmetic(Selector &s) {
  Type type = s.takeType();
  if (type == Type::F32 || type == Type::F64)
    selectFloat(s, type);
  else if (isFloat(type))
    selectHalfArithmetic(s, type);
  else
    selectIntegerArithmetic(s, type);
}

void selectRoot(Selector &s) { // sqrt, rcp, rsqrt
  std::string_view opcode = s.statement.opcode;
  s.out.cls = Class::Special;
  Type type = s.takeType();
  bool approximate = s.take("approx");
  if (opcode == "rsqrt" && type == Type::F32) {
    s.out.a = s.take("ftz");
    s.out.execute = rsqrt;
    return s.resultAndSources(type, 1);
  }
  if (approximate && type == Type::F64) {
    bool upper = s.take("ftz");
    s.out.execute = opcode == "rsqrt" ? (upper ? rsqrt64Upper : rsqrt64) : (upper ? rcp64Upper : rcp64);
    return s.resultAndSources(type, 1);
  }
  selectRounded(s, type, opcode == "rcp" ? Rcp : Sqrt, 1);
}

void selectSpecial(Selector &s) { // ex2, lg2, sin, cos, tanh
  std::string_view opcode = s.statement.opcode;
  s.out.cls = Class::Special;
  Type type = s.takeType();
  if (!s.take("approx"))
    s.fail("expected .approx");
  if (type != Type::F32)
    return selectHalfSpecial(s, type);
  s.out.a = s.take("ftz");
  s.out.execute = opcode == "ex2"   ? ex2
                  : opcode == "lg2" ? lg2
                  : opcode == "sin" ? sine
                  : opcode == "cos" ? cosine
                                    : tangentH;
  s.resultAndSources(type, 1);
}

void selectCopySign(Selector &s) {
  s.out.cls = Class::Float;
  Type type = s.takeType();
  if (type != Type::F32 && type != Type::F64)
    s.failType(type);
  s.out.execute = type == Type::F32 ? copySign<float> : copySign<double>;
  s.resultAndSources(type, 2);
}

void selectTest(Selector &s) {
  s.out.cls = Class::Compare;
  std::string_view names[] = {"finite", "infinite", "number", "notanumber", "normal", "subnormal"};
  bool found = false;
  for (uint8_t i = 0; i < std::size(names); ++i)
    if (s.take(names[i])) {
      s.out.b = i;
      found = true;
    }
  if (!found)
    s.fail("expected a property");
  Type type = s.takeType();
  s.expectOperands(2, 2);
  s.predicateResult(s.operand(0));
  s.source(1, type);
  if (type != Type::F32 && type != Type::F64)
    s.failType(type);
  s.out.execute = type == Type::F32 ? testProperty<float> : testProperty<double>;
}

} // namespace

std::vector<InstructionFamily> floatFamily() {
  std::vector<InstructionFamily> out;
  for (const char *name : {"add", "sub", "mul", "mad", "fma", "div", "min", "max", "abs", "neg"})
    out.push_back({name, selectArithmetic});
  for (const char *name : {"sqrt", "rcp", "rsqrt"})
    out.push_back({name, selectRoot});
  for (const char *name : {"ex2", "lg2", "sin", "cos", "tanh"})
    out.push_back({name, selectSpecial});
  out.push_back({"copysign", selectCopySign});
  out.push_back({"testp", selectTest});
  return out;
}

} // namespace heddle::cuda_sim
