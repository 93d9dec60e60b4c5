// cp.async: bytes are taken from global memory at once, and land in shared memory when the thread has waited
// for them.
#include "drivers/cuda_sim/MemoryAccess.h"
#include <algorithm>

namespace heddle::cuda_sim {

namespace {

/// op: target, source, offset of the source, bytes of the source that count, predicate that ignores the
/// source. i.a: 64-bit target, i.b: bytes, i.c: 64-bit source
void copy(Warp &w, const Instruction &i) {
  Block &block = *w.block;
  uint64_t to[warpSize], from[warpSize];
  std::byte *targets[warpSize], *sources[warpSize];
  unsigned bytes = i.b;
  addressesOf(w, i.op[0], i.a, i.imm, to);
  addressesOf(w, i.op[1], i.c, static_cast<int64_t>(w.slot<uint64_t>(i.op[2])[0]), from);
  const uint32_t *counts = w.slot<uint32_t>(i.op[3]);
  uint32_t ignored = w.predicate(i.op[4]), active = w.active, none = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    none |= uint32_t(counts[lane] == 0 || (ignored >> lane & 1)) << lane;
    if ((active >> lane & 1) && counts[lane] > bytes)
      return block.problem(ProblemKind::OutOfBounds, w, i, lane,
                           "the source of a copy of " + std::to_string(bytes) + " bytes has " +
                               std::to_string(counts[lane]) + " bytes");
  }
  // Partial copies read the bytes that count only.
  w.active = active & ~none;
  uint32_t partial = 0;
  for (unsigned lane = 0; lane < warpSize; ++lane)
    partial |= uint32_t(counts[lane] < bytes) << lane;
  uint32_t whole = w.active & ~partial;
  partial &= w.active;
  std::byte parts[warpSize][16] = {};
  if (whole) {
    w.active = whole;
    whole = locate(w, i, Space::Global, from, bytes, Access::Read, false, nullptr, sources);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if (whole >> lane & 1)
        std::memcpy(parts[lane], sources[lane], bytes);
  }
  for (unsigned lane = 0; lane < warpSize && partial && !block.isStopped(); ++lane) {
    if (!(partial >> lane & 1))
      continue;
    if (from[lane] & (bytes - 1)) { // reported as for whole copies
      w.active = 1u << lane;
      locate(w, i, Space::Global, from, bytes, Access::Read, false, nullptr, sources);
      break;
    }
    for (uint32_t k = 0; k < counts[lane]; ++k) {
      uint64_t byte[warpSize];
      byte[lane] = from[lane] + k;
      w.active = 1u << lane;
      if (locate(w, i, Space::Global, byte, 1, Access::Read, false, nullptr, sources))
        parts[lane][k] = *sources[lane];
    }
  }
  w.active = active;
  if (block.isStopped())
    return;
  uint32_t found = block.sharedWrite(w, i, to, active, bytes, false, nullptr, targets);
  for (uint32_t rest = found; rest; rest &= rest - 1) {
    unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
    AsyncCopy one;
    one.lane = lane;
    one.address = static_cast<uint32_t>(to[lane]);
    one.bytes = bytes;
    one.group = w.committed[lane];
    one.place = static_cast<uint32_t>(&i - w.kernel->code.data());
    std::memcpy(one.data, parts[lane], 16);
    w.copies.push_back(one);
  }
}

void commit(Warp &w, const Instruction &) {
  for (unsigned lane = 0; lane < warpSize; ++lane)
    w.committed[lane] += w.isActive(lane);
}

/// i.b: waits for copies that are not committed, too; i.imm: groups that may remain
void wait(Warp &w, const Instruction &i) {
  Block &block = *w.block;
  auto isDone = [&](const AsyncCopy &copy) {
    if (!w.isActive(copy.lane))
      return false;
    uint32_t committed = w.committed[copy.lane];
    return i.b || (copy.group < committed && committed - copy.group > static_cast<uint64_t>(i.imm));
  };
  for (const AsyncCopy &copy : w.copies)
    if (isDone(copy)) {
      std::memcpy(block.shared.at(copy.address), copy.data, copy.bytes);
      Accessor by = block.accessor(w, w.kernel->code[copy.place], copy.lane, false);
      block.shared.land(by, copy.address, copy.bytes);
    }
  w.copies.erase(std::remove_if(w.copies.begin(), w.copies.end(), isDone), w.copies.end());
}

void selectAsync(Selector &s) {
  s.out.cls = Class::AsyncCopy;
  if (!s.take("async"))
    s.fail("only cp.async is supported");
  if (s.take("commit_group")) {
    s.out.execute = commit;
    return s.expectOperands(0, 0);
  }
  if (s.take("wait_all")) {
    s.out.b = 1;
    s.out.execute = wait;
    return s.expectOperands(0, 0);
  }
  if (s.take("wait_group")) {
    s.expectOperands(1, 1);
    s.out.imm = s.constant(0, 0, INT32_MAX);
    s.out.execute = wait;
    return;
  }
  std::string_view cache = s.takeOneOf({"ca", "cg"});
  if (cache.empty() || s.takeOneOf({"shared", "shared::cta"}).empty() || !s.take("global"))
    s.fail("expected .ca or .cg, .shared and .global");
  takeCacheHints(s);
  s.expectOperands(3, 4);
  int64_t bytes = s.constant(2, 4, 16);
  if ((bytes != 4 && bytes != 8 && bytes != 16) || (cache == "cg" && bytes != 16))
    s.fail(cache == "cg" ? "expected 16 bytes" : "expected 4, 8 or 16 bytes");
  s.address(s.operand(0), Space::Shared);
  int64_t offset = s.out.imm;
  bool wide = s.out.a;
  s.address(s.operand(1), Space::Global);
  s.out.c = s.out.a;
  s.out.a = wide;
  s.constantSource64(static_cast<uint64_t>(s.out.imm));
  s.out.imm = offset;
  s.out.b = static_cast<uint8_t>(bytes);
  bool isPredicate = s.operandCount() == 4 && s.isPredicate(s.operand(3));
  if (s.operandCount() == 4 && !isPredicate)
    s.source(3, Type::U32);
  else
    s.constantSource(static_cast<uint32_t>(bytes));
  Operand never;
  never.kind = Operand::Kind::Integer;
  s.predicateSource(isPredicate ? s.operand(3) : never);
  s.out.execute = copy;
}

} // namespace

std::vector<InstructionFamily> asyncFamily() { return {{"cp", selectAsync}}; }

} // namespace heddle::cuda_sim
