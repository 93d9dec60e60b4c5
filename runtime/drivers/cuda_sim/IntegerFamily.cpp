// Integer arithmetic, logic, shifts, bit fields, dot products.
#include "drivers/cuda_sim/Arithmetic.h"

namespace heddle::cuda_sim {

namespace {

using std::make_unsigned_t;

template <class T> struct Twice;
template <> struct Twice<uint16_t> {
  using type = uint32_t;
};
template <> struct Twice<int16_t> {
  using type = int32_t;
};
template <> struct Twice<uint32_t> {
  using type = uint64_t;
};
template <> struct Twice<int32_t> {
  using type = int64_t;
};
template <> struct Twice<uint64_t> {
  using type = unsigned __int128;
};
template <> struct Twice<int64_t> {
  using type = __int128;
};
template <class T> using TwiceOf = typename Twice<T>::type;

// --- add, sub, mul, mad (signed overflow wraps: the library is compiled with -fwrapv)
template <class T> void add(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return T(a + b); });
}
template <class T> void sub(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return T(a - b); });
}
void addSaturated(Warp &w, const Instruction &i) {
  map<int32_t, int32_t, int32_t>(w, i, [](int32_t a, int32_t b) {
    int64_t sum = int64_t(a) + b;
    return int32_t(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
  });
}
void subSaturated(Warp &w, const Instruction &i) {
  map<int32_t, int32_t, int32_t>(w, i, [](int32_t a, int32_t b) {
    int64_t sum = int64_t(a) - b;
    return int32_t(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
  });
}
template <class T> void mulLow(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return T(TwiceOf<T>(a) * TwiceOf<T>(b)); });
}
template <class T> void mulHigh(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return T((TwiceOf<T>(a) * TwiceOf<T>(b)) >> (sizeof(T) * 8)); });
}
template <class T> void mulWide(Warp &w, const Instruction &i) {
  map<TwiceOf<T>, T, T>(w, i, [](T a, T b) { return TwiceOf<T>(TwiceOf<T>(a) * TwiceOf<T>(b)); });
}
template <class T> void madLow(Warp &w, const Instruction &i) {
  map<T, T, T, T>(w, i, [](T a, T b, T c) { return T(TwiceOf<T>(a) * TwiceOf<T>(b) + TwiceOf<T>(c)); });
}
template <class T> void madHigh(Warp &w, const Instruction &i) {
  map<T, T, T, T>(w, i,
                  [](T a, T b, T c) { return T(T((TwiceOf<T>(a) * TwiceOf<T>(b)) >> (sizeof(T) * 8)) + c); });
}
template <class T> void madWide(Warp &w, const Instruction &i) {
  map<TwiceOf<T>, T, T, TwiceOf<T>>(
      w, i, [](T a, T b, TwiceOf<T> c) { return TwiceOf<T>(TwiceOf<T>(a) * TwiceOf<T>(b) + c); });
}
void mad24(Warp &w, const Instruction &i) {
  map<int32_t, int32_t, int32_t, int32_t>(w, i, [](int32_t a, int32_t b, int32_t c) {
    return int32_t((int64_t(a << 8 >> 8) * (b << 8 >> 8)) + c);
  });
}

// A GPU's division by zero gives all bits set, its remainder the dividend.
template <class T> T quotient(T a, T b) {
  if (b == 0)
    return T(-1);
  if (std::is_signed_v<T> && b == T(-1))
    return T(0 - a);
  return T(a / b);
}
template <class T> void div(Warp &w, const Instruction &i) { map<T, T, T>(w, i, quotient<T>); }
template <class T> void rem(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) {
    if (b == 0)
      return a;
    if (std::is_signed_v<T> && b == T(-1))
      return T(0);
    return T(a % b);
  });
}
template <class T> void absolute(Warp &w, const Instruction &i) {
  map<T, T>(w, i, [](T a) { return T(a < 0 ? 0 - a : a); });
}
template <class T> void negate(Warp &w, const Instruction &i) {
  map<T, T>(w, i, [](T a) { return T(0 - a); });
}
template <class T> void minimum(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return a < b ? a : b; });
}
template <class T> void maximum(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return a > b ? a : b; });
}
void sad(Warp &w, const Instruction &i) {
  map<uint32_t, int32_t, int32_t, uint32_t>(
      w, i, [](int32_t a, int32_t b, uint32_t c) { return uint32_t(c + uint32_t(a < b ? b - a : a - b)); });
}
void sadUnsigned(Warp &w, const Instruction &i) {
  map<uint32_t, uint32_t, uint32_t, uint32_t>(
      w, i, [](uint32_t a, uint32_t b, uint32_t c) { return c + (a < b ? b - a : a - b); });
}

