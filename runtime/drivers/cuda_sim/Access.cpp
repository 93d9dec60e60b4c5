// Memory as lanes see it: bounds, alignment, shadow state, and counts of sectors and bank conflicts.
#include "drivers/cuda_sim/Block.h"
#include <algorithm>
#include <cstdio>

namespace heddle::cuda_sim {

namespace {

alignas(16) std::byte nothing[64]; // what lanes without memory read

std::string hex(uint64_t value) {
  char out[24];
  std::snprintf(out, sizeof(out), "0x%llx", static_cast<unsigned long long>(value));
  return out;
}

template <class F> void forEachLane(uint32_t lanes, F f) {
  for (; lanes; lanes &= lanes - 1)
    f(static_cast<unsigned>(std::countr_zero(lanes)));
}

bool isFatal(ProblemKind kind) {
  return kind != ProblemKind::UnwrittenRead && kind != ProblemKind::Race &&
         kind != ProblemKind::PendingCopy && kind != ProblemKind::UnwaitedCopy;
}

} // namespace

void Block::problem(ProblemKind kind, const Warp &w, const Instruction &i, unsigned lane,
                    const std::string &message) {
  if (isFatal(kind)) {
    stopped = true;
    launch.stopped.store(true, std::memory_order_relaxed);
  }
  if (!reported.emplace(kind, i.place).second)
    return;
  const Place &place = launch.kernel->places[i.place];
  Launch::Found found;
  found.block = (uint64_t(index.z) * launch.grid.y + index.y) * launch.grid.x + index.x;
  Problem &problem = found.problem;
  problem.kind = kind;
  problem.message = message;
  problem.kernel = launch.kernel->info.name;
  problem.line = place.line;
  if (place.location.line)
    problem.source = launch.syntax->fileName(place.location.file) + ":" +
                     std::to_string(place.location.line) + ":" + std::to_string(place.location.column);
  problem.block = index;
  problem.thread = threadOf(w, lane);
  std::lock_guard lock(launch.mutex);
  auto at = launch.problems.find({kind, i.place});
  if (at != launch.problems.end()) {
    if (found.block < at->second.block)
      at->second = std::move(found);
  } else if (launch.problems.size() < launch.options.problemLimit) {
    launch.problems.emplace(std::pair(kind, i.place), std::move(found));
  } else {
    ++launch.suppressed;
  }
}

bool Block::checkAlignment(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t &lanes,
                           unsigned bytes) {
  uint64_t low = 0;
  forEachLane(lanes, [&](unsigned lane) { low |= addresses[lane]; });
  if (!(low & (bytes - 1)))
    return true;
  forEachLane(lanes, [&](unsigned lane) {
    if (stopped || !(addresses[lane] & (bytes - 1)))
      return;
    problem(ProblemKind::Misaligned, w, i, lane,
            "'" + describe(i) + "' accesses " + std::to_string(bytes) + " bytes at " + hex(addresses[lane]) +
                ", which is no multiple of " + std::to_string(bytes));
  });
  lanes = 0;
  return false;
}

void Block::outOfBounds(const Warp &w, const Instruction &i, unsigned lane, uint64_t address, unsigned bytes,
                        const Allocation *nearest) {
  std::string message =
      "'" + describe(i) + "' accesses " + std::to_string(bytes) + " bytes at " + hex(address);
  if (address < 4096)
    message += ", a null pointer";
  else if (nearest && address >= nearest->end - std::min<uint64_t>(nearest->end, bytes))
    message += ", " + std::to_string(address + bytes - nearest->end) + " bytes past the end of '" +
               nearest->name + "' (" + std::to_string(nearest->end - nearest->begin) + " bytes)";
  else
    message += ", in no allocation";
  problem(ProblemKind::OutOfBounds, w, i, lane, message);
}

Allocation *Block::allocationOf(const Instruction &i, uint64_t address) {
  Allocation *&cached = cache[i.place & 63];
  if (!cached || address < cached->begin || address >= cached->end)
    cached = launch.memory->find(address);
  return cached;
}

uint32_t Block::global(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                       unsigned bytes, bool isRead, bool isWrite, std::byte **out) {
  std::fill_n(out, warpSize, &nothing[0]);
  if (!checkAlignment(w, i, addresses, lanes, bytes))
    return 0;
  uint32_t found = 0;
  bool checkWritten = isRead && launch.options.unwritten;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
    uint64_t address = addresses[lane];
    Allocation *allocation = allocationOf(i, address);
    if (!allocation || !allocation->contains(address, bytes)) {
      outOfBounds(w, i, lane, address, bytes, allocation);
      return 0;
    }
    uint64_t offset = address - allocation->begin;
    if (!allocation->allWritten) {
      if (checkWritten && !allocation->isWritten(offset, bytes))
        problem(ProblemKind::UnwrittenRead, w, i, lane,
                "'" + describe(i) + "' reads " + std::to_string(bytes) + " bytes at offset " +
                    std::to_string(offset) + " of '" + allocation->name + "' that nobody has written");
      if (isWrite)
        allocation->markWritten(offset, bytes);
    }
    out[lane] = allocation->host + offset;
    found |= 1u << lane;
  }
  if (launch.options.count)
    countGlobal(addresses, found, bytes, !isRead);
  return found;
}

