// atom and red. Lanes take part in ascending order.
#include "drivers/cuda_sim/Half.h"
#include "drivers/cuda_sim/MemoryAccess.h"

namespace heddle::cuda_sim {

namespace {

enum Operation : uint8_t { Add, Min, Max, Inc, Dec, And, Or, Xor, Exchange, CompareSwap };
constexpr std::string_view operationNames[] = {"add", "min", "max", "inc",  "dec",
                                               "and", "or",  "xor", "exch", "cas"};

template <class T> T combined(Operation operation, T old, T b, T c) {
  if constexpr (std::is_floating_point_v<T>) {
    return operation == Add ? canonical(old + b) : b;
  } else if constexpr (std::is_integral_v<T>) {
    switch (operation) {
    case Add:
      return T(old + b);
    case Min:
      return old < b ? old : b;
    case Max:
      return old > b ? old : b;
    case Inc:
      return old >= b ? T(0) : T(old + 1);
    case Dec:
      return old == 0 || old > b ? b : T(old - 1);
    case And:
      return old & b;
    case Or:
      return old | b;
    case Xor:
      return old ^ b;
    case CompareSwap:
      return old == b ? c : old;
    default:
      return b;
    }
  } else {
    return b;
  }
}

/// Additions of halves and of their pairs, as bits.
template <class H, bool Pair> struct HalfBits {
  std::conditional_t<Pair, uint32_t, uint16_t> bits;
  static uint16_t sum(uint16_t a, uint16_t b) {
    return roundTo<H>(double(floatOf(H{a})) + double(floatOf(H{b}))).bits;
  }
  HalfBits plus(HalfBits other) const {
    if constexpr (Pair)
      return {uint32_t(sum(uint16_t(bits >> 16), uint16_t(other.bits >> 16))) << 16 |
              sum(uint16_t(bits), uint16_t(other.bits))};
    else
      return {sum(bits, other.bits)};
  }
};

/// i.a: 64-bit base, i.b: Operation, i.c: Space, i.d: no result; op: result, base, b, c
template <class T> void atomic(Warp &w, const Instruction &i) {
  using Bits = std::conditional_t<sizeof(T) == 2, uint16_t, SlotOf<T>>;
  Block &block = *w.block;
  uint64_t addresses[warpSize];
  std::byte *places[warpSize];
  addressesOf(w, i.op[1], i.a, i.imm, addresses);
  uint32_t active = w.active;
  uint32_t found =
      locate(w, i, static_cast<Space>(i.c), addresses, sizeof(T), Access::Atomic, true, nullptr, places);
  w.active = active;
  w.polled = true;
  const SlotOf<T> *b = w.slot<SlotOf<T>>(i.op[2]), *c = w.slot<SlotOf<T>>(i.op[3]);
  alignas(64) SlotOf<T> out[warpSize] = {};
  Operation operation = static_cast<Operation>(i.b);
  for (uint32_t rest = found; rest; rest &= rest - 1) {
    unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
    uint64_t address = addresses[lane];
    bool isShared = static_cast<Space>(i.c) == Space::Shared ||
                    (static_cast<Space>(i.c) == Space::Generic && address < sharedWindowEnd);
    if (isShared)
      block.sharedAtomic(
          w, i, lane, static_cast<Space>(i.c) == Space::Shared ? address : address - sharedWindow, sizeof(T));
    block.synchronizeAt(w, address);
    // Blocks run at the same time, so the host's atomics do it.
    Bits *at = reinterpret_cast<Bits *>(places[lane]);
    Bits old = __atomic_load_n(at, __ATOMIC_SEQ_CST), next;
    do {
      if constexpr (std::is_arithmetic_v<T>)
        next = static_cast<Bits>(
            toSlot<T>(combined<T>(operation, fromSlot<T>(old), fromSlot<T>(b[lane]), fromSlot<T>(c[lane]))));
      else
        next = T{old}.plus(T{static_cast<Bits>(b[lane])}).bits;
    } while (!__atomic_compare_exchange_n(at, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    out[lane] = old;
  }
  if (!i.d)
    writeLanes(w, i.op[0], out);
}

Handler pickAtomic(const Selector &s, Type type, Operation operation) {
  bool adds = operation == Add,
       isBits = operation >= And && operation != CompareSwap && operation != Exchange;
  switch (type) {
  case Type::F32:
    if (adds)
      return atomic<float>;
    break;
  case Type::F64:
    if (adds)
      return atomic<double>;
    break;
  case Type::F16:
    if (adds)
      return atomic<HalfBits<half_t, false>>;
    break;
  case Type::F16x2:
    if (adds)
      return atomic<HalfBits<half_t, true>>;
    break;
  case Type::BF16:
    if (adds)
      return atomic<HalfBits<bhalf_t, false>>;
    break;
  case Type::BF16x2:
    if (adds)
      return atomic<HalfBits<bhalf_t, true>>;
    break;
  case Type::B16:
  case Type::U16:
    if (operation == CompareSwap)
      return atomic<uint16_t>;
    break;
  case Type::B32:
    if (isBits || operation >= Exchange)
      return atomic<uint32_t>;
    break;
  case Type::B64:
    if (isBits || operation >= Exchange)
      return atomic<uint64_t>;
    break;
  case Type::U32:
    return atomic<uint32_t>;
  case Type::U64:
    return atomic<uint64_t>;
  case Type::S32:
    return atomic<int32_t>;
  case Type::S64:
    return atomic<int64_t>;
  default:
    break;
  }
  s.failType(type);
}

void selectAtomic(Selector &s) {
  bool isReduction = s.statement.opcode == "red";
  s.out.cls = Class::Atomic;
  takeOrdering(s);
  Space space = takeSpaceIfAny(s);
  takeCacheHints(s);
  s.take("noftz");
  bool found = false;
  for (uint8_t k = 0; k < std::size(operationNames) && !found; ++k)
    if (s.take(operationNames[k])) {
      s.out.b = k;
      found = true;
    }
  if (!found || (isReduction && s.out.b >= Exchange))
    s.fail("expected an atomic operation");
  if (space != Space::Generic && space != Space::Global && space != Space::Shared)
    s.fail("only global and shared memory have atomic operations");
  Type type = s.takeType();
  s.out.execute = pickAtomic(s, type, static_cast<Operation>(s.out.b));
  bool swaps = s.out.b == CompareSwap;
  size_t at = isReduction ? 0 : 1;
  s.expectOperands(at + 2 + swaps, at + 2 + swaps);
  s.result(isReduction ? Operand() : s.operand(0), type);
  s.address(s.operand(at), space);
  s.source(at + 1, type);
  s.source(at + 1 + swaps, type);
  s.out.c = static_cast<uint8_t>(space);
  s.out.d = isReduction;
}

} // namespace

std::vector<InstructionFamily> atomicFamily() { return {{"atom", selectAtomic}, {"red", selectAtomic}}; }

} // namespace heddle::cuda_sim
