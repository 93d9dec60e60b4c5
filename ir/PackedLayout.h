// Byte layout of a `w16` super-block (docs/kernel-abi.md, "Packed weights"), for packer and kernel
// generators.
#pragma once
#include "ir/StorageFormat.h"

namespace heddle {

/// Offsets of the parts of one super-block of 16 rows.
struct PackedLayout {
  static constexpr int64_t kRows = 16;
  BlockScheme scheme; // of schemeOf(): the super-block's length is known

  int64_t subBlocks() const { return scheme.super / scheme.sub; }
  int64_t high() const { return kRows * scheme.super * scheme.lowBits / 8; }
  int64_t scale() const { return high() + kRows * scheme.super * scheme.highBits / 8; }
  int64_t minimum() const { return scale() + kRows * 2; }
  int64_t subScale() const { return minimum() + (scheme.hasMin ? kRows * 2 : 0); }
  int64_t subMinimum() const { return subScale() + (scheme.subScales ? kRows * subBlocks() : 0); }
  int64_t bytes() const {
    return subMinimum() + (scheme.subScales && scheme.hasMin ? kRows * subBlocks() : 0);
  }

  /// Elements whose planes can be read together: a run of 2-bit planes is 64 elements, one of the others 32.
  int chunk() const { return scheme.lowBits == 2 || scheme.highBits == 2 ? 64 : 32; }
  int codeBits() const { return scheme.lowBits + scheme.highBits; }
};

/// Byte layout of a panel of `array` output columns for the NPU (docs/npu.md): [columns][array] s8 codes,
/// then a record for each output column, (0, multiplier, shift) of vec_requant.
struct PanelLayout {
  int64_t array, columns;

  /// A sum of products of codes, requantized, is a number in units of the row's amax with so many fraction
  /// bits.
  static constexpr int kFractionBits = 22;
  static constexpr int64_t kRecord = 12;

  int64_t records() const { return columns * array; }
  int64_t bytes() const { return (records() + array * kRecord + 63) / 64 * 64; }
};

/// Byte layout of a row of a table that the NPU looks rows up in. int8: codes, then the scale as s32 with
/// kScaleBits fraction bits; all other formats: f32.
struct GatherLayout {
  bool isCoded;
  int64_t columns;

  static constexpr int kScaleBits = 27;

  static GatherLayout of(StorageFormat format, int64_t columns) {
    return {format == StorageFormat::I8, columns};
  }
  int64_t scale() const { return columns; }
  int64_t stride() const { return ((isCoded ? columns + 4 : columns * 4) + 63) / 64 * 64; }
};

} // namespace heddle
