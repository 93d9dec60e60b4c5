// setp and set of all types.
#include "drivers/cuda_sim/Half.h"
#include "drivers/cuda_sim/Selector.h"

namespace heddle::cuda_sim {

namespace {

enum Comparison : uint8_t { Eq, Ne, Lt, Le, Gt, Ge, Lo, Ls, Hi, Hs, Equ, Neu, Ltu, Leu, Gtu, Geu, Num, Nan };
constexpr std::string_view comparisonNames[] = {"eq", "ne",  "lt",  "le",  "gt",  "ge",  "lo",  "ls",  "hi",
                                                "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

template <class T, class F> inline uint32_t maskOf(const Warp &w, const Instruction &i, int at, F f) {
  const SlotOf<T> *a = w.slot<SlotOf<T>>(i.op[at]), *b = w.slot<SlotOf<T>>(i.op[at + 1]);
  uint32_t out = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane)
    out |= uint32_t(f(a[lane], b[lane])) << lane;
  return out;
}

template <class T, class V> uint32_t compareValues(const Warp &w, const Instruction &i, int at, V value) {
  auto with = [&](auto f) {
    return maskOf<T>(w, i, at, [&](SlotOf<T> a, SlotOf<T> b) { return f(value(a), value(b)); });
  };
  using R = decltype(value(SlotOf<T>()));
  switch (i.d) {
  case Eq:
    return with([](R a, R b) { return a == b; });
  case Ne:
    if constexpr (std::is_floating_point_v<R>)
      return with([](R a, R b) { return a < b || a > b; });
    return with([](R a, R b) { return a != b; });
  case Lt:
  case Lo:
    return with([](R a, R b) { return a < b; });
  case Le:
  case Ls:
    return with([](R a, R b) { return a <= b; });
  case Gt:
  case Hi:
    return with([](R a, R b) { return a > b; });
  case Ge:
  case Hs:
    return with([](R a, R b) { return a >= b; });
  case Equ:
    return with([](R a, R b) { return !(a < b || a > b); });
  case Neu:
    return with([](R a, R b) { return a != b; });
  case Ltu:
    return with([](R a, R b) { return !(a >= b); });
  case Leu:
    return with([](R a, R b) { return !(a > b); });
  case Gtu:
    return with([](R a, R b) { return !(a <= b); });
  case Geu:
    return with([](R a, R b) { return !(a < b); });
  case Num:
    return with([](R a, R b) { return a == a && b == b; });
  default:
    return with([](R a, R b) { return a != a || b != b; });
  }
}

template <class T> uint32_t compare(const Warp &w, const Instruction &i, int at) {
  bool flush = i.c & 1;
  if constexpr (std::is_same_v<T, half_t>)
    return compareValues<T>(w, i, at, [](uint32_t v) { return floatOf(half_t{uint16_t(v)}); });
  else if constexpr (std::is_same_v<T, bhalf_t>)
    return compareValues<T>(w, i, at, [](uint32_t v) { return floatOf(bhalf_t{uint16_t(v)}); });
  else if constexpr (std::is_same_v<T, float>)
    return compareValues<T>(w, i, at, [flush](uint32_t v) {
      float f = std::bit_cast<float>(v);
      return flush ? flushed(f) : f;
    });
  else
    return compareValues<T>(w, i, at, [](SlotOf<T> v) { return fromSlot<T>(v); });
}

/// setp: op = p, q, a, b [, c]; b: combination (0 none, 1 and, 2 or, 3 xor)
template <class T> void setPredicates(Warp &w, const Instruction &i) {
  uint32_t t = compare<T>(w, i, 2), c = i.b ? w.predicate(i.op[4]) : 0;
  auto combine = [&](uint32_t v) { return i.b == 0 ? v : i.b == 1 ? v & c : i.b == 2 ? v | c : v ^ c; };
  w.setPredicate(i.op[0], combine(t));
  w.setPredicate(i.op[1], combine(~t));
}

/// setp of pairs: p from the low halves, q from the high ones
template <class H> void setPredicatesOfPair(Warp &w, const Instruction &i) {
  uint32_t low = compareValues<uint32_t>(w, i, 2, [](uint32_t v) { return floatOf(H{uint16_t(v)}); });
  uint32_t high = compareValues<uint32_t>(w, i, 2, [](uint32_t v) { return floatOf(H{uint16_t(v >> 16)}); });
  uint32_t c = i.b ? w.predicate(i.op[4]) : 0;
  auto combine = [&](uint32_t v) { return i.b == 0 ? v : i.b == 1 ? v & c : i.b == 2 ? v | c : v ^ c; };
  w.setPredicate(i.op[0], combine(low));
  w.setPredicate(i.op[1], combine(high));
}

/// set: op = d, a, b [, c]; a: 1 for a floating-point result
template <class T> void setValue(Warp &w, const Instruction &i) {
  uint32_t t = compare<T>(w, i, 1), c = i.b ? w.predicate(i.op[3]) : 0;
  t = i.b == 0 ? t : i.b == 1 ? t & c : i.b == 2 ? t | c : t ^ c;
  alignas(64) uint32_t out[warpSize];
  for (unsigned lane = 0; lane < warpSize; ++lane)
    out[lane] = t >> lane & 1 ? (i.a ? 0x3f800000u : ~0u) : 0;
  writeLanes(w, i.op[0], out);
}
/// set of halves, one (vector 1) or a pair: a: 0 mask, 1 f16 one, 2 bf16 one
template <class H> void setHalf(Warp &w, const Instruction &i) {
  uint32_t parts[2] = {compareValues<uint32_t>(w, i, 1, [](uint32_t v) { return floatOf(H{uint16_t(v)}); }),
                       0};
  if (i.vector == 2)
    parts[1] = compareValues<uint32_t>(w, i, 1, [](uint32_t v) { return floatOf(H{uint16_t(v >> 16)}); });
  uint32_t one = i.a == 0 ? 0xffff : i.a == 1 ? 0x3c00 : 0x3f80;
  alignas(64) uint32_t out[warpSize];
  for (unsigned lane = 0; lane < warpSize; ++lane)
    out[lane] = (parts[0] >> lane & 1 ? one : 0) | (parts[1] >> lane & 1 ? one << 16 : 0);
  writeLanes(w, i.op[0], out);
}

// ---------------------------------------------------------------------------------------------------------------
// Selection

void takeComparison(Selector &s) {
  bool found = false;
  for (uint8_t i = 0; i < std::size(comparisonNames) && !found; ++i)
    if (s.take(comparisonNames[i])) {
      s.out.d = i;
      found = true;
    }
  if (!found)
    s.fail("expected a comparison");
  std::string_view combination = s.takeOneOf({"and", "or", "xor"});
  s.out.b = combination == "and" ? 1 : combination == "or" ? 2 : combination == "xor" ? 3 : 0;
  s.out.c = s.take("ftz");
}

void checkComparison(Selector &s, Type type) {
  bool unordered = s.out.d >= Equ, lower = s.out.d >= Lo && s.out.d <= Hs;
  if ((isFloat(type) && lower) || (!isFloat(type) && unordered))
    s.fail("this comparison does not go with type '." + std::string(nameOf(type)) + "'");
}

template <class F> Handler pickCompared(const Selector &s, Type type, F pick) {
  bool isLower = s.out.d >= Lo && s.out.d <= Hs;
  switch (type) {
  case Type::F16:
    return pick.template operator()<half_t>();
  case Type::BF16:
    return pick.template operator()<bhalf_t>();
  case Type::F32:
    return pick.template operator()<float>();
  case Type::F64:
    return pick.template operator()<double>();
  default:
    if (isLower && isSigned(type))
      s.fail(".lo, .ls, .hi and .hs compare unsigned numbers");
    return pickInteger(s, type, pick);
  }
}

void selectSetPredicate(Selector &s) {
  s.out.cls = Class::Compare;
  takeComparison(s);
  Type type = s.takeType();
  checkComparison(s, type);
  s.expectOperands(s.out.b ? 4 : 3, s.out.b ? 4 : 3);
  const Operand &p = s.operand(0);
  s.predicateResult(p);
  s.predicateResult(p.second.empty() ? Operand() : p.second[0]);
  s.source(1, type);
  s.source(2, type);
  if (s.out.b)
    s.predicateSource(s.operand(3));
  if (type == Type::F16x2 || type == Type::BF16x2)
    s.out.execute = type == Type::F16x2 ? setPredicatesOfPair<half_t> : setPredicatesOfPair<bhalf_t>;
  else
    s.out.execute = pickCompared(s, type, []<class T>() -> Handler { return setPredicates<T>; });
}

void selectSet(Selector &s) {
  s.out.cls = Class::Compare;
  takeComparison(s);
  Type resultType = s.takeType(), type = s.takeType();
  checkComparison(s, type);
  s.expectOperands(s.out.b ? 4 : 3, s.out.b ? 4 : 3);
  bool pair = type == Type::F16x2 || type == Type::BF16x2;
  s.result(0, resultType);
  s.source(1, type);
  s.source(2, type);
  if (s.out.b)
    s.predicateSource(s.operand(3));
  if (pair || bitsOf(resultType) == 16) {
    if (s.out.b || (!pair && type != Type::F16 && type != Type::BF16))
      s.fail("this form is not supported");
    s.out.vector = pair ? 2 : 1;
    s.out.a = resultType == Type::F16 || resultType == Type::F16x2     ? 1
              : resultType == Type::BF16 || resultType == Type::BF16x2 ? 2
                                                                       : 0;
    s.out.execute = type == Type::F16x2 || type == Type::F16 ? setHalf<half_t> : setHalf<bhalf_t>;
    return;
  }
  if (resultType != Type::U32 && resultType != Type::S32 && resultType != Type::F32)
    s.failType(resultType);
  s.out.a = resultType == Type::F32;
  s.out.execute = pickCompared(s, type, []<class T>() -> Handler { return setValue<T>; });
}

} // namespace

std::vector<InstructionFamily> compareFamily() { return {{"setp", selectSetPredicate}, {"set", selectSet}}; }

} // namespace heddle::cuda_sim