// --- extended precision: the carry is predicate-like state of the lane, kept in i.imm's place of the warp
template <class T>
void addCarry(Warp &w, const Instruction &i) { // a: reads the carry, b: writes it, c: subtracts
  alignas(64) SlotOf<T> out[warpSize];
  const auto *x = w.slot<SlotOf<T>>(i.op[1]), *y = w.slot<SlotOf<T>>(i.op[2]);
  uint32_t carry = w.carry, next = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    T a = x[lane], b = i.c ? T(~y[lane]) : T(y[lane]);
    T in = i.a ? T(carry >> lane & 1) : T(i.c);
    unsigned __int128 sum = static_cast<unsigned __int128>(a) + b + in;
    out[lane] = static_cast<T>(sum);
    next |= uint32_t(sum >> (sizeof(T) * 8) & 1) << lane;
  }
  writeLanes(w, i.op[0], out);
  if (i.b)
    w.carry = (w.carry & ~w.active) | (next & w.active);
}
template <class T, bool High> void madCarry(Warp &w, const Instruction &i) {
  alignas(64) SlotOf<T> out[warpSize];
  const auto *x = w.slot<SlotOf<T>>(i.op[1]), *y = w.slot<SlotOf<T>>(i.op[2]),
             *z = w.slot<SlotOf<T>>(i.op[3]);
  uint32_t next = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    TwiceOf<T> product = TwiceOf<T>(T(x[lane])) * TwiceOf<T>(T(y[lane]));
    T part = High ? T(product >> (sizeof(T) * 8)) : T(product);
    unsigned __int128 sum =
        static_cast<unsigned __int128>(make_unsigned_t<T>(part)) + z[lane] + (i.a ? w.carry >> lane & 1 : 0);
    out[lane] = static_cast<SlotOf<T>>(sum);
    next |= uint32_t(sum >> (sizeof(T) * 8) & 1) << lane;
  }
  writeLanes(w, i.op[0], out);
  if (i.b)
    w.carry = (w.carry & ~w.active) | (next & w.active);
}

