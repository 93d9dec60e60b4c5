// cvt and cvt.pack.
#include "drivers/cuda_sim/Half.h"
#include "drivers/cuda_sim/KernelBuilder.h"
#include <algorithm>

namespace heddle::cuda_sim {

namespace {

enum : uint8_t { Flush = 1, Saturate = 2, Relu = 4, Finite = 8, Integral = 16 };

/// Of a conversion in general. i.a, i.b: Type of source and result; i.c: flags; i.d: Rounding; i.imm: bits of
/// the source's register | bits of the result's register << 8.
unsigned sourceBits(const Instruction &i) { return i.imm & 0xff; }
unsigned resultBits(const Instruction &i) { return i.imm >> 8 & 0xff; }

void loadIntegers(const Warp &w, const Instruction &i, int64_t *values) {
  Type type = static_cast<Type>(i.a);
  unsigned shift = 64 - bitsOf(type);
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    uint64_t bits = sourceBits(i) == 64 ? w.slot<uint64_t>(i.op[1])[lane] : w.slot<uint32_t>(i.op[1])[lane];
    values[lane] = isSigned(type) ? int64_t(bits << shift) >> shift : int64_t(bits << shift >> shift);
  }
}

/// Values of the result's type go into its register, extended by their sign.
void storeBits(Warp &w, const Instruction &i, const uint64_t *values) {
  if (resultBits(i) == 64)
    return writeLanes(w, i.op[0], values);
  alignas(64) uint32_t out[warpSize];
  for (unsigned lane = 0; lane < warpSize; ++lane)
    out[lane] = uint32_t(values[lane]) & (resultBits(i) == 16 ? 0xffffu : ~0u);
  writeLanes(w, i.op[0], out);
}

struct Limits {
  int64_t low;
  uint64_t high;
};
Limits limitsOf(Type type) {
  unsigned bits = bitsOf(type);
  if (isSigned(type))
    return {int64_t(~uint64_t(0) << (bits - 1)), (uint64_t(1) << (bits - 1)) - 1};
  return {0, bits == 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1};
}

uint64_t extended(uint64_t bits, Type type) {
  unsigned shift = 64 - bitsOf(type);
  return isSigned(type) ? uint64_t(int64_t(bits << shift) >> shift) : bits << shift >> shift;
}

void integerToInteger(Warp &w, const Instruction &i) {
  alignas(64) int64_t from[warpSize];
  alignas(64) uint64_t out[warpSize];
  Type source = static_cast<Type>(i.a), result = static_cast<Type>(i.b);
  loadIntegers(w, i, from);
  Limits limits = limitsOf(result);
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    uint64_t value = uint64_t(from[lane]);
    if (i.c & Saturate) {
      bool negative = isSigned(source) && from[lane] < 0;
      if (negative)
        value = from[lane] < limits.low ? uint64_t(limits.low) : value;
      else
        value = value > limits.high ? limits.high : value;
    }
    out[lane] = extended(value, result);
  }
  storeBits(w, i, out);
}

double roundedToIntegral(double value, Rounding rounding) {
  switch (rounding) {
  case Rounding::Zero:
    return std::trunc(value);
  case Rounding::Down:
    return std::floor(value);
  case Rounding::Up:
    return std::ceil(value);
  default:
    return std::nearbyint(value); // the host rounds to nearest even
  }
}

void loadFloats(const Warp &w, const Instruction &i, double *values) {
  Type type = static_cast<Type>(i.a);
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    uint32_t bits = type == Type::F64 ? 0 : w.slot<uint32_t>(i.op[1])[lane];
    switch (type) {
    case Type::F16:
      values[lane] = floatOf(half_t{uint16_t(bits)});
      break;
    case Type::BF16:
      values[lane] = floatOf(bhalf_t{uint16_t(bits)});
      break;
    case Type::F64:
      values[lane] = w.slot<double>(i.op[1])[lane];
      break;
    default:
      float value = std::bit_cast<float>(bits);
      values[lane] = i.c & Flush ? flushed(value) : value;
    }
  }
}

