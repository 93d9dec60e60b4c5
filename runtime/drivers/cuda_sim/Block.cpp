// How warps of a block take turns, diverge, meet again and wait for one another.
#include "drivers/cuda_sim/Block.h"
#include <algorithm>

namespace heddle::cuda_sim {

namespace {

constexpr uint32_t sliceSteps = 8192;          // of a warp before the next one
constexpr uint32_t spinsUntilAside = 256;      // backward branches of a group that polls while others wait
constexpr uint32_t loopsUntilAside = 1u << 20; // the same of one that does not poll
constexpr uint32_t stepsWithAside = 256;       // of others before a group that was put aside tries again
constexpr size_t nobody = ~size_t(0);

} // namespace

Block::Block(Launch &launch)
    : launch(launch), warpCount(static_cast<unsigned>((launch.block.count() + warpSize - 1) / warpSize)),
      warps(warpCount), registers(size_t(warpCount) * launch.kernel->slots * slotBytes),
      predicates(size_t(warpCount) * launch.kernel->predicates) {}

uint64_t Warp::steps() const { return block->steps; }

Dim3 Block::threadOf(const Warp &w, unsigned lane) const {
  uint32_t linear = w.index * warpSize + lane;
  return {linear % launch.block.x, linear / launch.block.x % launch.block.y,
          linear / launch.block.x / launch.block.y};
}

uint32_t Block::liveThreads() const {
  uint32_t count = 0;
  for (const Warp &w : warps)
    count += static_cast<uint32_t>(std::popcount(w.live));
  return count;
}

void Block::startWarp(Warp &w, unsigned number) {
  const Kernel &kernel = *launch.kernel;
  w.block = this;
  w.kernel = &kernel;
  w.index = number;
  w.registers = registers.data() + size_t(number) * kernel.slots * slotBytes;
  w.constants = launch.constants.data();
  w.predicates = predicates.data() + size_t(number) * kernel.predicates;
  uint64_t threads = launch.block.count() - uint64_t(number) * warpSize;
  w.live = threads >= warpSize ? allLanes : (1u << threads) - 1;
  w.carry = 0;
  w.polled = false;
  w.backward = 0;
  w.groups.assign(1, Group());
  w.groups[0].mask = w.live;
  w.copies.clear();
  std::fill(std::begin(w.committed), std::end(w.committed), 0);
  w.local.assign(kernel.localBytes * warpSize, std::byte(0xcd));
  std::fill_n(reinterpret_cast<uint32_t *>(w.registers), size_t(kernel.slots) * warpSize, 0xdeadbeef);
  std::fill_n(w.predicates, kernel.predicates, 0xdeadbeef);
  w.predicates[0] = allLanes;
  for (auto [special, slot] : kernel.specials) {
    uint32_t *to = w.target<uint32_t>(slot);
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      Dim3 thread = threadOf(w, lane);
      uint32_t at = 1u << lane, value = 0;
      switch (special) {
      case SpecialRegister::TidX:
        value = thread.x;
        break;
      case SpecialRegister::TidY:
        value = thread.y;
        break;
      case SpecialRegister::TidZ:
        value = thread.z;
        break;
      case SpecialRegister::NtidX:
        value = launch.block.x;
        break;
      case SpecialRegister::NtidY:
        value = launch.block.y;
        break;
      case SpecialRegister::NtidZ:
        value = launch.block.z;
        break;
      case SpecialRegister::CtaidX:
        value = index.x;
        break;
      case SpecialRegister::CtaidY:
        value = index.y;
        break;
      case SpecialRegister::CtaidZ:
        value = index.z;
        break;
      case SpecialRegister::NctaidX:
        value = launch.grid.x;
        break;
      case SpecialRegister::NctaidY:
        value = launch.grid.y;
        break;
      case SpecialRegister::NctaidZ:
        value = launch.grid.z;
        break;
      case SpecialRegister::LaneId:
        value = lane;
        break;
      case SpecialRegister::WarpId:
        value = number;
        break;
      case SpecialRegister::NwarpId:
        value = warpCount;
        break;
      case SpecialRegister::LaneMaskEq:
        value = at;
        break;
      case SpecialRegister::LaneMaskLe:
        value = at | (at - 1);
        break;
      case SpecialRegister::LaneMaskLt:
        value = at - 1;
        break;
      case SpecialRegister::LaneMaskGe:
        value = ~(at - 1);
        break;
      case SpecialRegister::LaneMaskGt:
        value = ~(at | (at - 1));
        break;
      case SpecialRegister::NsmId:
        value = 1;
        break;
      case SpecialRegister::DynamicSharedSize:
        value = launch.dynamicShared;
        break;
      case SpecialRegister::TotalSharedSize:
        value = static_cast<uint32_t>(kernel.info.staticSharedBytes) + launch.dynamicShared;
        break;
      default:
        break;
      }
      to[lane] = value;
    }
  }
}

