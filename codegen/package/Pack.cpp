#include "codegen/package/Pack.h"
#include "ir/PackedLayout.h"
#include <algorithm>
#include <cassert>
#include <cmath>
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
static void packTwoBitPlane(const BlockParts *rows, int elements, int shift, uint8_t *plane) {
  for (int run = 0; run < elements; run += 64)
    for (int j = 0; j < 4; ++j, plane += kRows * 4)
      for (int r = 0; r < kRows; ++r) {
        uint32_t word = 0;
        for (int p = 0; p < 4; ++p)
          word |= (quadOf(rows[r], run + 16 * p + 4 * j) >> shift & 0x03030303u) << (2 * p);
        store32(plane + r * 4, word);
      }
}

static void packLowPlane(const BlockScheme &scheme, const BlockParts *rows, int elements, uint8_t *plane) {
  if (scheme.lowBits == 2)
    return packTwoBitPlane(rows, elements, 0, plane);
  if (scheme.lowBits == 8) {
    for (int element = 0; element < elements; element += 4, plane += kRows * 4)
      for (int r = 0; r < kRows; ++r)
        store32(plane + r * 4, quadOf(rows[r], element));
    return;
  }
  for (int run = 0; run < elements; run += 32)
    for (int j = 0; j < 4; ++j, plane += kRows * 4)
      for (int r = 0; r < kRows; ++r)
        store32(plane + r * 4, (quadOf(rows[r], run + 4 * j) & 0x0f0f0f0fu) |
                                   (quadOf(rows[r], run + 16 + 4 * j) & 0x0f0f0f0fu) << 4);
}

static void packHighPlane(const BlockScheme &scheme, const BlockParts *rows, int elements, uint8_t *plane) {
  if (scheme.highBits == 2)
    return packTwoBitPlane(rows, elements, scheme.lowBits, plane);
  for (int element = 0; element < elements; element += 4, plane += 8) {
    uint64_t mask = 0;
    for (int r = 0; r < kRows; ++r) {
      uint32_t bits = quadOf(rows[r], element) >> scheme.lowBits & 0x01010101u;
      mask |= uint64_t(bits * 0x01020408u >> 24) << (4 * r); // the four bits, byte 0's lowest
    }
    std::memcpy(plane, &mask, 8);
  }
}

static void packFactors(const PackedLayout &layout, const BlockParts *rows, uint8_t *super) {
  const BlockScheme &scheme = layout.scheme;
  for (int r = 0; r < kRows; ++r) {
    store16(super + layout.scale() + r * 2, rows[r].scaleF16);
    if (scheme.hasMin)
      store16(super + layout.minimum() + r * 2, rows[r].minimumF16 ^ 0x8000);
    if (!scheme.subScales)
      continue;
    for (int s = 0; s < layout.subBlocks(); ++s) {
      super[layout.subScale() + s * kRows + r] = uint8_t(rows[r].subScale[s]);
      if (scheme.hasMin)
        super[layout.subMinimum() + s * kRows + r] = rows[r].subMinimum[s];
    }
  }
}

/// Codes as they are, then the f32 scales of each span of columns, by row.
static void packF8(StorageFormat format, std::span<const std::span<const uint8_t>> rows, int64_t columns,
                   uint8_t *group) {
  const int64_t span = denseScaleSpan(format, columns);
  // Kernels turn e4m3 into an f16 whose exponent is 8 less.
  const float factor = format == StorageFormat::F8E5M2 ? 1 : 256;
  for (size_t r = 0; r < rows.size(); ++r) {
    const uint8_t *stored = rows[r].data();
    for (int64_t first = 0; first < columns; first += span, stored += span) {
      float scale;
      std::memcpy(&scale, stored, 4);
      scale *= factor;
      std::memcpy(group + (columns + first / span * 4) * kRows + r * 4, &scale, 4);
      stored += 4;
      for (int64_t k = 0; k < span; ++k)
        group[(first + k) * kRows + r] = stored[k];
    }
  }
}