void floatToInteger(Warp &w, const Instruction &i) {
  alignas(64) double from[warpSize];
  alignas(64) uint64_t out[warpSize];
  Type source = static_cast<Type>(i.a), result = static_cast<Type>(i.b);
  loadFloats(w, i, from);
  Limits limits = limitsOf(result);
  double high = static_cast<double>(limits.high); // 2^63 and 2^64 are above the limit, hence >= below
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    double value = roundedToIntegral(from[lane], static_cast<Rounding>(i.d));
    uint64_t bits;
    if (value != value)
      bits = source == Type::F64 || bitsOf(result) == 64 ? uint64_t(1) << (bitsOf(result) - 1) : 0;
    else if (value >= high)
      bits = limits.high;
    else if (value <= double(limits.low))
      bits = uint64_t(limits.low);
    else
      bits = value < 0 ? uint64_t(int64_t(value)) : uint64_t(value);
    out[lane] = extended(bits, result);
  }
  storeBits(w, i, out);
}

/// Bits of `value` in the type of the result, rounded once; `exact` is the value or rounded to odd.
uint64_t narrowed(double exact, const Instruction &i) {
  Rounding rounding = static_cast<Rounding>(i.d);
  Type result = static_cast<Type>(i.b);
  if ((i.c & Saturate))
    exact = saturated(exact);
  if ((i.c & Relu) && exact < 0)
    exact = 0;
  switch (result) {
  case Type::F16: {
    uint16_t bits = halfOf(exact, rounding).bits;
    return (i.c & Finite) && (bits & 0x7fff) == 0x7c00 ? bits - 1 : bits;
  }
  case Type::BF16: {
    uint16_t bits = bhalfOf(exact, rounding).bits;
    return (i.c & Finite) && (bits & 0x7fff) == 0x7f80 ? bits - 1 : bits;
  }
  case Type::TF32:
    return exact != exact ? canonicalNan : uint64_t(narrow<10, 8>(exact, rounding)) << 13;
  case Type::F32: {
    float value = floatOf(exact, rounding);
    return std::bit_cast<uint32_t>(i.c & Flush ? flushed(value) : value);
  }
  default:
    return std::bit_cast<uint64_t>(exact);
  }
}

void floatToFloat(Warp &w, const Instruction &i) {
  alignas(64) double from[warpSize];
  alignas(64) uint64_t out[warpSize];
  loadFloats(w, i, from);
  for (unsigned lane = 0; lane < warpSize; ++lane)
    out[lane] =
        narrowed(i.c & Integral ? roundedToIntegral(from[lane], static_cast<Rounding>(i.d)) : from[lane], i);
  storeBits(w, i, out);
}

void integerToFloat(Warp &w, const Instruction &i) {
  alignas(64) int64_t from[warpSize];
  alignas(64) uint64_t out[warpSize];
  bool isUnsigned = static_cast<Type>(i.a) == Type::U64;
  loadIntegers(w, i, from);
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    __int128 value = isUnsigned ? __int128(uint64_t(from[lane])) : __int128(from[lane]);
    double nearest = static_cast<double>(value);
    __int128 error = value - static_cast<__int128>(nearest);
    if (static_cast<Type>(i.b) == Type::F64) {
      Rounding rounding = static_cast<Rounding>(i.d);
      bool down = rounding == Rounding::Down || (rounding == Rounding::Zero && value > 0);
      bool up = rounding == Rounding::Up || (rounding == Rounding::Zero && value < 0);
      if (error < 0 && down)
        nearest = std::nextafter(nearest, -HUGE_VAL);
      if (error > 0 && up)
        nearest = std::nextafter(nearest, HUGE_VAL);
      out[lane] = std::bit_cast<uint64_t>(nearest);
    } else {
      out[lane] = narrowed(toOdd(nearest, error > 0 ? 1 : error < 0 ? -1 : 0), i);
    }
  }
  storeBits(w, i, out);
}

