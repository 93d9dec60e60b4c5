// Storage formats of weights: names, block sizes and decode semantics, in one table.
//
// The reader, the interpreter, the packer and the kernel generators all take them from here. Free of MLIR.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace heddle {

enum class StorageFormat : uint8_t {
  F32,
  F16,
  BF16,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ4_NL,
  IQ4_XS,
  // Heddle's own (docs/quantization.md); those without a number share a scale along the whole row.
  I8,
  I8_MIN,
  I4,
  I4_MIN,
  I4_128,
  I4_MIN_128,
  F8E4M3,
  F8E5M2,
  F8E4M3_128
};
inline constexpr int kStorageFormatCount = 24;

/// How packed codes of a block format turn into numbers (docs/kernel-abi.md, "Packed weights").
struct BlockScheme {
  int lowBits;            // 4, 8 or 2
  int highBits;           // 0, 1 or 2
  int sub;                // elements that share a scale: 16 or 32
  int super;              // elements of a super-block; kWholeRow until schemeOf() knows the row
  bool hasMin;            // w = S * q - M instead of S * (q - zero)
  int zero;               // zero point z of the code
  bool subScales = false; // a super-block has an integer factor (two with hasMin) for each sub-block

  static constexpr int kWholeRow = 0;
};

struct FormatInfo {
  StorageFormat format;
  std::string_view name; // "q4_1", as written in IR
  uint32_t ggufType;     // type id in GGUF files, or kNoGgufType
  int blockElements;     // elements in one block of a file; rows are whole blocks
  int blockBytes;
  std::optional<BlockScheme>
      scheme;       // none for dense formats; code books (iq4) become 8-bit codes with zero 128
  int rowBytes = 0; // before the blocks of each row: its scale (and minimum)

  static constexpr uint32_t kNoGgufType = 0xffffffff;
};

const FormatInfo &formatInfo(StorageFormat format);
std::optional<StorageFormat> formatByName(std::string_view name);
std::optional<StorageFormat> formatByGgufType(uint32_t type);

/// The scheme of a block format for rows of `columns` elements: what spans the whole row has its length.
BlockScheme schemeOf(StorageFormat format, int64_t columns);

/// Bytes of one element of a dense format, scales not counted.
int denseBytes(StorageFormat format);
/// Elements along a row of `columns` that share an f32 scale in a dense format; 0: it has no scales.
int64_t denseScaleSpan(StorageFormat format, int64_t columns);

/// Bytes of `elements` consecutive elements of one row, a multiple of blockElements; for a format with
/// rowBytes those of one whole row.
uint64_t storedBytes(StorageFormat format, uint64_t elements);

/// Decodes consecutive blocks, or one row of a format with rowBytes, bit-equal to the `gguf` package's
/// dequantize: one f32 rounding per operation in its order. `stored.size()` must be storedBytes(format,
/// out.size()).
void decode(StorageFormat format, std::span<const uint8_t> stored, std::span<float> out);

/// The parts of one stored block along a row, before any multiplication: what packer and interpreter work on.
struct BlockParts {
  uint8_t code[256]; // q, zero point included; for code books the table's value plus zero
  float scale;       // d as f32 (exact from f16)
  float minimum;     // M (of sub-minimum 1) as f32: dmin, or -m where the file adds its m; 0 without
  uint16_t scaleF16, minimumF16; // the same two as f16 bits (-m is m with the sign bit flipped)
  int8_t subScale[16];           // factor of d per sub-block; 1 without sub-scales
  uint8_t subMinimum[16];        // factor of dmin per sub-block; 1 without sub-scales, 0 without a minimum
};

/// Takes block number `index` of a stored row of `format` (which has a scheme) apart.
void splitBlock(StorageFormat format, std::span<const uint8_t> row, int64_t index, BlockParts &parts);

/// Bytes of a `w16` row group (16 rows by `columns`) of a packed format, dense ones included.
uint64_t packedGroupBytes(StorageFormat packed, int64_t columns);

float halfToFloat(uint16_t bits);
/// Rounds half to even; what is too large becomes infinite.
uint16_t floatToHalf(float value);
/// The value of an f8e4m3 or f8e5m2 code. The NaN code of e4m3 counts as 480, so that no weight is NaN by
/// accident.
float decodeF8(StorageFormat format, uint8_t code);

} // namespace heddle