uint32_t Block::sharedBounds(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                             unsigned bytes, std::byte **out) {
  std::fill_n(out, warpSize, &nothing[0]);
  if (!checkAlignment(w, i, addresses, lanes, bytes))
    return 0;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
    if (!shared.contains(addresses[lane], bytes)) {
      problem(ProblemKind::OutOfBounds, w, i, lane,
              "'" + describe(i) + "' accesses " + std::to_string(bytes) + " bytes at " +
                  hex(addresses[lane]) + " of shared memory, outside of every variable (static " +
                  std::to_string(launch.kernel->info.staticSharedBytes) + ", dynamic " +
                  std::to_string(launch.dynamicShared) + " bytes)");
      return 0;
    }
    out[lane] = shared.at(addresses[lane]);
  }
  return lanes;
}

/// Reports it if it is of a kind that is asked for.
void Block::noteConflict(const Warp &w, const Instruction &i, unsigned lane, uint64_t address,
                         const Conflict &conflict) {
  if (conflict.kind == ProblemKind::UnwrittenRead ? !launch.options.unwritten : !launch.options.races)
    return;
  std::string message = "'" + describe(i) + "' at " + hex(address) + " of shared memory " + conflict.what;
  std::string line;
  if (conflict.place != ~0u)
    line = "line " + std::to_string(launch.kernel->places[launch.kernel->code[conflict.place].place].line);
  if (conflict.kind == ProblemKind::Race) {
    Dim3 other = threadOf(warps[conflict.warp], conflict.lane);
    message += " (thread " + std::to_string(other.x) + "," + std::to_string(other.y) + "," +
               std::to_string(other.z) + (line.empty() ? "" : ", " + line) +
               "), and no barrier orders the two";
  } else if (!line.empty()) {
    message += " (" + line + ")";
  }
  problem(conflict.kind, w, i, lane, message);
}

uint32_t Block::sharedRead(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                           unsigned bytes, bool strong, std::byte **out) {
  uint32_t found = sharedBounds(w, i, addresses, lanes, bytes, out);
  forEachLane(found, [&](unsigned lane) {
    Conflict conflict;
    if (!shared.noteRead(accessor(w, i, lane, strong), addresses[lane], bytes, launch.options.unwritten,
                         conflict))
      noteConflict(w, i, lane, addresses[lane], conflict);
  });
  if (launch.options.count)
    countShared(addresses, found, bytes);
  return found;
}

uint32_t Block::sharedWrite(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                            unsigned bytes, bool strong, const std::byte *values, std::byte **out) {
  uint32_t found = sharedBounds(w, i, addresses, lanes, bytes, out);
  forEachLane(found, [&](unsigned lane) {
    Conflict conflict;
    const std::byte *value = values ? values + size_t(lane) * bytes : nullptr;
    if (!shared.noteWrite(accessor(w, i, lane, strong), addresses[lane], bytes, value, conflict))
      noteConflict(w, i, lane, addresses[lane], conflict);
    if (value) // now, so that a lane that writes the same again is seen to do so
      std::memcpy(out[lane], value, bytes);
  });
  if (launch.options.count)
    countShared(addresses, found, bytes);
  return found;
}

void Block::sharedAtomic(const Warp &w, const Instruction &i, unsigned lane, uint64_t address,
                         unsigned bytes) {
  Accessor by = accessor(w, i, lane, true);
  std::byte changed[8];
  for (unsigned k = 0; k < bytes; ++k) // anything but what is there
    changed[k] = ~*shared.at(address + k);
  Conflict conflict;
  if (!shared.noteRead(by, address, bytes, launch.options.unwritten, conflict) ||
      !shared.noteWrite(by, address, bytes, changed, conflict))
    noteConflict(w, i, lane, address, conflict);
}

