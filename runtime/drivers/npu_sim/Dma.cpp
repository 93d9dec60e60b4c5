#include "drivers/npu_sim/Units.h"
#include <algorithm>
#include <cstring>

namespace heddle::npu_sim {

std::byte *Dram::find(int64_t address, uint64_t size, bool writes) const {
  for (const Region &region : regions) {
    uint64_t offset = static_cast<uint64_t>(address) - region.address;
    if (offset > region.size || size > region.size - offset)
      continue;
    if (writes && !region.writable)
      throw Failure{Problem::Kind::OutOfBounds,
                    "a write to DRAM address " + std::to_string(address) + ", which may only be read"};
    return region.host + offset;
  }
  throw Failure{Problem::Kind::OutOfBounds, std::to_string(size) + " bytes at DRAM address " +
                                                std::to_string(address) +
                                                " lie in no memory that the launch was given"};
}

namespace {

struct Mover {
  Context &context;
  bool toChip;

  void operator()(int64_t chip, int64_t dram, uint64_t size) const {
    context.budget.take(size);
    if (toChip) {
      const std::byte *from = context.dram.read(dram, size);
      std::memcpy(context.chip.write(context.who, chip, size), from, size);
    } else {
      const std::byte *from = context.chip.read(context.who, chip, size);
      std::memcpy(context.dram.write(dram, size), from, size);
    }
    context.noteBanks(chip, chip + size - 1);
    (toChip ? context.counts.bytesLoaded : context.counts.bytesStored) += size;
  }
};

/// Address arithmetic modulo 2^64, as registers do.
int64_t offsetBy(int64_t address, int64_t index, int64_t stride) {
  return static_cast<int64_t>(static_cast<uint64_t>(address) +
                              static_cast<uint64_t>(index) * static_cast<uint64_t>(stride));
}

Duration cycles(uint64_t runBytes, uint64_t runs, const Machine &machine) {
  return {4 + divideUp(runs * divideUp(runBytes, 16) * 16, machine.dma_bytes), machine.dma_latency};
}

} // namespace

static Duration moveTile(const Resolved &c, Context &context) {
  Mover move{context, c.info->opcode == HEDDLE_NPU_DMA_LOAD};
  int64_t n0 = c[HEDDLE_NPU_DMA_LOAD_FIELD_N0], n1 = c[HEDDLE_NPU_DMA_LOAD_FIELD_N1];
  int64_t n2 = c[HEDDLE_NPU_DMA_LOAD_FIELD_N2];
  if (n0 == 0 || n1 == 0 || n2 == 0)
    return {1};
  for (int64_t i2 = 0; i2 < n2; ++i2)
    for (int64_t i1 = 0; i1 < n1; ++i1)
      move(c[HEDDLE_NPU_DMA_LOAD_FIELD_CHIP] + i1 * c[HEDDLE_NPU_DMA_LOAD_FIELD_CHIP_S1] +
               i2 * c[HEDDLE_NPU_DMA_LOAD_FIELD_CHIP_S2],
           offsetBy(offsetBy(c[HEDDLE_NPU_DMA_LOAD_FIELD_DRAM], i1, c[HEDDLE_NPU_DMA_LOAD_FIELD_DRAM_S1]), i2,
                    c[HEDDLE_NPU_DMA_LOAD_FIELD_DRAM_S2]),
           n0);
  return cycles(n0, n1 * n2, context.machine);
}

static Duration moveRows(const Resolved &c, Context &context) {
  Mover move{context, c.info->opcode == HEDDLE_NPU_DMA_GATHER};
  int64_t n0 = c[HEDDLE_NPU_DMA_GATHER_FIELD_N0], n1 = c[HEDDLE_NPU_DMA_GATHER_FIELD_N1];
  if (n0 == 0 || n1 == 0)
    return {1};
  int64_t index = c[HEDDLE_NPU_DMA_GATHER_FIELD_INDEX];
  checkAligned(index, 0, 1, 4, "index");
  std::vector<int32_t> rows(n1); // read before anything is moved over them
  std::memcpy(rows.data(), context.chip.read(context.who, index, n1 * 4), n1 * 4);
  context.noteBanks(index, index + n1 * 4 - 1);
  int64_t last = c[HEDDLE_NPU_DMA_GATHER_FIELD_ROWS] - 1;
  for (int64_t i = 0; i < n1; ++i)
    move(c[HEDDLE_NPU_DMA_GATHER_FIELD_CHIP] + i * c[HEDDLE_NPU_DMA_GATHER_FIELD_CHIP_S1],
         offsetBy(c[HEDDLE_NPU_DMA_GATHER_FIELD_DRAM], std::clamp<int64_t>(rows[i], 0, last),
                  c[HEDDLE_NPU_DMA_GATHER_FIELD_DRAM_S1]),
         n0);
  return cycles(n0, n1, context.machine);
}

Duration executeDma(const Resolved &command, Context &context) {
  bool indexed =
      command.info->opcode == HEDDLE_NPU_DMA_GATHER || command.info->opcode == HEDDLE_NPU_DMA_SCATTER;
  return indexed ? moveRows(command, context) : moveTile(command, context);
}

} // namespace heddle::npu_sim