/// Two f32 into a pair: the first operand is the upper half.
template <class H> void pairOfFloats(Warp &w, const Instruction &i) {
  Instruction one = i;
  one.b = static_cast<uint8_t>(std::is_same_v<H, half_t> ? Type::F16 : Type::BF16);
  bool simple = i.d == 0 && i.c == 0;
  map<uint32_t, float, float>(w, i, [&](float upper, float lower) {
    if (simple)
      return uint32_t(roundTo<H>(upper).bits) << 16 | roundTo<H>(lower).bits;
    return uint32_t(narrowed(upper, one)) << 16 | uint32_t(narrowed(lower, one));
  });
}

// Frequent ones.
void f32FromF16(Warp &w, const Instruction &i) {
  map<float, half_t>(w, i, [](half_t a) { return canonical(floatOf(a)); });
}
void f32FromBf16(Warp &w, const Instruction &i) {
  map<float, bhalf_t>(w, i, [](bhalf_t a) { return canonical(floatOf(a)); });
}
void f16FromF32(Warp &w, const Instruction &i) {
  map<half_t, float>(w, i, [](float a) { return halfOf(a); });
}
void bf16FromF32(Warp &w, const Instruction &i) {
  map<bhalf_t, float>(w, i, [](float a) { return bhalfOf(a); });
}
void f32FromS32(Warp &w, const Instruction &i) {
  map<float, int32_t>(w, i, [](int32_t a) { return float(a); });
}
void f32FromU32(Warp &w, const Instruction &i) {
  map<float, uint32_t>(w, i, [](uint32_t a) { return float(a); });
}
void u64FromU32(Warp &w, const Instruction &i) {
  map<uint64_t, uint32_t>(w, i, [](uint32_t a) { return uint64_t(a); });
}
void s64FromS32(Warp &w, const Instruction &i) {
  map<int64_t, int32_t>(w, i, [](int32_t a) { return int64_t(a); });
}
void u32FromU64(Warp &w, const Instruction &i) {
  map<uint32_t, uint64_t>(w, i, [](uint64_t a) { return uint32_t(a); });
}

Handler frequent(Type result, Type source, const Instruction &i) {
  if (i.c != 0 || i.d != 0 || sourceBits(i) != bitsOf(source) || resultBits(i) != bitsOf(result))
    return nullptr;
  auto is = [&](Type r, Type s) { return result == r && source == s; };
  return is(Type::F32, Type::F16)                                                           ? f32FromF16
         : is(Type::F32, Type::BF16)                                                        ? f32FromBf16
         : is(Type::F16, Type::F32)                                                         ? f16FromF32
         : is(Type::BF16, Type::F32)                                                        ? bf16FromF32
         : is(Type::F32, Type::S32)                                                         ? f32FromS32
         : is(Type::F32, Type::U32)                                                         ? f32FromU32
         : is(Type::U64, Type::U32) || is(Type::S64, Type::U32)                             ? u64FromU32
         : is(Type::S64, Type::S32) || is(Type::U64, Type::S32)                             ? s64FromS32
         : is(Type::U32, Type::U64) || is(Type::S32, Type::S64) || is(Type::U32, Type::S64) ? u32FromU64
                                                                                            : nullptr;
}

// --- cvt.pack: two s32 saturated into the low halves, above the low half of c. a: Type of the parts, b:
// whether c
void packIntegers(Warp &w, const Instruction &i) {
  Type part = static_cast<Type>(i.a);
  Limits limits = limitsOf(part);
  unsigned bits = bitsOf(part);
  auto clamp = [&](int32_t v) {
    int64_t value = v < limits.low ? limits.low : v > int64_t(limits.high) ? int64_t(limits.high) : v;
    return uint32_t(value) & ((1u << bits) - 1);
  };
  bool more = i.b;
  map<uint32_t, int32_t, int32_t, uint32_t>(w, i, [&](int32_t a, int32_t b, uint32_t c) {
    uint32_t both = clamp(a) << bits | clamp(b);
    return more ? c << (2 * bits) | both : both;
  });
}

