// mov in all its forms, selections, address conversions.
#include "drivers/cuda_sim/KernelBuilder.h"

namespace heddle::cuda_sim {

namespace {

template <class T> void move(Warp &w, const Instruction &i) { writeLanes(w, i.op[0], w.slot<T>(i.op[1])); }
void movePredicate(Warp &w, const Instruction &i) { w.setPredicate(i.op[0], w.predicate(i.op[1])); }

void moveClock(Warp &w, const Instruction &i) { // a: 64 bits
  uint64_t now = w.steps();
  alignas(64) uint64_t wide[warpSize];
  alignas(64) uint32_t narrow[warpSize];
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    wide[lane] = now;
    narrow[lane] = static_cast<uint32_t>(now);
  }
  if (i.a)
    writeLanes(w, i.op[0], wide);
  else
    writeLanes(w, i.op[0], narrow);
}

/// d = {a, b, ...}: a: bits of a part, vector: number of parts
template <class D> void pack(Warp &w, const Instruction &i) {
  alignas(64) D out[warpSize] = {};
  for (unsigned part = 0; part < i.vector; ++part) {
    const uint32_t *from = w.slot<uint32_t>(i.op[part + 1]);
    uint32_t mask = i.a == 32 ? ~0u : (1u << i.a) - 1;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      out[lane] |= D(from[lane] & mask) << (part * i.a);
  }
  writeLanes(w, i.op[0], out);
}

/// {a, b, ...} = s, the source being the last operand
template <class S> void unpack(Warp &w, const Instruction &i) {
  alignas(64) S from[warpSize];
  std::memcpy(from, w.slot<S>(i.op[i.vector]), sizeof(from));
  alignas(64) uint32_t out[warpSize];
  uint32_t mask = i.a == 32 ? ~0u : (1u << i.a) - 1;
  for (unsigned part = 0; part < i.vector; ++part) {
    for (unsigned lane = 0; lane < warpSize; ++lane)
      out[lane] = uint32_t(from[lane] >> (part * i.a)) & mask;
    writeLanes(w, i.op[part], out);
  }
}

template <class T> void selectByPredicate(Warp &w, const Instruction &i) {
  alignas(64) T out[warpSize];
  const T *a = w.slot<T>(i.op[1]), *b = w.slot<T>(i.op[2]);
  uint32_t p = w.predicate(i.op[3]);
  for (unsigned lane = 0; lane < warpSize; ++lane)
    out[lane] = p >> lane & 1 ? a[lane] : b[lane];
  writeLanes(w, i.op[0], out);
}

template <class T, bool Float> void selectBySign(Warp &w, const Instruction &i) {
  map<T, T, T, uint32_t>(w, i, [](T a, T b, uint32_t c) {
    bool first = Float ? std::bit_cast<float>(c) >= 0 : int32_t(c) >= 0;
    return first ? a : b;
  });
}

template <class T> void addConstant(Warp &w, const Instruction &i) {
  T addend = static_cast<T>(i.imm);
  map<T, T>(w, i, [addend](T a) { return T(a + addend); });
}

void isInWindow(Warp &w, const Instruction &i) { // imm: first address, b: whether outside of all windows
  const uint64_t *from = w.slot<uint64_t>(i.op[1]);
  uint64_t begin = static_cast<uint64_t>(i.imm), end = begin + (sharedWindowEnd - sharedWindow);
  uint32_t out = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane)
    out |= uint32_t(i.b ? from[lane] < sharedWindow || from[lane] >= paramWindowEnd
                        : from[lane] >= begin && from[lane] < end)
           << lane;
  w.setPredicate(i.op[0], out);
}

// ---------------------------------------------------------------------------------------------------------------
// Selection

void selectParts(Selector &s, Type type, const Operand &whole, const std::vector<Operand> &parts,
                 bool isPack) {
  if (parts.size() != 2 && parts.size() != 4)
    s.fail("expected 2 or 4 parts");
  unsigned bits = bitsOf(type) / static_cast<unsigned>(parts.size());
  Type part = bits == 8 ? Type::B8 : bits == 16 ? Type::B16 : Type::B32;
  if (bits < 8)
    s.failType(type);
  s.out.vector = static_cast<uint8_t>(parts.size());
  s.out.a = static_cast<uint8_t>(bits);
  bool wide = bitsOf(type) == 64;
  if (isPack) {
    s.result(whole, type);
    for (const Operand &operand : parts)
      s.source(operand, part);
    s.out.execute = wide ? pack<uint64_t> : pack<uint32_t>;
  } else {
    for (const Operand &operand : parts)
      s.result(operand, part);
    s.source(whole, type);
    s.out.execute = wide ? unpack<uint64_t> : unpack<uint32_t>;
  }
}

