#include "drivers/cuda_sim/SharedMemory.h"

namespace heddle::cuda_sim {

namespace {

// A stamp is lane | warp << 5 | strong << 10 | time << 11; times start at 1.
constexpr uint32_t never = 0, mixed = ~0u, pending = ~0u - 1;
constexpr uint32_t timeLimit = (1u << 21) - 2; // later accesses count as made at this time

uint32_t stampOf(const Accessor &by) {
  uint32_t time = by.seen[by.warp] < timeLimit ? by.seen[by.warp] : timeLimit - 1;
  return by.lane | by.warp << 5 | uint32_t(by.strong) << 10 | time << 11;
}

/// Whether the access that left the stamp happened before this one, or both are atomic.
bool isOrdered(uint32_t stamp, const Accessor &by) {
  uint32_t warp = stamp >> 5 & 31, time = stamp >> 11;
  if (warp != by.warp)
    return time <= by.seen[warp] || ((stamp >> 10 & 1) && by.strong);
  return (stamp & 31) == by.lane || time < by.seen[warp] || ((stamp >> 10 & 1) && by.strong);
}

void fill(Conflict &conflict, ProblemKind kind, const char *what, uint32_t stamp, uint32_t place) {
  conflict = {kind, what, stamp >> 5 & 31, stamp & 31, place};
}

} // namespace

void SharedMemory::Cells::resize(size_t count) {
  writer.assign(count, never);
  readerA.assign(count, never);
  readerB.assign(count, never);
  for (std::vector<uint32_t> *places : {&place, &placeA, &placeB})
    places->assign(count, ~0u);
}

void SharedMemory::Cells::copy(size_t to, const Cells &from, size_t index) {
  writer[to] = from.writer[index];
  readerA[to] = from.readerA[index];
  readerB[to] = from.readerB[index];
  place[to] = from.place[index];
  placeA[to] = from.placeA[index];
  placeB[to] = from.placeB[index];
}

void SharedMemory::reset(const Kernel &kernel, uint64_t dynamicBytes, bool shadow) {
  ranges = kernel.sharedVariables;
  if (dynamicBytes)
    ranges.push_back({kernel.sharedBytes, kernel.sharedBytes + dynamicBytes});
  uint64_t size = ranges.empty() ? 0 : ranges.back().end;
  data.assign((size + 15) / 16 * 16, std::byte(0xcd));
  lastRange = 0;
  hasShadow = shadow;
  if (shadow)
    words.resize(data.size() / 4);
  hasBytes = false;
}

bool SharedMemory::contains(uint64_t address, uint64_t size) {
  auto holds = [&](const Kernel::Range &range) {
    return address >= range.begin && address <= range.end && size <= range.end - address;
  };
  if (lastRange < ranges.size() && holds(ranges[lastRange]))
    return true;
  for (size_t i = 0; i < ranges.size(); ++i)
    if (holds(ranges[i])) {
      lastRange = i;
      return true;
    }
  return false;
}

/// From here on the bytes of this word are followed one by one.
void SharedMemory::split(size_t word) {
  if (words.writer[word] == mixed)
    return;
  if (!hasBytes) {
    bytes.resize(data.size());
    hasBytes = true;
  }
  for (size_t byte = 0; byte < 4; ++byte)
    bytes.copy(word * 4 + byte, words, word);
  words.writer[word] = mixed;
}

bool SharedMemory::readCell(Cells &cells, size_t index, const Accessor &by, uint32_t stamp,
                            bool checkUnwritten, Conflict &conflict) {
  uint32_t writer = cells.writer[index];
  bool fine = true;
  if (writer == never) {
    if (checkUnwritten) {
      fill(conflict, ProblemKind::UnwrittenRead, "reads shared memory that nobody has written", stamp, ~0u);
      fine = false;
    }
  } else if (writer == pending) {
    fill(conflict, ProblemKind::PendingCopy, "reads the target of a cp.async that was not waited for", stamp,
         cells.place[index]);
    fine = false;
  } else if (!isOrdered(writer, by)) {
    fill(conflict, ProblemKind::Race, "reads what another thread wrote", writer, cells.place[index]);
    fine = false;
  }
  // The last readers of two different warps are kept.
  auto isOther = [&](uint32_t stamp) { return stamp != never && (stamp >> 5 & 31) != by.warp; };
  uint32_t first = cells.readerA[index];
  bool takesFirst = !isOther(first) || (isOther(cells.readerB[index]) && isOrdered(first, by));
  (takesFirst ? cells.readerA : cells.readerB)[index] = stamp;
  (takesFirst ? cells.placeA : cells.placeB)[index] = by.place;
  return fine;
}

bool SharedMemory::writeCell(Cells &cells, size_t index, const Accessor &by, uint32_t stamp, bool isSame,
                             bool isCopy, Conflict &conflict) {
  uint32_t writer = cells.writer[index];
  bool fine = true;
  if (writer == pending) {
    fill(conflict, ProblemKind::PendingCopy, "writes the target of a cp.async that was not waited for", stamp,
         cells.place[index]);
    fine = false;
  } else if (writer != never && !isSame && !isOrdered(writer, by)) {
    fill(conflict, ProblemKind::Race, "writes what another thread wrote", writer, cells.place[index]);
    fine = false;
  } else {
    const std::pair<uint32_t, uint32_t> readers[] = {{cells.readerA[index], cells.placeA[index]},
                                                     {cells.readerB[index], cells.placeB[index]}};
    for (auto [reader, place] : readers)
      if (reader != never && !isSame && !isOrdered(reader, by)) {
        fill(conflict, ProblemKind::Race, "writes what another thread reads", reader, place);
        fine = false;
      }
  }
  cells.writer[index] = isCopy ? pending : stamp;
  cells.readerA[index] = cells.readerB[index] = never;
  cells.place[index] = by.place;
  return fine;
}

bool SharedMemory::noteRead(const Accessor &by, uint64_t address, uint64_t size, bool checkUnwritten,
                            Conflict &conflict) {
  if (!hasShadow)
    return true;
  uint32_t stamp = stampOf(by);
  bool fine = true;
  for (uint64_t end = address + size; address < end;) {
    size_t word = address / 4;
    bool whole = address % 4 == 0 && end - address >= 4;
    if (whole && words.writer[word] != mixed) {
      fine &= readCell(words, word, by, stamp, checkUnwritten, conflict);
      address += 4;
      continue;
    }
    split(word);
    for (; address < end && address / 4 == word; ++address)
      fine &= readCell(bytes, address, by, stamp, checkUnwritten, conflict);
  }
  return fine;
}

bool SharedMemory::noteWrite(const Accessor &by, uint64_t address, uint64_t size, const std::byte *value,
                             Conflict &conflict) {
  if (!hasShadow)
    return true;
  uint32_t stamp = stampOf(by);
  bool fine = true, isCopy = !value;
  const uint64_t begin = address;
  for (uint64_t end = address + size; address < end;) {
    size_t word = address / 4;
    bool whole = address % 4 == 0 && end - address >= 4;
    if (whole && words.writer[word] != mixed) {
      bool isSame = value && std::memcmp(value + (address - begin), data.data() + address, 4) == 0;
      fine &= writeCell(words, word, by, stamp, isSame, isCopy, conflict);
      address += 4;
      continue;
    }
    split(word);
    for (; address < end && address / 4 == word; ++address) {
      bool isSame = value && value[address - begin] == data[address];
      fine &= writeCell(bytes, address, by, stamp, isSame, isCopy, conflict);
    }
    if (whole)
      words.copy(word, bytes, word * 4);
  }
  return fine;
}

void SharedMemory::land(const Accessor &by, uint64_t address, uint64_t size) {
  if (!hasShadow)
    return;
  uint32_t stamp = stampOf(by);
  for (uint64_t end = address + size; address < end; ++address) {
    size_t word = address / 4;
    Cells &cells = words.writer[word] == mixed ? bytes : words;
    size_t index = words.writer[word] == mixed ? address : word;
    if (cells.writer[index] == pending)
      cells.writer[index] = stamp;
  }
}

} // namespace heddle::cuda_sim