// --- logic and shifts
template <class T> void bitAnd(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return T(a & b); });
}
template <class T> void bitOr(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return T(a | b); });
}
template <class T> void bitXor(Warp &w, const Instruction &i) {
  map<T, T, T>(w, i, [](T a, T b) { return T(a ^ b); });
}
template <class T> void bitNot(Warp &w, const Instruction &i) {
  map<T, T>(w, i, [](T a) { return T(~a); });
}
template <class T> void logicalNot(Warp &w, const Instruction &i) {
  map<T, T>(w, i, [](T a) { return T(a == 0); });
}
template <char Op> void predicateLogic(Warp &w, const Instruction &i) {
  uint32_t a = w.predicate(i.op[1]), b = Op == '~' ? 0 : w.predicate(i.op[2]);
  w.setPredicate(i.op[0], Op == '&' ? a & b : Op == '|' ? a | b : Op == '^' ? a ^ b : ~a);
}
template <class T> void shiftLeft(Warp &w, const Instruction &i) {
  map<T, T, uint32_t>(w, i, [](T a, uint32_t b) { return b >= sizeof(T) * 8 ? T(0) : T(a << b); });
}
template <class T> void shiftRight(Warp &w, const Instruction &i) {
  constexpr uint32_t bits = sizeof(T) * 8;
  map<T, T, uint32_t>(w, i, [](T a, uint32_t b) {
    if (std::is_signed_v<T>)
      return T(a >> (b < bits ? b : bits - 1));
    return b >= bits ? T(0) : T(a >> b);
  });
}
template <bool Left, bool Wrap> void funnel(Warp &w, const Instruction &i) {
  map<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, [](uint32_t low, uint32_t high, uint32_t c) {
    uint32_t n = Wrap ? c & 31 : (c < 32 ? c : 32);
    uint64_t both = uint64_t(high) << 32 | low;
    return Left ? uint32_t((both << n) >> 32) : uint32_t(both >> n);
  });
}
template <uint8_t> void lop3(Warp &w, const Instruction &i) {
  uint8_t table = i.b;
  map<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, [table](uint32_t a, uint32_t b, uint32_t c) {
    uint32_t out = 0;
    for (unsigned term = 0; term < 8; ++term)
      if (table >> term & 1)
        out |= (term & 4 ? a : ~a) & (term & 2 ? b : ~b) & (term & 1 ? c : ~c);
    return out;
  });
}
void permute(Warp &w, const Instruction &i) {
  map<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, [](uint32_t a, uint32_t b, uint32_t c) {
    uint64_t both = uint64_t(b) << 32 | a;
    uint32_t out = 0;
    for (unsigned byte = 0; byte < 4; ++byte) {
      uint32_t selector = c >> (4 * byte) & 15;
      uint32_t value = both >> (8 * (selector & 7)) & 0xff;
      if (selector & 8)
        value = value & 0x80 ? 0xff : 0;
      out |= value << (8 * byte);
    }
    return out;
  });
}
void permuteMode(Warp &w, const Instruction &i) { // b: f4e b4e rc8 ecl ecr rc16
  uint8_t mode = i.b;
  map<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, [mode](uint32_t a, uint32_t b, uint32_t c) {
    uint64_t both = uint64_t(b) << 32 | a;
    unsigned n = c & 3;
    uint32_t out = 0;
    for (unsigned k = 0; k < 4; ++k) {
      unsigned from = mode == 0   ? n + k
                      : mode == 1 ? (n + 8 - k) & 7
                      : mode == 2 ? n
                      : mode == 3 ? (k > n ? k : n)
                      : mode == 4 ? (k < n ? k : n)
                                  : (n & 1) * 2 + (k & 1);
      out |= uint32_t(both >> (8 * from) & 0xff) << (8 * k);
    }
    return out;
  });
}
template <class T> void popCount(Warp &w, const Instruction &i) {
  map<uint32_t, T>(w, i, [](T a) { return uint32_t(std::popcount(a)); });
}
template <class T> void leadingZeros(Warp &w, const Instruction &i) {
  map<uint32_t, T>(w, i, [](T a) { return uint32_t(std::countl_zero(a)); });
}
template <class T> void reverseBits(Warp &w, const Instruction &i) {
  map<T, T>(w, i, [](T a) {
    T out = 0;
    for (unsigned bit = 0; bit < sizeof(T) * 8; ++bit)
      out = T(out << 1) | T(a >> bit & 1);
    return out;
  });
}
template <class T> void findLeadingOne(Warp &w, const Instruction &i) { // a: as the shift amount
  bool shift = i.a;
  map<uint32_t, T>(w, i, [shift](T a) {
    make_unsigned_t<T> bits = std::is_signed_v<T> && a < 0 ? ~a : a;
    if (bits == 0)
      return ~0u;
    uint32_t zeros = uint32_t(std::countl_zero(bits));
    return shift ? zeros : uint32_t(sizeof(T) * 8 - 1 - zeros);
  });
}
template <class T> void extractBits(Warp &w, const Instruction &i) {
  constexpr uint32_t bits = sizeof(T) * 8;
  using U = make_unsigned_t<T>;
  map<T, T, uint32_t, uint32_t>(w, i, [](T a, uint32_t b, uint32_t c) {
    uint32_t position = b & 0xff, length = c & 0xff;
    if (length == 0)
      return T(0);
    uint32_t top = position + length - 1;
    bool negative = std::is_signed_v<T> && (U(a) >> (top < bits ? top : bits - 1) & 1);
    U field = position < bits ? U(U(a) >> position) : U(0);
    uint32_t kept = position < bits ? (length < bits - position ? length : bits - position) : 0;
    U mask = kept >= bits ? U(~U(0)) : U((U(1) << kept) - 1);
    field &= mask;
    return T(negative ? field | U(~mask) : field);
  });
}
template <class T> void insertBits(Warp &w, const Instruction &i) {
  constexpr uint32_t bits = sizeof(T) * 8;
  map<T, T, T, uint32_t, uint32_t>(w, i, [](T a, T b, uint32_t c, uint32_t d) {
    uint32_t position = c & 0xff, length = d & 0xff;
    if (length == 0 || position >= bits)
      return b;
    uint32_t kept = length < bits - position ? length : bits - position;
    T mask = T((kept >= bits ? T(~T(0)) : T((T(1) << kept) - 1)) << position);
    return T((b & T(~mask)) | (T(a << position) & mask));
  });
}