void selectMove(Selector &s) {
  s.out.cls = Class::Move;
  Type type = s.takeType();
  s.expectOperands(2, 2);
  const Operand &to = s.operand(0), &from = s.operand(1);
  if (type == Type::Pred) {
    s.predicateResult(to);
    s.predicateSource(from);
    s.out.execute = movePredicate;
  } else if (from.kind == Operand::Kind::Vector) {
    selectParts(s, type, to, from.elements, true);
  } else if (to.kind == Operand::Kind::Vector) {
    selectParts(s, type, from, to.elements, false);
  } else if (from.kind == Operand::Kind::Special &&
             from.index > static_cast<int64_t>(SpecialRegister::Count)) {
    s.out.a = bitsOf(type) == 64;
    s.result(0, type);
    s.out.execute = moveClock;
  } else {
    s.result(0, type);
    // %laneid and its like may be moved to wider registers, but no model compiled by us or by nvcc does so.
    s.source(1, type);
    s.out.execute = bitsOf(type) == 64 ? move<uint64_t> : move<uint32_t>;
  }
}

void selectSelect(Selector &s) {
  s.out.cls = Class::Move;
  Type type = s.takeType();
  s.expectOperands(4, 4);
  s.result(0, type);
  s.source(1, type);
  s.source(2, type);
  s.predicateSource(s.operand(3));
  s.out.execute = bitsOf(type) == 64 ? selectByPredicate<uint64_t> : selectByPredicate<uint32_t>;
}

void selectSign(Selector &s) {
  s.out.cls = Class::Move;
  bool flush = s.take("ftz");
  Type type = s.takeType(), sign = s.takeType();
  if (flush || (sign != Type::S32 && sign != Type::F32))
    s.fail("expected .s32 or .f32 for the sign");
  s.expectOperands(4, 4);
  s.result(0, type);
  s.source(1, type);
  s.source(2, type);
  s.source(3, sign);
  bool wide = bitsOf(type) == 64;
  s.out.execute = sign == Type::F32 ? (wide ? selectBySign<uint64_t, true> : selectBySign<uint32_t, true>)
                                    : (wide ? selectBySign<uint64_t, false> : selectBySign<uint32_t, false>);
}

std::string_view takeSpace(Selector &s) {
  std::string_view space =
      s.takeOneOf({"global", "shared", "shared::cta", "local", "const", "param", "param::entry"});
  if (space.empty())
    s.fail("expected a state space");
  return space;
}

uint64_t windowOf(std::string_view space) {
  return space.starts_with("shared")  ? sharedWindow
         : space == "local"           ? localWindow
         : space.starts_with("param") ? paramWindow
                                      : 0;
}

void selectConvertAddress(Selector &s) {
  s.out.cls = Class::Move;
  bool toSpace = s.take("to");
  uint64_t window = windowOf(takeSpace(s));
  Type type = s.takeType();
  if (type != Type::U64)
    s.fail("expected addresses of 64 bits");
  s.out.imm = static_cast<int64_t>(toSpace ? 0 - window : window);
  s.resultAndSources(type, 1);
  s.out.execute = addConstant<uint64_t>;
}

void selectIsSpace(Selector &s) {
  s.out.cls = Class::Compare;
  uint64_t window = windowOf(takeSpace(s));
  s.expectOperands(2, 2);
  s.predicateResult(s.operand(0));
  s.source(1, Type::U64);
  s.out.imm = static_cast<int64_t>(window);
  s.out.b = window == 0;
  s.out.execute = isInWindow;
}

} // namespace

std::vector<InstructionFamily> moveFamily() {
  return {{"mov", selectMove},
          {"selp", selectSelect},
          {"slct", selectSign},
          {"cvta", selectConvertAddress},
          {"isspacep", selectIsSpace}};
}

} // namespace heddle::cuda_sim