void Block::run(Dim3 at) {
  index = at;
  stopped = false;
  reported.clear();
  synchronized.clear();
  shared.reset(*launch.kernel, launch.dynamicShared, launch.options.races || launch.options.unwritten);
  for (Barrier &barrier : barriers)
    barrier = {};
  for (unsigned w = 0; w < warpCount; ++w)
    for (unsigned other = 0; other < warpCount; ++other)
      clocks[w][other] = w == other;
  for (unsigned w = 0; w < warpCount; ++w)
    startWarp(warps[w], w);
  ++counters.blocks;
  counters.warps += warpCount;
  uint64_t reportedSteps = steps;
  while (liveThreads()) {
    uint64_t before = steps;
    for (Warp &w : warps) {
      if (w.live)
        runWarp(w);
      if (stopped)
        return;
    }
    uint64_t total = launch.steps.fetch_add(steps - reportedSteps) + (steps - reportedSteps);
    reportedSteps = steps;
    if (launch.stopped.load(std::memory_order_relaxed) || (launch.options.cancel && *launch.options.cancel))
      return;
    if (steps == before)
      return reportStuck();
    if (total > launch.options.stepLimit) {
      for (const Warp &w : warps)
        if (!w.groups.empty())
          return problem(ProblemKind::StepLimit, w, launch.kernel->code[w.groups[0].pc],
                         static_cast<unsigned>(std::countr_zero(w.groups[0].mask)),
                         "the launch has executed its limit of " + std::to_string(launch.options.stepLimit) +
                             " warp instructions");
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------
// One warp

/// Joins groups that have met, and returns the one that goes on; `nobody` if all wait.
size_t Block::pickGroup(Warp &w) {
  std::vector<Group> &groups = w.groups;
  if (groups.size() == 1)
    return groups[0].state == Group::State::Ready ? 0 : nobody;
  for (size_t a = 0; a < groups.size(); ++a)
    for (size_t b = groups.size(); b-- > a + 1;)
      if (groups[a].pc == groups[b].pc && groups[a].state != Group::State::AtBarrier &&
          groups[b].state != Group::State::AtBarrier) {
        groups[a].mask |= groups[b].mask;
        groups[a].state = Group::State::Ready;
        groups[a].aside = false;
        groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(b));
      }
  const std::vector<uint32_t> &rank = launch.kernel->rank;
  for (bool again = true; again;) {
    size_t best = nobody;
    again = false;
    for (size_t a = 0; a < groups.size(); ++a) {
      if (groups[a].state != Group::State::Ready)
        continue;
      if (groups[a].aside)
        again = true;
      else if (best == nobody || rank[groups[a].pc] < rank[groups[best].pc] ||
               (rank[groups[a].pc] == rank[groups[best].pc] && groups[a].pc < groups[best].pc))
        best = a;
    }
    if (best != nobody)
      return best;
    for (Group &group : groups)
      group.aside = false;
  }
  return nobody;
}

Block::Outcome Block::runWarp(Warp &w) {
  uint32_t budget = sliceSteps;
  while (budget && !stopped) {
    size_t group = pickGroup(w);
    if (group == nobody) {
      if (!w.live)
        return Outcome::Done;
      if (releaseWarpBarrier(w))
        continue;
      return Outcome::Waits;
    }
    runGroup(w, group, budget);
  }
  return Outcome::Slice;
}

void Block::runGroup(Warp &w, size_t g, uint32_t &budget) {
  const Instruction *code = launch.kernel->code.data();
  bool alone = w.groups.size() == 1, first = true;
  uint32_t limit = ~0u;
  for (const Group &group : w.groups)
    if (group.aside)
      limit = stepsWithAside;
  while (budget && !stopped) {
    Group &group = w.groups[g];
    const Instruction &i = code[group.pc];
    if (!alone) {
      if (i.leader && !first)
        return; // others may be here, or go first
      if (limit-- == 0) {
        for (Group &each : w.groups)
          each.aside = false;
        return;
      }
      first = false;
    }
    uint32_t lanes = group.mask & w.predicate(i.guard);
    --budget;
    ++steps;
    ++counters.instructions[static_cast<size_t>(i.cls)];
    counters.lanes += static_cast<unsigned>(std::popcount(lanes));
    if (!lanes) {
      ++group.pc;
      continue;
    }
    w.active = lanes;
    switch (i.control) {
    case Control::Run:
      i.execute(w, i);
      ++group.pc;
      break;
    case Control::WarpSync:
    case Control::WarpBarrier:
      if (!sync(w, g, i))
        return;
      i.execute(w, i);
      if (i.control == Control::WarpBarrier)
        orderWarp(w);
      ++group.pc;
      break;
    case Control::Branch:
      branch(w, g, lanes, i.target);
      if (w.groups.size() != 1)
        return;
      break;
    case Control::BranchIndexed:
      branchIndexed(w, g, i, lanes);
      return;
    case Control::Exit:
      exitLanes(w, g, lanes);
      return;
    case Control::Barrier:
    case Control::Arrive:
      if (lanes != group.mask) {
        // Those that the predicate excludes go on.
        split(w, g, group.mask & ~lanes, group.pc + 1);
        return;
      }
      if (!arrive(w, g, i))
        return;
      break;
    case Control::Trap:
      problem(ProblemKind::Trap, w, i, static_cast<unsigned>(std::countr_zero(lanes)),
              "'" + describe(i) + "' is reached");
      return;
    }
  }
}

/// `lanes` of the group go to `target` as a group of their own.
void Block::split(Warp &w, size_t g, uint32_t lanes, uint32_t target) {
  w.groups[g].mask &= ~lanes;
  Group other;
  other.pc = target;
  other.mask = lanes;
  w.groups.push_back(other);
}

void Block::branch(Warp &w, size_t g, uint32_t taken, uint32_t target) {
  Group &group = w.groups[g];
  uint32_t from = group.pc;
  if (taken == group.mask) {
    group.pc = target;
    if (target <= from && w.groups.size() > 1) {
      ++w.backward;
      if (w.backward >= (w.polled ? spinsUntilAside : loopsUntilAside)) {
        group.aside = true;
        w.backward = 0;
        w.polled = false;
      }
    }
    return;
  }
  group.pc = from + 1;
  split(w, g, taken, target);
}

void Block::branchIndexed(Warp &w, size_t g, const Instruction &i, uint32_t lanes) {
  const std::vector<uint32_t> &table = launch.kernel->tables[i.target];
  uint32_t values[warpSize];
  std::memcpy(values, w.slot<uint32_t>(i.op[0]), sizeof(values));
  w.groups[g].pc += 1;
  for (unsigned lane = 0; lane < warpSize && !stopped; ++lane) {
    if (!(lanes >> lane & 1))
      continue;
    if (values[lane] >= table.size())
      return problem(ProblemKind::Trap, w, i, lane,
                     "index " + std::to_string(values[lane]) + " of a table of " +
                         std::to_string(table.size()) + " branch targets");
    uint32_t same = 0;
    for (unsigned other = lane; other < warpSize; ++other)
      if ((lanes >> other & 1) && values[other] == values[lane])
        same |= 1u << other;
    lanes &= ~same;
    split(w, g, same, table[values[lane]]);
  }
  if (w.groups[g].mask == 0)
    w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(g));
}

void Block::exitLanes(Warp &w, size_t g, uint32_t lanes) {
  for (const AsyncCopy &copy : w.copies)
    if (lanes >> copy.lane & 1)
      problem(ProblemKind::UnwaitedCopy, w, launch.kernel->code[copy.place], copy.lane,
              "the thread exits without having waited for this copy to shared memory");
  w.live &= ~lanes;
  Group &group = w.groups[g];
  group.mask &= ~lanes;
  ++group.pc;
  if (group.mask == 0)
    w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(g));
  // Nobody waits for them any more.
  for (Group &other : w.groups)
    if (other.state == Group::State::AtSync)
      other.state = Group::State::Ready;
  completeBarriers();
}