/// bmsk: c[lane] bits from position b up. i.a: both wrap at 32, else they clamp
void bitMask(Warp &w, const Instruction &i) {
  bool wraps = i.a;
  map<uint32_t, uint32_t, uint32_t>(w, i, [wraps](uint32_t position, uint32_t width) {
    position = wraps ? position & 31 : position < 32 ? position : 32;
    width = wraps ? width & 31 : width < 32 ? width : 32;
    uint64_t mask = ((uint64_t(1) << width) - 1) << position;
    return static_cast<uint32_t>(mask);
  });
}

/// szext: the low b bits of a, extended. i.a: wrap
template <class T> void extendBits(Warp &w, const Instruction &i) {
  bool wraps = i.a;
  map<T, T, uint32_t>(w, i, [wraps](T a, uint32_t bits) {
    bits = wraps ? bits & 31 : bits < 32 ? bits : 32;
    if (bits == 0)
      return T(0);
    return bits == 32 ? a : T(T(uint32_t(a) << (32 - bits)) >> (32 - bits));
  });
}

// --- dot products
template <class A, class B> void dot4(Warp &w, const Instruction &i) {
  map<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, [](uint32_t a, uint32_t b, uint32_t c) {
    for (unsigned k = 0; k < 4; ++k)
      c += uint32_t(int32_t(A(a >> (8 * k))) * int32_t(B(b >> (8 * k))));
    return c;
  });
}
template <class A, class B, bool High> void dot2(Warp &w, const Instruction &i) {
  map<uint32_t, uint32_t, uint32_t, uint32_t>(w, i, [](uint32_t a, uint32_t b, uint32_t c) {
    for (unsigned k = 0; k < 2; ++k)
      c += uint32_t(int32_t(A(a >> (16 * k))) * int32_t(B(b >> (8 * (k + (High ? 2 : 0))))));
    return c;
  });
}

// ---------------------------------------------------------------------------------------------------------------
// Selection

bool isPlainInteger(Type type) {
  return type == Type::U16 || type == Type::U32 || type == Type::U64 || type == Type::S16 ||
         type == Type::S32 || type == Type::S64;
}

} // namespace

#define HEDDLE_SIM_INTEGER(function) [&]<class T>() -> Handler { return function<T>; }
#define HEDDLE_SIM_BITS(function) [&]<class T>() -> Handler { return function<make_unsigned_t<T>>; }

namespace {

/// add, sub and mul of integers; those of floating-point types are the float and half families'.
void selectAddOrSub(Selector &s, Type type, bool isSub) {
  s.out.cls = Class::Integer;
  if (!isPlainInteger(type))
    s.failType(type);
  if (s.take("sat")) {
    if (type != Type::S32)
      s.fail("only .s32 saturates");
    s.out.execute = isSub ? subSaturated : addSaturated;
  } else if (isSub) {
    s.out.execute = pickInteger(s, type, HEDDLE_SIM_BITS(sub));
  } else {
    s.out.execute = pickInteger(s, type, HEDDLE_SIM_BITS(add));
  }
  s.resultAndSources(type, 2);
}

template <class T> Handler pickWide(bool isMad) { return isMad ? madWide<T> : mulWide<T>; }

void selectMultiply(Selector &s, Type type, bool isMad) {
  s.out.cls = Class::Integer;
  std::string_view part = s.takeOneOf({"lo", "hi", "wide"});
  if (part.empty() || !isPlainInteger(type))
    s.fail("expected .lo, .hi or .wide and an integer type");
  if (isMad && s.take("cc")) {
    s.out.b = 1;
    s.out.execute = part == "lo"
                        ? (bitsOf(type) == 32 ? madCarry<uint32_t, false> : madCarry<uint64_t, false>)
                        : (bitsOf(type) == 32 ? madCarry<uint32_t, true> : madCarry<uint64_t, true>);
    if (part == "wide" || isSigned(type) || bitsOf(type) == 16)
      s.fail(".cc needs .lo or .hi and .u32 or .u64");
    return s.resultAndSources(type, 3);
  }
  if (part == "wide") {
    if (bitsOf(type) == 64)
      s.fail("expected a type of 16 or 32 bits");
    s.out.execute = type == Type::U16   ? pickWide<uint16_t>(isMad)
                    : type == Type::S16 ? pickWide<int16_t>(isMad)
                    : type == Type::U32 ? pickWide<uint32_t>(isMad)
                                        : pickWide<int32_t>(isMad);
    Type wide = bitsOf(type) == 16 ? Type::U32 : Type::U64;
    s.expectOperands(isMad ? 4 : 3, isMad ? 4 : 3);
    s.result(0, wide);
    s.source(1, type);
    s.source(2, type);
    if (isMad)
      s.source(3, wide);
    return;
  }
  if (part == "lo")
    s.out.execute =
        isMad ? pickInteger(s, type, HEDDLE_SIM_BITS(madLow)) : pickInteger(s, type, HEDDLE_SIM_BITS(mulLow));
  else
    s.out.execute = isMad ? pickInteger(s, type, HEDDLE_SIM_INTEGER(madHigh))
                          : pickInteger(s, type, HEDDLE_SIM_INTEGER(mulHigh));
  s.resultAndSources(type, isMad ? 3 : 2);
}

} // namespace