void selectPack(Selector &s) {
  s.take("sat");
  Type part = s.takeType(), source = s.takeType(), rest = s.takeTypeIfAny();
  if (source != Type::S32 || bitsOf(part) > 16)
    s.fail("expected a type of at most 16 bits and .s32");
  bool more = rest == Type::B32;
  s.expectOperands(more ? 4 : 3, more ? 4 : 3);
  s.result(0, Type::B32);
  s.source(1, Type::S32);
  s.source(2, Type::S32);
  if (more)
    s.source(3, Type::B32);
  else
    s.constantSource(0);
  s.out.a = static_cast<uint8_t>(part);
  s.out.b = more;
  s.out.execute = packIntegers;
}

void selectConvert(Selector &s) {
  s.out.cls = Class::Convert;
  if (s.take("pack"))
    return selectPack(s);
  std::string_view integral = s.takeOneOf({"rni", "rzi", "rmi", "rpi"});
  std::string_view rounded = s.takeOneOf({"rn", "rz", "rm", "rp", "rna"});
  char mode = integral.empty() ? (rounded.empty() ? 'n' : rounded == "rna" ? 'a' : rounded[1]) : integral[1];
  s.out.d = static_cast<uint8_t>(mode == 'z'   ? Rounding::Zero
                                 : mode == 'm' ? Rounding::Down
                                 : mode == 'p' ? Rounding::Up
                                 : mode == 'a' ? Rounding::NearestAway
                                               : Rounding::NearestEven);
  s.out.c = (s.take("ftz") ? Flush : 0) | (s.take("sat") ? Saturate : 0) | (s.take("relu") ? Relu : 0) |
            (s.take("satfinite") ? Finite : 0) | (integral.empty() ? 0 : Integral);
  Type result = s.takeType(), source = s.takeType();
  if (result == Type::F16x2 || result == Type::BF16x2) {
    if (source != Type::F32)
      s.failType(source);
    s.out.execute = result == Type::F16x2 ? pairOfFloats<half_t> : pairOfFloats<bhalf_t>;
    s.expectOperands(3, 3);
    s.result(0, Type::B32);
    s.source(1, Type::F32);
    s.source(2, Type::F32);
    return;
  }
  for (Type type : {result, source})
    if (type == Type::Pred || type == Type::F16x2 || type == Type::BF16x2 || bitsOf(type) < 8)
      s.failType(type);
  s.expectOperands(2, 2);
  s.result(0, result, true);
  s.source(1, source, true);
  auto registerBits = [&](const Operand &operand, Type type) {
    return operand.kind == Operand::Kind::Register
               ? bitsOf(s.builder.function().registers[static_cast<size_t>(operand.index)])
               : std::max(bitsOf(type), operand.kind == Operand::Kind::Special ? 32u : 16u);
  };
  s.out.imm = registerBits(s.operand(1), source) | registerBits(s.operand(0), result) << 8;
  s.out.a = static_cast<uint8_t>(source);
  s.out.b = static_cast<uint8_t>(result);
  if (isFloat(result) && isFloat(source) && !integral.empty() && result != source)
    s.fail("rounding to integers needs equal types");
  if (isFloat(result) && rounded.empty() && integral.empty() && bitsOf(source) > bitsOf(result))
    s.fail("expected a rounding mode");
  if (isFloat(result))
    s.out.execute = isFloat(source) ? floatToFloat : integerToFloat;
  else
    s.out.execute = isFloat(source) ? floatToInteger : integerToInteger;
  if (Handler handler = frequent(result, source, s.out))
    s.out.execute = handler;
}

} // namespace

std::vector<InstructionFamily> convertFamily() { return {{"cvt", selectConvert}}; }

} // namespace heddle::cuda_sim
