// shfl, vote, match, redux, activemask: lanes of a warp see one another.
#include "drivers/cuda_sim/Selector.h"
#include <algorithm>

namespace heddle::cuda_sim {

namespace {

/// op: d, p, a, b, c, mask; i.b: mode
void shuffle(Warp &w, const Instruction &i) {
  const uint32_t *a = w.slot<uint32_t>(i.op[2]), *b = w.slot<uint32_t>(i.op[3]),
                 *c = w.slot<uint32_t>(i.op[4]);
  alignas(64) uint32_t out[warpSize];
  uint32_t valid = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    uint32_t by = b[lane] & 31, clamp = c[lane] & 31, segment = c[lane] >> 8 & 31;
    int last = static_cast<int>((lane & segment) | (clamp & ~segment));
    int first = static_cast<int>(lane & segment), from = static_cast<int>(lane);
    bool inside;
    switch (i.b) {
    case 0: // up
      from -= static_cast<int>(by);
      inside = from >= last;
      break;
    case 1: // down
      from += static_cast<int>(by);
      inside = from <= last;
      break;
    case 2: // bfly
      from ^= static_cast<int>(by);
      inside = from <= last;
      break;
    default: // idx
      from = first | static_cast<int>(by & ~segment & 31);
      inside = from <= last;
    }
    if (!inside)
      from = static_cast<int>(lane);
    valid |= uint32_t(inside) << lane;
    // What a lane that does not take part would give is not defined.
    out[lane] = w.isActive(static_cast<unsigned>(from)) ? a[from] : 0xdeadbeef;
  }
  writeLanes(w, i.op[0], out);
  w.setPredicate(i.op[1], valid);
}

/// Applies f(lanes of this lane's mask that take part) once per different mask.
template <class F> void forEachMask(const Warp &w, const uint32_t *masks, F f) {
  for (uint32_t rest = w.active; rest;) {
    uint32_t mask = masks[std::countr_zero(rest)], same = 0;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      same |= uint32_t(w.isActive(lane) && masks[lane] == mask) << lane;
    rest &= ~same;
    f(mask & w.active, same);
  }
}

/// op: result, predicate, mask; i.b: 0 all, 1 any, 2 uni, 3 ballot
void vote(Warp &w, const Instruction &i) {
  uint32_t p = w.predicate(i.op[1]), active = w.active;
  alignas(64) uint32_t out[warpSize] = {};
  uint32_t holds = 0;
  forEachMask(w, w.slot<uint32_t>(i.op[2]), [&](uint32_t members, uint32_t lanes) {
    uint32_t yes = p & members;
    bool result = i.b == 0 ? yes == members : i.b == 1 ? yes != 0 : yes == members || yes == 0;
    holds |= result ? lanes : 0;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if (lanes >> lane & 1)
        out[lane] = yes;
  });
  w.active = active;
  if (i.b == 3)
    writeLanes(w, i.op[0], out);
  else
    w.setPredicate(i.op[0], holds);
}

/// op: d, p, a, mask; i.b: 1 all
template <class T> void match(Warp &w, const Instruction &i) {
  const T *a = w.slot<T>(i.op[2]);
  alignas(64) uint32_t out[warpSize] = {};
  uint32_t all = 0;
  forEachMask(w, w.slot<uint32_t>(i.op[3]), [&](uint32_t members, uint32_t lanes) {
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      if (!(lanes >> lane & 1))
        continue;
      uint32_t same = 0;
      for (unsigned other = 0; other < warpSize; ++other)
        same |= uint32_t((members >> other & 1) && a[other] == a[lane]) << other;
      bool equal = same == members;
      all |= uint32_t(equal) << lane;
      out[lane] = i.b ? (equal ? members : 0) : same;
    }
  });
  writeLanes(w, i.op[0], out);
  w.setPredicate(i.op[1], all);
}