void selectIntegerArithmetic(Selector &s, Type type) {
  std::string_view opcode = s.statement.opcode;
  s.out.cls = Class::Integer;
  if (opcode == "add" || opcode == "sub") {
    if (s.take("cc")) {
      s.out.b = 1;
      s.out.c = opcode == "sub";
      s.out.execute = bitsOf(type) == 64 ? addCarry<uint64_t> : addCarry<uint32_t>;
      return s.resultAndSources(type, 2);
    }
    return selectAddOrSub(s, type, opcode == "sub");
  }
  if (opcode == "mul" || opcode == "mad")
    return selectMultiply(s, type, opcode == "mad");
  if (!isPlainInteger(type))
    s.failType(type);
  if (opcode == "div")
    s.out.execute = pickInteger(s, type, HEDDLE_SIM_INTEGER(div));
  else if (opcode == "min")
    s.out.execute = pickInteger(s, type, HEDDLE_SIM_INTEGER(minimum));
  else if (opcode == "max")
    s.out.execute = pickInteger(s, type, HEDDLE_SIM_INTEGER(maximum));
  else if (opcode == "abs")
    s.out.execute = pickInteger(s, type, HEDDLE_SIM_INTEGER(absolute));
  else
    s.out.execute = pickInteger(s, type, HEDDLE_SIM_BITS(negate));
  s.resultAndSources(type, opcode == "abs" || opcode == "neg" ? 1 : 2);
}

