#include "codegen/package/Pack.h"
#include "ir/PackedLayout.h"
#include <cassert>
#include <cstring>

namespace heddle {

static constexpr int kRows = PackedLayout::kRows;

static uint32_t quadOf(const BlockParts &parts, int element) {
  uint32_t quad;
  std::memcpy(&quad, parts.code + element, 4);
  return quad;
}

static void store32(uint8_t *to, uint32_t value) { std::memcpy(to, &value, 4); }
static void store16(uint8_t *to, uint16_t value) { std::memcpy(to, &value, 2); }

/// Bits `shift` and `shift + 1` of every code: the form of both 2-bit planes.
static void packTwoBitPlane(const BlockParts *rows, int super, int shift, uint8_t *plane) {
  for (int run = 0; run < super; run += 64)
    for (int j = 0; j < 4; ++j, plane += kRows * 4)
      for (int r = 0; r < kRows; ++r) {
        uint32_t word = 0;
        for (int p = 0; p < 4; ++p)
          word |= (quadOf(rows[r], run + 16 * p + 4 * j) >> shift & 0x03030303u) << (2 * p);
        store32(plane + r * 4, word);
      }
}

static void packLowPlane(const BlockScheme &scheme, const BlockParts *rows, uint8_t *plane) {
  if (scheme.lowBits == 2)
    return packTwoBitPlane(rows, scheme.super, 0, plane);
  if (scheme.lowBits == 8) {
    for (int element = 0; element < scheme.super; element += 4, plane += kRows * 4)
      for (int r = 0; r < kRows; ++r)
        store32(plane + r * 4, quadOf(rows[r], element));
    return;
  }
  for (int run = 0; run < scheme.super; run += 32)
    for (int j = 0; j < 4; ++j, plane += kRows * 4)
      for (int r = 0; r < kRows; ++r)
        store32(plane + r * 4, (quadOf(rows[r], run + 4 * j) & 0x0f0f0f0fu) |
                                   (quadOf(rows[r], run + 16 + 4 * j) & 0x0f0f0f0fu) << 4);
}

static void packHighPlane(const BlockScheme &scheme, const BlockParts *rows, uint8_t *plane) {
  if (scheme.highBits == 2)
    return packTwoBitPlane(rows, scheme.super, scheme.lowBits, plane);
  for (int element = 0; element < scheme.super; element += 4, plane += 8) {
    uint64_t mask = 0;
    for (int r = 0; r < kRows; ++r) {
      uint32_t bits = quadOf(rows[r], element) >> scheme.lowBits & 0x01010101u;
      mask |= uint64_t(bits * 0x01020408u >> 24) << (4 * r); // the four bits, byte 0's lowest
    }
    std::memcpy(plane, &mask, 8);
  }
}

static void packSuperBlock(const PackedLayout &layout, const BlockParts *rows, uint8_t *block) {
  const BlockScheme &scheme = layout.scheme;
  packLowPlane(scheme, rows, block);
  if (scheme.highBits != 0)
    packHighPlane(scheme, rows, block + layout.high());
  for (int r = 0; r < kRows; ++r) {
    store16(block + layout.scale() + r * 2, rows[r].scaleF16);
    if (scheme.hasMin)
      store16(block + layout.minimum() + r * 2, rows[r].minimumF16 ^ 0x8000);
    if (scheme.super != 256)
      continue;
    for (int s = 0; s < layout.subBlocks(); ++s) {
      block[layout.subScale() + s * kRows + r] = uint8_t(rows[r].subScale[s]);
      if (scheme.hasMin)
        block[layout.subMinimum() + s * kRows + r] = rows[r].subMinimum[s];
    }
  }
}

static void packDense(int elementBytes, std::span<const std::span<const uint8_t>> rows, int64_t columns,
                      uint8_t *group) {
  std::memset(group, 0, columns * kRows * elementBytes);
  for (size_t r = 0; r < rows.size(); ++r)
    for (int64_t k = 0; k < columns; ++k)
      std::memcpy(group + (k * kRows + r) * elementBytes, rows[r].data() + k * elementBytes, elementBytes);
}

void packGroup(StorageFormat format, std::span<const std::span<const uint8_t>> rows, int64_t columns,
               std::span<uint8_t> group) {
  assert(rows.size() <= size_t(kRows) && group.size() == packedGroupBytes(format, columns));
  const FormatInfo &info = formatInfo(format);
  if (!info.scheme)
    return packDense(info.blockBytes, rows, columns, group.data());
  assert(columns % info.blockElements == 0 && info.blockElements == info.scheme->super);
  PackedLayout layout{*info.scheme};
  BlockParts parts[kRows] = {};
  for (int64_t block = 0; block < columns / info.blockElements; ++block) {
    for (size_t r = 0; r < rows.size(); ++r)
      splitBlock(format, rows[r].subspan(block * info.blockBytes, info.blockBytes), parts[r]);
    packSuperBlock(layout, parts, group.data() + block * layout.bytes());
  }
}

} // namespace heddle
