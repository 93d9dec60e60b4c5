// Registers of PTX are unlimited and written once; registers of a simulated warp are memory that should stay
// in the cache.
#include "drivers/cuda_sim/Kernel.h"
#include <algorithm>
#include <map>

namespace heddle::cuda_sim {

namespace {

// Kernels beyond these keep a slot a register.
constexpr uint64_t analysisLimit = uint64_t(1) << 22; // words of bit sets
constexpr unsigned passLimit = 64;                    // over the blocks

bool isRead(Use use) { return use == Use::Read || use == Use::ReadWide; }
bool isWrite(Use use) { return use == Use::Write || use == Use::WriteWide; }
bool isWide(Use use) { return use == Use::ReadWide || use == Use::WriteWide; }

class Bits {
public:
  explicit Bits(size_t size) : words((size + 63) / 64) {}
  void set(size_t at) { words[at >> 6] |= uint64_t(1) << (at & 63); }
  void clear(size_t at) { words[at >> 6] &= ~(uint64_t(1) << (at & 63)); }
  bool has(size_t at) const { return words[at >> 6] >> (at & 63) & 1; }
  std::vector<uint64_t> words;
};

} // namespace

void shareSlots(Kernel &kernel, const std::vector<uint32_t> &first, const std::vector<Use> &uses) {
  size_t size = kernel.code.size(), registers = kernel.registerSlots;
  auto operandsOf = [&](size_t at, auto f) {
    size_t end = at + 1 < size ? first[at + 1] : kernel.operands.size();
    for (size_t k = first[at]; k < end; ++k)
      if (isRead(uses[k]) || isWrite(uses[k]))
        f(static_cast<size_t>(kernel.operands[k]), uses[k]);
  };
  std::vector<size_t> starts;
  for (size_t at = 0; at < size; ++at)
    if (kernel.code[at].leader)
      starts.push_back(at);
  size_t blocks = starts.size();
  starts.push_back(size);
  kernel.info.registerCount = static_cast<uint32_t>(registers);
  if (registers == 0 || uint64_t(blocks) * ((registers + 63) / 64) > analysisLimit)
    return;

  std::vector<size_t> blockOf(size);
  std::vector<Bits> read(blocks, Bits(registers)), written(blocks, Bits(registers)),
      in(blocks, Bits(registers));
  for (size_t block = 0; block < blocks; ++block)
    for (size_t at = starts[block]; at < starts[block + 1]; ++at) {
      blockOf[at] = block;
      bool always = kernel.code[at].guard == truePredicate;
      operandsOf(at, [&](size_t slot, Use use) {
        if (isRead(use) && !written[block].has(slot))
          read[block].set(slot);
      });
      operandsOf(at, [&](size_t slot, Use use) {
        // A write under a predicate keeps the old value of the other lanes.
        if (isWrite(use) && !written[block].has(slot)) {
          if (always)
            written[block].set(slot);
          else
            read[block].set(slot);
        }
      });
    }
  auto successors = [&](size_t block, auto f) {
    size_t last = starts[block + 1] - 1;
    const Instruction &i = kernel.code[last];
    if (i.control == Control::Branch)
      f(blockOf[i.target]);
    if (i.control == Control::BranchIndexed)
      for (uint32_t target : kernel.tables[i.target])
        f(blockOf[target]);
    bool jumps =
        i.control == Control::Branch || i.control == Control::BranchIndexed || i.control == Control::Exit;
    if ((!jumps || i.guard != truePredicate) && last + 1 < size)
      f(blockOf[last + 1]);
  };
  for (size_t block = 0; block < blocks; ++block)
    in[block] = read[block];
  Bits out(registers);
  unsigned passes = 0;
  for (bool changed = true; changed;) {
    if (++passes > passLimit)
      return;
    changed = false;
    for (size_t block = blocks; block-- > 0;) {
      std::fill(out.words.begin(), out.words.end(), 0);
      successors(block, [&](size_t next) {
        for (size_t k = 0; k < out.words.size(); ++k)
          out.words[k] |= in[next].words[k];
      });
      for (size_t k = 0; k < out.words.size(); ++k) {
        uint64_t live = read[block].words[k] | (out.words[k] & ~written[block].words[k]);
        changed |= live != in[block].words[k];
        in[block].words[k] = live;
      }
    }
  }

  struct Life {
    size_t slot, begin, end;
    bool wide;
  };
  std::vector<Life> lives(registers, {0, size, 0, false});
  auto alive = [&](size_t slot, size_t at) {
    lives[slot].begin = std::min(lives[slot].begin, at);
    lives[slot].end = std::max(lives[slot].end, at);
  };
  for (size_t at = 0; at < size; ++at)
    operandsOf(at, [&](size_t slot, Use use) {
      lives[slot].wide = isWide(use);
      alive(slot, at);
    });
  for (size_t block = 0; block < blocks; ++block) {
    auto extend = [&](const Bits &bits, size_t at) {
      for (size_t k = 0; k < bits.words.size(); ++k)
        for (uint64_t rest = bits.words[k]; rest; rest &= rest - 1)
          alive(k * 64 + static_cast<size_t>(__builtin_ctzll(rest)), at);
    };
    extend(in[block], starts[block]);
    successors(block, [&](size_t next) { extend(in[next], starts[block + 1] - 1); });
  }

  std::vector<Life *> byBegin;
  for (size_t slot = 0; slot < registers; ++slot)
    if (lives[slot].begin <= lives[slot].end && lives[slot].begin < size) {
      lives[slot].slot = slot;
      byBegin.push_back(&lives[slot]);
    }
  std::sort(byBegin.begin(), byBegin.end(), [](const Life *a, const Life *b) {
    return a->begin != b->begin ? a->begin < b->begin : a->slot < b->slot;
  });
  std::vector<int32_t> placed(registers, -1), free[2];
  std::multimap<size_t, std::pair<int32_t, bool>> ends; // of lives: their slots
  int32_t count = 0;
  for (const Life *life : byBegin) {
    // A result never takes the place of a source of its own instruction.
    while (!ends.empty() && ends.begin()->first < life->begin) {
      free[ends.begin()->second.second].push_back(ends.begin()->second.first);
      ends.erase(ends.begin());
    }
    int32_t slot = count;
    if (!free[life->wide].empty()) {
      slot = free[life->wide].back();
      free[life->wide].pop_back();
    } else {
      count += life->wide ? 2 : 1;
    }
    placed[life->slot] = slot;
    ends.emplace(life->end, std::pair(slot, life->wide));
  }

  int32_t moved = count - static_cast<int32_t>(registers); // of special registers and the sink
  for (size_t k = 0; k < kernel.operands.size(); ++k) {
    int32_t &operand = kernel.operands[k];
    if (isRead(uses[k]) || isWrite(uses[k]))
      operand = placed[static_cast<size_t>(operand)];
    else if (uses[k] == Use::Fixed && operand >= 0)
      operand += moved;
  }
  for (auto &[special, slot] : kernel.specials)
    slot += moved;
  kernel.slots = static_cast<uint32_t>(static_cast<int32_t>(kernel.slots) + moved);
  kernel.registerSlots = static_cast<uint32_t>(count);
  kernel.info.registerCount = static_cast<uint32_t>(count);
}

} // namespace heddle::cuda_sim