namespace {

void selectCarry(Selector &s) { // addc, subc, madc
  s.out.cls = Class::Integer;
  std::string_view opcode = s.statement.opcode;
  s.out.a = 1;
  s.out.c = opcode == "subc";
  bool high = false;
  if (opcode == "madc")
    high = s.takeOneOf({"lo", "hi"}) == "hi";
  s.out.b = s.take("cc");
  Type type = s.takeType();
  bool wide = bitsOf(type) == 64;
  if (!isPlainInteger(type) || bitsOf(type) == 16)
    s.failType(type);
  if (opcode == "madc") {
    s.out.execute = high ? (wide ? madCarry<uint64_t, true> : madCarry<uint32_t, true>)
                         : (wide ? madCarry<uint64_t, false> : madCarry<uint32_t, false>);
    return s.resultAndSources(type, 3);
  }
  s.out.execute = wide ? addCarry<uint64_t> : addCarry<uint32_t>;
  s.resultAndSources(type, 2);
}

void selectRem(Selector &s) {
  s.out.cls = Class::Integer;
  Type type = s.takeType();
  s.out.execute = pickInteger(s, type, HEDDLE_SIM_INTEGER(rem));
  s.resultAndSources(type, 2);
}

void select24(Selector &s) { // mul24.lo, mad24.lo
  s.out.cls = Class::Integer;
  bool isMad = s.statement.opcode == "mad24";
  if (!s.take("lo") || s.takeType() != Type::S32)
    s.fail("only .lo.s32 is supported");
  s.expectOperands(isMad ? 4 : 3, isMad ? 4 : 3);
  s.result(0, Type::S32);
  s.source(1, Type::S32);
  s.source(2, Type::S32);
  if (isMad) {
    s.source(3, Type::S32);
  } else {
    s.constantSource(0);
  }
  s.out.execute = mad24;
}

void selectSad(Selector &s) {
  s.out.cls = Class::Integer;
  Type type = s.takeType();
  if (type != Type::U32 && type != Type::S32)
    s.failType(type);
  s.out.execute = type == Type::U32 ? sadUnsigned : sad;
  s.resultAndSources(type, 3);
}

void selectLogic(Selector &s) {
  s.out.cls = Class::Integer;
  std::string_view opcode = s.statement.opcode;
  Type type = s.takeType();
  bool isNot = opcode == "not";
  if (type == Type::Pred) {
    s.expectOperands(isNot ? 2 : 3, isNot ? 2 : 3);
    s.predicateResult(s.operand(0));
    s.predicateSource(s.operand(1));
    if (!isNot)
      s.predicateSource(s.operand(2));
    s.out.execute = isNot             ? predicateLogic<'~'>
                    : opcode == "and" ? predicateLogic<'&'>
                    : opcode == "or"  ? predicateLogic<'|'>
                                      : predicateLogic<'^'>;
    return;
  }
  if (type != Type::B16 && type != Type::B32 && type != Type::B64)
    s.failType(type);
  s.out.execute = isNot              ? pickInteger(s, type, HEDDLE_SIM_BITS(bitNot))
                  : opcode == "cnot" ? pickInteger(s, type, HEDDLE_SIM_BITS(logicalNot))
                  : opcode == "and"  ? pickInteger(s, type, HEDDLE_SIM_BITS(bitAnd))
                  : opcode == "or"   ? pickInteger(s, type, HEDDLE_SIM_BITS(bitOr))
                                     : pickInteger(s, type, HEDDLE_SIM_BITS(bitXor));
  s.resultAndSources(type, isNot || opcode == "cnot" ? 1 : 2);
}

void selectShift(Selector &s) {
  s.out.cls = Class::Integer;
  Type type = s.takeType();
  bool left = s.statement.opcode == "shl";
  s.out.execute = left ? pickInteger(s, type, HEDDLE_SIM_BITS(shiftLeft))
                       : pickInteger(s, type, HEDDLE_SIM_INTEGER(shiftRight));
  s.expectOperands(3, 3);
  s.result(0, type);
  s.source(1, type);
  s.source(2, Type::U32);
}

void selectFunnel(Selector &s) {
  s.out.cls = Class::Integer;
  std::string_view direction = s.takeOneOf({"l", "r"}), mode = s.takeOneOf({"wrap", "clamp"});
  if (direction.empty() || mode.empty() || s.takeType() != Type::B32)
    s.fail("expected .l or .r, .wrap or .clamp, and .b32");
  s.out.execute = direction == "l" ? (mode == "wrap" ? funnel<true, true> : funnel<true, false>)
                                   : (mode == "wrap" ? funnel<false, true> : funnel<false, false>);
  s.resultAndSources(Type::B32, 3);
}

void selectLop3(Selector &s) {
  s.out.cls = Class::Integer;
  if (s.takeType() != Type::B32)
    s.fail("expected .b32");
  s.expectOperands(5, 5);
  s.result(0, Type::B32);
  for (size_t i = 1; i <= 3; ++i)
    s.source(i, Type::B32);
  s.out.b = static_cast<uint8_t>(s.constant(4, 0, 255));
  s.out.execute = lop3<0>;
}

void selectPermute(Selector &s) {
  s.out.cls = Class::Move;
  if (s.takeType() != Type::B32)
    s.fail("expected .b32");
  std::string_view names[] = {"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
  s.out.execute = permute;
  for (uint8_t mode = 0; mode < 6; ++mode)
    if (s.take(names[mode])) {
      s.out.b = mode;
      s.out.execute = permuteMode;
    }
  s.resultAndSources(Type::B32, 3);
}

void selectBitCount(Selector &s) {
  s.out.cls = Class::Integer;
  std::string_view opcode = s.statement.opcode;
  Type type = s.takeType();
  if (type != Type::B32 && type != Type::B64)
    s.failType(type);
  bool wide = type == Type::B64;
  s.expectOperands(2, 2);
  s.result(0, opcode == "brev" ? type : Type::U32);
  s.source(1, type);
  s.out.execute = opcode == "popc"  ? (wide ? popCount<uint64_t> : popCount<uint32_t>)
                  : opcode == "clz" ? (wide ? leadingZeros<uint64_t> : leadingZeros<uint32_t>)
                                    : (wide ? reverseBits<uint64_t> : reverseBits<uint32_t>);
}

void selectFind(Selector &s) {
  s.out.cls = Class::Integer;
  s.out.a = s.take("shiftamt");
  Type type = s.takeType();
  s.expectOperands(2, 2);
  s.result(0, Type::U32);
  s.source(1, type);
  if (bitsOf(type) == 16)
    s.failType(type);
  s.out.execute = pickInteger(s, type, HEDDLE_SIM_INTEGER(findLeadingOne));
}

void selectBitField(Selector &s) {
  s.out.cls = Class::Integer;
  Type type = s.takeType();
  bool insert = s.statement.opcode == "bfi";
  if (bitsOf(type) != 32 && bitsOf(type) != 64)
    s.failType(type);
  s.expectOperands(insert ? 5 : 4, insert ? 5 : 4);
  s.result(0, type);
  s.source(1, type);
  if (insert)
    s.source(2, type);
  s.source(insert ? 3 : 2, Type::U32);
  s.source(insert ? 4 : 3, Type::U32);
  s.out.execute = insert ? pickInteger(s, type, HEDDLE_SIM_BITS(insertBits))
                         : pickInteger(s, type, HEDDLE_SIM_INTEGER(extractBits));
}

void selectMask(Selector &s) { // bmsk, szext
  s.out.cls = Class::Integer;
  std::string_view mode = s.takeOneOf({"clamp", "wrap"});
  bool isMask = s.statement.opcode == "bmsk";
  Type type = s.takeType();
  if (mode.empty() || (isMask ? type != Type::B32 : type != Type::U32 && type != Type::S32))
    s.fail("expected .clamp or .wrap and a type of 32 bits");
  s.out.a = mode == "wrap";
  s.out.execute = isMask ? bitMask : type == Type::U32 ? extendBits<uint32_t> : extendBits<int32_t>;
  s.resultAndSources(type, 2);
}

void selectDot(Selector &s) {
  s.out.cls = Class::DotProduct;
  bool four = s.statement.opcode == "dp4a";
  std::string_view half = four ? "" : s.takeOneOf({"lo", "hi"});
  if (!four && half.empty())
    s.fail("expected .lo or .hi");
  Type a = s.takeType(), b = s.takeType();
  for (Type type : {a, b})
    if (type != Type::U32 && type != Type::S32)
      s.failType(type);
  bool sa = a == Type::S32, sb = b == Type::S32, high = half == "hi";
  s.resultAndSources(Type::B32, 3);
  if (four)
    s.out.execute = sa ? (sb ? dot4<int8_t, int8_t> : dot4<int8_t, uint8_t>)
                       : (sb ? dot4<uint8_t, int8_t> : dot4<uint8_t, uint8_t>);
  else if (high)
    s.out.execute = sa ? (sb ? dot2<int16_t, int8_t, true> : dot2<int16_t, uint8_t, true>)
                       : (sb ? dot2<uint16_t, int8_t, true> : dot2<uint16_t, uint8_t, true>);
  else
    s.out.execute = sa ? (sb ? dot2<int16_t, int8_t, false> : dot2<int16_t, uint8_t, false>)
                       : (sb ? dot2<uint16_t, int8_t, false> : dot2<uint16_t, uint8_t, false>);
}

} // namespace

std::vector<InstructionFamily> integerFamily() {
  return {
      {"addc", selectCarry},   {"subc", selectCarry},    {"madc", selectCarry},   {"rem", selectRem},
      {"mul24", select24},     {"mad24", select24},      {"sad", selectSad},      {"and", selectLogic},
      {"or", selectLogic},     {"xor", selectLogic},     {"not", selectLogic},    {"cnot", selectLogic},
      {"shl", selectShift},    {"shr", selectShift},     {"shf", selectFunnel},   {"lop3", selectLop3},
      {"prmt", selectPermute}, {"popc", selectBitCount}, {"clz", selectBitCount}, {"brev", selectBitCount},
      {"bfind", selectFind},   {"bfe", selectBitField},  {"bfi", selectBitField}, {"bmsk", selectMask},
      {"szext", selectMask},   {"dp4a", selectDot},      {"dp2a", selectDot}};
}

} // namespace heddle::cuda_sim
