#include "drivers/npu_sim/ChipMemory.h"
#include <algorithm>

namespace heddle::npu_sim {

ChipMemory::ChipMemory(const Machine &machine)
    : bankBytes(machine.bank_bytes), scratchpadBytes(uint64_t{machine.bank_bytes} * machine.scratchpad_banks),
      accumulatorBytes(uint64_t{machine.bank_bytes} * machine.accumulator_banks),
      bytes(scratchpadBytes + accumulatorBytes), writer(bytes.size()), writerQueue(bytes.size()) {
  for (auto &numbers : reader)
    numbers.resize(bytes.size());
}

uint32_t ChipMemory::startRun() {
  if (base > UINT32_MAX / 2) { // before numbers run out
    std::fill(writer.begin(), writer.end(), 0);
    for (auto &numbers : reader)
      std::fill(numbers.begin(), numbers.end(), 0);
    base = 0;
  }
  return base;
}

static std::string hex(int64_t value) {
  char text[24];
  snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

uint64_t ChipMemory::locate(int64_t address, uint64_t size) const {
  bool accumulator = isAccumulator(address);
  uint64_t offset = address - (accumulator ? int64_t{HEDDLE_NPU_ACCUMULATORS} : 0);
  uint64_t limit = accumulator ? accumulatorBytes : scratchpadBytes;
  if (address < 0 || offset > limit || size > limit - offset)
    throw Failure{Problem::Kind::OutOfBounds, std::to_string(size) + " bytes at on-chip address " +
                                                  hex(address) + " leave the " +
                                                  (accumulator ? "accumulators" : "scratchpad") + " of " +
                                                  std::to_string(limit) + " bytes"};
  return offset + (accumulator ? scratchpadBytes : 0);
}

uint64_t ChipMemory::banks(int64_t first, int64_t last) const {
  uint64_t from = locate(first, 1) / bankBytes, to = locate(last, 1) / bankBytes;
  return ((uint64_t{2} << to) - 1) & ~((uint64_t{1} << from) - 1);
}

static const char *queueName(int queue) {
  return queue == HEDDLE_NPU_QUEUE_DMA ? "dma" : queue == HEDDLE_NPU_QUEUE_ARRAY ? "array" : "vector";
}

static Failure race(const char *what, int other, int64_t address, const char *remedy) {
  return {Problem::Kind::Race, std::string(what) + " of the byte at on-chip address " + hex(address) +
                                   " is not ordered after queue '" + queueName(other) + "', which " + remedy};
}

const std::byte *ChipMemory::read(const Accessor &who, int64_t address, uint64_t size) {
  uint64_t begin = locate(address, size);
  const uint32_t *writers = writer.data() + begin;
  const uint8_t *queues = writerQueue.data() + begin;
  for (uint64_t i = 0; i < size; ++i) {
    if (writers[i] <= base)
      throw Failure{
          Problem::Kind::UnwrittenRead,
          "the byte at on-chip address " + hex(address + i) +
              " is not written: by no command, or by another queue's, for which this one does not wait"};
    if (queues[i] != who.queue && writers[i] > (*who.clock)[queues[i]])
      throw race("a read", queues[i], address + i, "writes it: its data may not be there yet");
  }
  std::fill_n(reader[who.queue].begin() + begin, size, who.number);
  return bytes.data() + begin;
}

std::byte *ChipMemory::write(const Accessor &who, int64_t address, uint64_t size) {
  uint64_t begin = locate(address, size);
  const uint32_t *writers = writer.data() + begin;
  const uint8_t *queues = writerQueue.data() + begin;
  for (uint64_t i = 0; i < size; ++i)
    if (writers[i] > base && queues[i] != who.queue && writers[i] > (*who.clock)[queues[i]])
      throw race("a write", queues[i], address + i, "writes it as well: live buffers overlap");
  for (int queue = 0; queue < 3; ++queue) {
    if (queue == who.queue)
      continue;
    uint32_t known = (*who.clock)[queue];
    const uint32_t *readers = reader[queue].data() + begin;
    for (uint64_t i = 0; i < size; ++i)
      if (readers[i] > known)
        throw race("a write", queue, address + i, "reads it: live buffers overlap");
  }
  std::fill_n(writer.begin() + begin, size, who.number);
  std::fill_n(writerQueue.begin() + begin, size, who.queue);
  return bytes.data() + begin;
}

} // namespace heddle::npu_sim