/// op: d, a, mask; i.b: operation
template <class T> void reduce(Warp &w, const Instruction &i) {
  const uint32_t *a = w.slot<uint32_t>(i.op[1]);
  alignas(64) uint32_t out[warpSize] = {};
  forEachMask(w, w.slot<uint32_t>(i.op[2]), [&](uint32_t members, uint32_t lanes) {
    T value = T(a[std::countr_zero(members)]);
    for (uint32_t rest = members & (members - 1); rest; rest &= rest - 1) {
      T next = T(a[std::countr_zero(rest)]);
      switch (i.b) {
      case 0:
        value = T(value + next);
        break;
      case 1:
        value = std::min(value, next);
        break;
      case 2:
        value = std::max(value, next);
        break;
      case 3:
        value &= next;
        break;
      case 4:
        value |= next;
        break;
      default:
        value ^= next;
      }
    }
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if (lanes >> lane & 1)
        out[lane] = uint32_t(value);
  });
  writeLanes(w, i.op[0], out);
}

void activeMask(Warp &w, const Instruction &i) {
  alignas(64) uint32_t out[warpSize];
  std::fill_n(out, warpSize, w.active);
  writeLanes(w, i.op[0], out);
}

// ---------------------------------------------------------------------------------------------------------------
// Selection

void expectSync(Selector &s) {
  s.out.cls = Class::Exchange;
  if (!s.take("sync"))
    s.fail("only the .sync form is supported");
}

uint8_t takeIndex(Selector &s, std::initializer_list<std::string_view> names) {
  uint8_t index = 0;
  for (std::string_view name : names) {
    if (s.take(name))
      return index;
    ++index;
  }
  s.fail("expected one of the instruction's modes");
}

Operand secondOf(const Operand &operand) { return operand.second.empty() ? Operand() : operand.second[0]; }

void selectShuffle(Selector &s) {
  expectSync(s);
  s.out.b = takeIndex(s, {"up", "down", "bfly", "idx"});
  if (s.takeType() != Type::B32)
    s.fail("expected .b32");
  s.expectOperands(5, 5);
  s.result(0, Type::B32);
  s.predicateResult(secondOf(s.operand(0)));
  for (size_t k = 1; k <= 3; ++k)
    s.source(k, Type::B32);
  s.syncMask(4);
  s.out.execute = shuffle;
}

void selectVote(Selector &s) {
  expectSync(s);
  s.out.b = takeIndex(s, {"all", "any", "uni", "ballot"});
  Type type = s.takeType();
  if (type != (s.out.b == 3 ? Type::B32 : Type::Pred))
    s.failType(type);
  s.expectOperands(3, 3);
  if (s.out.b == 3)
    s.result(0, Type::B32);
  else
    s.predicateResult(s.operand(0));
  s.predicateSource(s.operand(1));
  s.syncMask(2);
  s.out.execute = vote;
}

void selectMatch(Selector &s) {
  s.out.b = takeIndex(s, {"any", "all"});
  expectSync(s);
  Type type = s.takeType();
  if (type != Type::B32 && type != Type::B64)
    s.failType(type);
  s.expectOperands(3, 3);
  s.result(0, Type::B32);
  s.predicateResult(secondOf(s.operand(0)));
  s.source(1, type);
  s.syncMask(2);
  s.out.execute = type == Type::B64 ? match<uint64_t> : match<uint32_t>;
}

void selectReduce(Selector &s) {
  expectSync(s);
  s.out.b = takeIndex(s, {"add", "min", "max", "and", "or", "xor"});
  Type type = s.takeType();
  bool isBits = s.out.b >= 3;
  if (isBits ? type != Type::B32 : type != Type::U32 && type != Type::S32)
    s.failType(type);
  s.expectOperands(3, 3);
  s.result(0, type);
  s.source(1, type);
  s.syncMask(2);
  s.out.execute = type == Type::S32 ? reduce<int32_t> : reduce<uint32_t>;
}

void selectActiveMask(Selector &s) {
  s.out.cls = Class::Exchange;
  if (s.takeType() != Type::B32)
    s.fail("expected .b32");
  s.expectOperands(1, 1);
  s.result(0, Type::B32);
  s.out.execute = activeMask;
}

} // namespace

std::vector<InstructionFamily> exchangeFamily() {
  return {{"shfl", selectShuffle},
          {"vote", selectVote},
          {"match", selectMatch},
          {"redux", selectReduce},
          {"activemask", selectActiveMask}};
}

} // namespace heddle::cuda_sim