/// Whether all lanes that the instruction needs are here; otherwise the group waits for them.
bool Block::sync(Warp &w, size_t g, const Instruction &i) {
  Group &group = w.groups[g];
  uint32_t needed = 0;
  if (i.sync < 0) {
    needed = allLanes;
    if (w.live != allLanes) {
      problem(ProblemKind::DivergentBarrier, w, i, static_cast<unsigned>(std::countr_zero(w.active)),
              "'" + describe(i) + "' needs all 32 lanes of the warp, of which " +
                  std::to_string(32 - std::popcount(w.live)) + " do not exist or have exited");
      return false;
    }
  } else {
    const uint32_t *masks = w.slot<uint32_t>(i.op[i.sync]);
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      if (!w.isActive(lane))
        continue;
      needed |= masks[lane];
      if (!(masks[lane] >> lane & 1)) {
        problem(ProblemKind::DivergentBarrier, w, i, lane, "the lane is not in its own mask of lanes");
        return false;
      }
    }
  }
  uint32_t missing = needed & w.live & ~w.active;
  if (!missing)
    return true;
  if (missing & group.mask) {
    problem(ProblemKind::DivergentBarrier, w, i,
            static_cast<unsigned>(std::countr_zero(missing & group.mask)),
            "the lane is in the mask of '" + describe(i) + "', which its predicate skips");
    return false;
  }
  group.state = Group::State::AtSync;
  return false;
}