template <typename At>
uint32_t Block::within(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                       unsigned bytes, uint64_t size, const char *memory, At at, std::byte **out) {
  std::fill_n(out, warpSize, &nothing[0]);
  if (!checkAlignment(w, i, addresses, lanes, bytes))
    return 0;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
    if (addresses[lane] > size || bytes > size - addresses[lane]) {
      problem(ProblemKind::OutOfBounds, w, i, lane,
              "'" + describe(i) + "' accesses " + std::to_string(bytes) + " bytes at " +
                  hex(addresses[lane]) + " of " + memory + " (" + std::to_string(size) + " bytes)");
      return 0;
    }
    out[lane] = at(lane) + addresses[lane];
  }
  return lanes;
}

uint32_t Block::local(Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                      unsigned bytes, std::byte **out) {
  uint64_t size = launch.kernel->localBytes;
  return within(
      w, i, addresses, lanes, bytes, size, "local memory",
      [&](unsigned lane) { return w.local.data() + size_t(lane) * size; }, out);
}

uint32_t Block::parameter(const Warp &w, const Instruction &i, const uint64_t *addresses, uint32_t lanes,
                          unsigned bytes, std::byte **out) {
  return within(
      w, i, addresses, lanes, bytes, launch.kernel->parameterBytes, "the parameters",
      [&](unsigned) { return launch.parameters.data(); }, out);
}

void Block::synchronizeAt(const Warp &w, uint64_t address) {
  if (!launch.kernel->fences || synchronized.size() > 65536)
    return;
  std::vector<uint32_t> &seen = synchronized[address];
  seen.resize(warpCount);
  uint32_t *clock = clocks[w.index];
  for (unsigned other = 0; other < warpCount; ++other) {
    clock[other] = std::max(clock[other], other == w.index ? clock[other] : seen[other]);
    seen[other] = std::max(seen[other], clock[other]);
  }
  ++clock[w.index];
}

// ---------------------------------------------------------------------------------------------------------------
// Counts

void Block::countGlobal(const uint64_t *addresses, uint32_t lanes, unsigned bytes, bool isStore) {
  if (!lanes)
    return;
  uint64_t sectors[warpSize]; // at most 32 bytes each, so one a lane
  unsigned count = 0;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    uint64_t sector = addresses[std::countr_zero(rest)] / 32;
    if (count && sectors[count - 1] == sector)
      continue;
    bool known = false;
    for (unsigned k = 0; k < count; ++k)
      known |= sectors[k] == sector;
    if (!known)
      sectors[count++] = sector;
  }
  uint64_t total = uint64_t(static_cast<unsigned>(std::popcount(lanes))) * bytes;
  if (isStore) {
    ++counters.globalStoreRequests;
    counters.globalStoreSectors += count;
    counters.globalStoreBytes += total;
  } else {
    ++counters.globalLoadRequests;
    counters.globalLoadSectors += count;
    counters.globalLoadBytes += total;
  }
}

/// Accesses of 8 and 16 bytes are served for half and quarter warps; each such part takes as many wavefronts
/// as the busiest bank has different words.
void Block::countShared(const uint64_t *addresses, uint32_t lanes, unsigned bytes) {
  if (!lanes)
    return;
  unsigned lanesAtOnce = bytes == 16 ? 8 : bytes == 8 ? 16 : 32, wordsOfLane = bytes >= 4 ? bytes / 4 : 1;
  ++counters.sharedRequests;
  for (unsigned first = 0; first < warpSize; first += lanesAtOnce) {
    uint32_t part = lanesAtOnce == 32 ? lanes : lanes >> first & ((1u << lanesAtOnce) - 1);
    if (!part)
      continue;
    uint64_t words[32][32]; // of each bank
    uint8_t used[32] = {};
    unsigned busiest = 1;
    for (uint32_t rest = part; rest; rest &= rest - 1) {
      uint64_t word = addresses[first + static_cast<unsigned>(std::countr_zero(rest))] / 4;
      for (unsigned k = 0; k < wordsOfLane; ++k, ++word) {
        unsigned bank = word & 31, n = used[bank];
        bool known = false;
        for (unsigned j = 0; j < n; ++j)
          known |= words[bank][j] == word;
        if (known)
          continue;
        words[bank][n] = word;
        used[bank] = static_cast<uint8_t>(n + 1);
        busiest = std::max(busiest, n + 1);
      }
    }
    counters.sharedWavefronts += busiest;
    ++counters.sharedIdealWavefronts;
  }
}

} // namespace heddle::cuda_sim