static void packDense(int elementBytes, std::span<const std::span<const uint8_t>> rows, int64_t columns,
                      uint8_t *group) {
  for (size_t r = 0; r < rows.size(); ++r)
    for (int64_t k = 0; k < columns; ++k)
      std::memcpy(group + (k * kRows + r) * elementBytes, rows[r].data() + k * elementBytes, elementBytes);
}

void packGroup(StorageFormat format, std::span<const std::span<const uint8_t>> rows, int64_t columns,
               std::span<uint8_t> group) {
  assert(rows.size() <= size_t(kRows) && group.size() == packedGroupBytes(format, columns));
  const FormatInfo &info = formatInfo(format);
  if (!info.scheme) {
    std::memset(group.data(), 0, group.size());
    if (denseScaleSpan(format, columns))
      return packF8(format, rows, columns, group.data());
    return packDense(info.blockBytes, rows, columns, group.data());
  }
  const PackedLayout layout{schemeOf(format, columns)};
  const BlockScheme &scheme = layout.scheme;
  assert(columns % scheme.super == 0 && scheme.super % info.blockElements == 0);
  const int elements = info.blockElements, blocksPerSuper = scheme.super / elements;
  BlockParts parts[kRows] = {};
  for (int64_t block = 0; block < columns / elements; ++block) {
    for (size_t r = 0; r < rows.size(); ++r)
      splitBlock(format, rows[r], block, parts[r]);
    const int64_t inSuper = block % blocksPerSuper, before = inSuper * elements * kRows;
    uint8_t *super = group.data() + block / blocksPerSuper * layout.bytes();
    packLowPlane(scheme, parts, elements, super + before * scheme.lowBits / 8);
    if (scheme.highBits != 0)
      packHighPlane(scheme, parts, elements, super + layout.high() + before * scheme.highBits / 8);
    if (inSuper == 0)
      packFactors(layout, parts, super);
  }
}

void packPanel(const PanelLayout &layout, std::span<const std::span<const uint8_t>> rows,
               std::span<uint8_t> panel) {
  std::memset(panel.data(), 0, panel.size());
  BlockParts parts;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (int64_t k = 0; k < layout.columns; ++k) {
      if (k % 32 == 0)
        splitBlock(StorageFormat::I8, rows[r], k / 32, parts);
      panel[k * layout.array + r] = uint8_t(parts.code[k % 32] - 128);
    }
    // The activations' scale is amax / 127: the 127 is here.
    int exponent = 0;
    double scale = std::frexp(double(parts.scale) / 127, &exponent);
    int shift = std::min(30 - PanelLayout::kFractionBits - exponent, 62);
    uint8_t *record = panel.data() + layout.records() + r * PanelLayout::kRecord;
    if (scale != 0) {
      store32(record + 4,
              uint32_t(std::lrint(std::ldexp(scale, exponent + PanelLayout::kFractionBits + shift))));
      store32(record + 8, shift);
    }
  }
}

void packGatherRow(StorageFormat format, const GatherLayout &layout, std::span<const uint8_t> row,
                   std::span<uint8_t> packed) {
  std::memset(packed.data(), 0, packed.size());
  if (!layout.isCoded)
    return decode(format, row, {reinterpret_cast<float *>(packed.data()), size_t(layout.columns)});
  BlockParts parts;
  for (int64_t k = 0; k < layout.columns; ++k) {
    if (k % 32 == 0)
      splitBlock(format, row, k / 32, parts);
    packed[k] = uint8_t(parts.code[k % 32] - 128);
  }
  double scale = std::ldexp(double(parts.scale), GatherLayout::kScaleBits);
  store32(packed.data() + layout.scale(), uint32_t(int32_t(std::clamp(scale, -2147483648.0, 2147483647.0))));
}

} // namespace heddle
