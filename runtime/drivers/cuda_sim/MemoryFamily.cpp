// ld, st, prefetch.
#include "drivers/cuda_sim/KernelBuilder.h"
#include "drivers/cuda_sim/MemoryAccess.h"

namespace heddle::cuda_sim {

void addressesOf(const Warp &w, int32_t base, bool wide, int64_t offset, uint64_t *out) {
  if (wide) {
    const uint64_t *from = w.slot<uint64_t>(base);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      out[lane] = from[lane] + static_cast<uint64_t>(offset);
  } else {
    const uint32_t *from = w.slot<uint32_t>(base);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      out[lane] = static_cast<uint32_t>(from[lane] + static_cast<uint32_t>(offset));
  }
}

uint32_t locate(Warp &w, const Instruction &i, Space space, const uint64_t *addresses, unsigned bytes,
                Access access, bool strong, const std::byte *values, std::byte **out) {
  Block &block = *w.block;
  uint32_t lanes = w.active;
  switch (space) {
  case Space::Global:
  case Space::Const:
    return block.global(w, i, addresses, lanes, bytes, access != Access::Write, access != Access::Read, out);
  case Space::Shared: {
    if (access == Access::Read)
      return block.sharedRead(w, i, addresses, lanes, bytes, strong, out);
    if (access == Access::Write)
      return block.sharedWrite(w, i, addresses, lanes, bytes, strong, values, out);
    return block.sharedBounds(w, i, addresses, lanes, bytes, out);
  }
  case Space::Local:
    return block.local(w, i, addresses, lanes, bytes, out);
  case Space::Param:
    return block.parameter(w, i, addresses, lanes, bytes, out);
  case Space::Generic:
    break;
  }
  // Lanes may differ in the space that they mean.
  struct Window {
    Space space;
    uint64_t begin, end;
  };
  constexpr Window windows[] = {{Space::Shared, sharedWindow, sharedWindowEnd},
                                {Space::Local, localWindow, localWindowEnd},
                                {Space::Param, paramWindow, paramWindowEnd},
                                {Space::Global, 0, ~uint64_t(0)}};
  uint32_t found = 0, rest = lanes;
  for (const Window &window : windows) {
    uint32_t inside = 0;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      inside |= uint32_t(addresses[lane] >= window.begin && addresses[lane] < window.end) << lane;
    inside &= rest;
    if (!inside)
      continue;
    rest &= ~inside;
    uint64_t moved[warpSize];
    std::byte *places[warpSize];
    for (unsigned lane = 0; lane < warpSize; ++lane)
      moved[lane] = addresses[lane] - window.begin;
    w.active = inside;
    found |= locate(w, i, window.space, moved, bytes, access, strong, values, places);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if (inside >> lane & 1)
        out[lane] = places[lane];
  }
  w.active = lanes;
  return found;
}

bool takeOrdering(Selector &s) {
  std::string_view order =
      s.takeOneOf({"volatile", "relaxed", "mmio", "acquire", "release", "acq_rel", "seq_cst"});
  s.ordersMemory |= order == "acquire" || order == "release" || order == "acq_rel" || order == "seq_cst";
  s.take("weak");
  s.takeOneOf({"cta", "cluster", "gpu", "sys"});
  return !order.empty();
}

void takeCacheHints(Selector &s) {
  s.take("nc");
  s.takeOneOf({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  for (std::string_view level : {"L1::", "L2::"})
    if (std::string_view hint = s.takeStartingWith(level); hint == "L2::cache_hint")
      s.fail("cache policies are not supported");
}

Space takeSpaceIfAny(Selector &s) {
  if (!s.takeOneOf({"global"}).empty())
    return Space::Global;
  if (!s.takeOneOf({"shared", "shared::cta"}).empty())
    return Space::Shared;
  if (s.take("local"))
    return Space::Local;
  if (!s.takeOneOf({"param", "param::entry", "param::func"}).empty())
    return Space::Param;
  if (s.take("const"))
    return Space::Const;
  return Space::Generic;
}

namespace {

// i.a: 64-bit base, i.b: bits of the registers, i.c: Space, i.d: strong; op: elements, then the base.

template <class E, class S> void load(Warp &w, const Instruction &i) {
  uint64_t addresses[warpSize];
  std::byte *places[warpSize];
  unsigned count = i.vector;
  addressesOf(w, i.op[count], i.a, i.imm, addresses);
  if (i.c == static_cast<uint8_t>(Space::Generic)) // the lanes that locate() does not fill in
    for (std::byte *&place : places)
      place = reinterpret_cast<std::byte *>(addresses);
  uint32_t active = w.active;
  locate(w, i, static_cast<Space>(i.c), addresses, sizeof(E) * count, Access::Read, i.d, nullptr, places);
  w.active = active;
  if (i.d)
    w.polled = true;
  S mask = i.b == 16 ? S(0xffff) : S(~S(0));
  alignas(64) S out[4][warpSize];
  // All of them before the first write, which may change nothing that is still to be read.
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    E values[4];
    std::memcpy(values, places[lane], sizeof(E) * count);
    for (unsigned k = 0; k < count; ++k)
      out[k][lane] = static_cast<S>(values[k]) & mask;
  }
  for (unsigned k = 0; k < count; ++k)
    writeLanes(w, i.op[k], out[k]);
}

template <class E, class S> void store(Warp &w, const Instruction &i) {
  uint64_t addresses[warpSize];
  std::byte *places[warpSize];
  unsigned count = i.vector, bytes = sizeof(E) * count;
  addressesOf(w, i.op[count], i.a, i.imm, addresses);
  alignas(16) std::byte values[warpSize * 32];
  for (unsigned k = 0; k < count; ++k) {
    const S *from = w.slot<S>(i.op[k]);
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      E value = static_cast<E>(from[lane]);
      std::memcpy(values + lane * bytes + k * sizeof(E), &value, sizeof(E));
    }
  }
  uint32_t found =
      locate(w, i, static_cast<Space>(i.c), addresses, bytes, Access::Write, i.d, values, places);
  for (uint32_t rest = found; rest; rest &= rest - 1) {
    unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
    std::memcpy(places[lane], values + lane * bytes, bytes);
  }
}

void nothing(Warp &, const Instruction &) {}

// ---------------------------------------------------------------------------------------------------------------
// Selection

template <class S> Handler pickLoad(const Selector &s, Type type) {
  switch (bitsOf(type)) {
  case 8:
    return isSigned(type) ? load<int8_t, S> : load<uint8_t, S>;
  case 16:
    return isSigned(type) ? load<int16_t, S> : load<uint16_t, S>;
  case 32:
    return isSigned(type) ? load<int32_t, S> : load<uint32_t, S>;
  case 64:
    return load<uint64_t, S>;
  default:
    s.failType(type);
  }
}
template <class S> Handler pickStore(const Selector &s, Type type) {
  switch (bitsOf(type)) {
  case 8:
    return store<uint8_t, S>;
  case 16:
    return store<uint16_t, S>;
  case 32:
    return store<uint32_t, S>;
  case 64:
    return store<uint64_t, S>;
  default:
    s.failType(type);
  }
}

void selectLoadOrStore(Selector &s) {
  bool isStore = s.statement.opcode == "st";
  s.out.d = takeOrdering(s);
  Space space = takeSpaceIfAny(s);
  takeCacheHints(s);
  std::string_view vector = s.takeOneOf({"v2", "v4"});
  Type type = s.takeType();
  if (type == Type::Pred || bitsOf(type) < 8)
    s.failType(type);
  s.expectOperands(2, 2);
  const Operand &address = s.operand(isStore ? 0 : 1), &value = s.operand(isStore ? 1 : 0);
  space = s.effectiveSpace(address, space);
  std::vector<Operand> elements{value};
  if (!vector.empty()) {
    if (value.kind != Operand::Kind::Vector)
      s.fail("expected registers in braces");
    elements = value.elements;
  }
  size_t count = vector == "v2" ? 2 : vector == "v4" ? 4 : 1;
  if (elements.size() != count || count * bytesOf(type) > 16)
    s.fail("expected " + std::to_string(count) + " elements of together at most 16 bytes");
  // All elements have registers of one width; 8-bit values may be in registers of 16.
  unsigned bits = 0;
  for (const Operand &element : elements) {
    unsigned own = element.kind == Operand::Kind::Register
                       ? bitsOf(s.builder.function().registers[static_cast<size_t>(element.index)])
                       : 0;
    if (own && bits && own != bits)
      s.fail("the elements have registers of different sizes");
    bits = own ? own : bits;
  }
  if (!bits)
    bits = bitsOf(type);
  for (const Operand &element : elements)
    if (isStore)
      s.source(element, element.kind == Operand::Kind::Register || bits < 64 ? type : Type::B64, true);
    else
      s.result(element, type, true);
  s.out.vector = static_cast<uint8_t>(count);
  s.address(address, space);
  s.out.b = static_cast<uint8_t>(bits);
  s.out.c = static_cast<uint8_t>(space);
  bool wide = bits == 64;
  if (isStore)
    s.out.execute = wide ? pickStore<uint64_t>(s, type) : pickStore<uint32_t>(s, type);
  else
    s.out.execute = wide ? pickLoad<uint64_t>(s, type) : pickLoad<uint32_t>(s, type);
  bool isGlobal = space == Space::Global || space == Space::Generic;
  s.out.cls = isGlobal                 ? (isStore ? Class::StoreGlobal : Class::LoadGlobal)
              : space == Space::Shared ? (isStore ? Class::StoreShared : Class::LoadShared)
                                       : (isStore ? Class::StoreOther : Class::LoadOther);
  if (isStore && (space == Space::Const || (space == Space::Param)))
    s.fail("this memory cannot be written");
}

/// Hints about caches, which the simulator does not have.
void selectPrefetch(Selector &s) {
  Space space = takeSpaceIfAny(s);
  s.takeOneOf({"L1", "L2"});
  takeCacheHints(s);
  s.expectOperands(1, 1);
  s.address(s.operand(0), space);
  s.out.execute = nothing;
}

} // namespace

std::vector<InstructionFamily> memoryFamily() {
  return {{"ld", selectLoadOrStore},
          {"ldu", selectLoadOrStore},
          {"st", selectLoadOrStore},
          {"prefetch", selectPrefetch},
          {"prefetchu", selectPrefetch}};
}

} // namespace heddle::cuda_sim