/// bar.warp.sync may be reached by different instructions: releases the warp's groups if nobody is missing.
bool Block::releaseWarpBarrier(Warp &w) {
  uint32_t here = 0, needed = 0;
  for (const Group &group : w.groups) {
    const Instruction &i = launch.kernel->code[group.pc];
    if (group.state != Group::State::AtSync || i.control != Control::WarpBarrier)
      continue;
    here |= group.mask;
    const uint32_t *masks = w.slot<uint32_t>(i.op[i.sync]);
    for (unsigned lane = 0; lane < warpSize; ++lane)
      if (group.mask >> lane & 1)
        needed |= masks[lane];
  }
  if (!here || (needed & w.live & ~here))
    return false;
  for (Group &group : w.groups)
    if (group.state == Group::State::AtSync &&
        launch.kernel->code[group.pc].control == Control::WarpBarrier) {
      group.state = Group::State::Ready;
      ++group.pc;
    }
  orderWarp(w);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Barriers of the block

bool Block::arrive(Warp &w, size_t g, const Instruction &i) {
  Group &group = w.groups[g];
  unsigned lane = static_cast<unsigned>(std::countr_zero(group.mask));
  if (i.aligned && group.mask != w.live) {
    group.state = Group::State::AtSync; // for the rest of the warp
    return false;
  }
  uint32_t id = w.slot<uint32_t>(i.op[0])[lane], count = w.slot<uint32_t>(i.op[1])[lane];
  if (id >= barrierLimit ||
      (count != ~0u && (count == 0 || count % warpSize || count > warpLimit * warpSize))) {
    problem(ProblemKind::DivergentBarrier, w, i, lane,
            "barrier " + std::to_string(id) + " for " + std::to_string(count) +
                " threads; there are 16 barriers, for multiples of 32 threads");
    return false;
  }
  Barrier &barrier = barriers[id];
  if (barrier.arrived && barrier.expected != count) {
    problem(ProblemKind::DivergentBarrier, w, i, lane,
            "barrier " + std::to_string(id) + " is used for different numbers of threads at once");
    return false;
  }
  barrier.expected = count;
  // With a count, warps count as a whole.
  barrier.arrived += count != ~0u && i.aligned ? warpSize : static_cast<unsigned>(std::popcount(group.mask));
  if (i.a)
    barrier.count += static_cast<unsigned>(std::popcount(w.predicate(i.op[2]) & group.mask));
  for (unsigned other = 0; other < warpCount; ++other)
    barrier.seen[other] = std::max(barrier.seen[other], clocks[w.index][other]);
  ++clocks[w.index][w.index];
  bool waits = i.control == Control::Barrier;
  if (waits) {
    group.state = Group::State::AtBarrier;
    group.barrier = static_cast<uint8_t>(id);
  } else {
    ++group.pc;
  }
  completeBarriers();
  return !waits;
}

void Block::completeBarriers() {
  uint32_t live = liveThreads();
  for (unsigned id = 0; id < barrierLimit; ++id) {
    const Barrier &barrier = barriers[id];
    if (barrier.arrived && barrier.arrived >= (barrier.expected == ~0u ? live : barrier.expected))
      release(id);
  }
}

void Block::release(unsigned id) {
  Barrier barrier = barriers[id];
  barriers[id] = {};
  uint32_t threads = barrier.arrived;
  for (Warp &w : warps)
    for (Group &group : w.groups) {
      if (group.state != Group::State::AtBarrier || group.barrier != id)
        continue;
      const Instruction &i = launch.kernel->code[group.pc];
      if (i.a) {
        uint32_t active = w.active;
        w.active = group.mask;
        if (i.a == 1) {
          uint32_t out[warpSize];
          std::fill_n(out, warpSize, barrier.count);
          writeLanes(w, i.op[3], out);
        } else {
          bool holds = i.a == 2 ? barrier.count == threads : barrier.count > 0;
          w.setPredicate(i.op[3], holds ? allLanes : 0);
        }
        w.active = active;
      }
      for (unsigned other = 0; other < warpCount; ++other)
        clocks[w.index][other] =
            std::max(clocks[w.index][other], other == w.index ? clocks[w.index][other] : barrier.seen[other]);
      group.state = Group::State::Ready;
      ++group.pc;
    }
}

/// Nobody can go on: names what somebody waits for.
void Block::reportStuck() {
  for (bool atSync : {true, false})
    for (const Warp &w : warps)
      for (const Group &group : w.groups) {
        if ((group.state == Group::State::AtSync) != atSync)
          continue;
        const Instruction &i = launch.kernel->code[group.pc];
        unsigned lane = static_cast<unsigned>(std::countr_zero(group.mask));
        if (!atSync)
          return problem(ProblemKind::Deadlock, w, i, lane,
                         "'" + describe(i) + "' waits for threads that never come: " +
                             std::to_string(barriers[group.barrier].arrived) + " have arrived at barrier " +
                             std::to_string(group.barrier) + ", " + std::to_string(liveThreads()) +
                             " have not exited");
        std::string others;
        for (const Group &other : w.groups)
          if (&other != &group && others.empty())
            others = ", while lane " + std::to_string(std::countr_zero(other.mask)) + " is at line " +
                     std::to_string(launch.kernel->places[launch.kernel->code[other.pc].place].line);
        return problem(ProblemKind::DivergentBarrier, w, i, lane,
                       "'" + describe(i) + "' waits for lanes of its warp that never come" + others);
      }
}

std::string Block::describe(const Instruction &i) const {
  return launch.kernel->names[launch.kernel->places[i.place].name];
}

} // namespace heddle::cuda_sim
