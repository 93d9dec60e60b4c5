#include "ir/StorageFormat.h"

#include <array>
#include <bit>
#include <cassert>
#include <cstring>

// Decoding is defined as one f32 rounding per operation, so products and sums must not fuse.
#pragma STDC FP_CONTRACT OFF

namespace heddle {
namespace {

constexpr BlockScheme kQ4_0{4, 0, 32, 32, false, 8};
constexpr BlockScheme kQ4_1{4, 0, 32, 32, true, 0};
constexpr BlockScheme kQ5_0{4, 1, 32, 32, false, 16};
constexpr BlockScheme kQ5_1{4, 1, 32, 32, true, 0};
constexpr BlockScheme kBytes{8, 0, 32, 32, false, 128};
constexpr BlockScheme kQ2_K{2, 0, 16, 256, true, 0, true};
constexpr BlockScheme kQ3_K{2, 1, 16, 256, false, 4, true};
constexpr BlockScheme kQ4_K{4, 0, 32, 256, true, 0, true};
constexpr BlockScheme kQ5_K{4, 1, 32, 256, true, 0, true};
constexpr BlockScheme kQ6_K{4, 2, 16, 256, false, 32, true};
constexpr BlockScheme kSuperBytes{8, 0, 32, 256, false, 128, true};

constexpr int kWholeRow = BlockScheme::kWholeRow;
constexpr BlockScheme kInt8{8, 0, 32, kWholeRow, false, 128};
constexpr BlockScheme kInt8Min{8, 0, 32, kWholeRow, true, 0};
constexpr BlockScheme kInt4{4, 0, 32, kWholeRow, false, 8};
constexpr BlockScheme kInt4Min{4, 0, 32, kWholeRow, true, 0};
constexpr BlockScheme kInt4_128{4, 0, 32, 128, false, 8};
constexpr BlockScheme kInt4Min_128{4, 0, 32, 128, true, 0};
constexpr uint32_t kOurs = FormatInfo::kNoGgufType;

constexpr std::array<FormatInfo, kStorageFormatCount> kFormats{{
    {StorageFormat::F32, "f32", 0, 1, 4, std::nullopt},
    {StorageFormat::F16, "f16", 1, 1, 2, std::nullopt},
    {StorageFormat::BF16, "bf16", 30, 1, 2, std::nullopt},
    {StorageFormat::Q4_0, "q4_0", 2, 32, 18, kQ4_0},
    {StorageFormat::Q4_1, "q4_1", 3, 32, 20, kQ4_1},
    {StorageFormat::Q5_0, "q5_0", 6, 32, 22, kQ5_0},
    {StorageFormat::Q5_1, "q5_1", 7, 32, 24, kQ5_1},
    {StorageFormat::Q8_0, "q8_0", 8, 32, 34, kBytes},
    {StorageFormat::Q2_K, "q2_k", 10, 256, 84, kQ2_K},
    {StorageFormat::Q3_K, "q3_k", 11, 256, 110, kQ3_K},
    {StorageFormat::Q4_K, "q4_k", 12, 256, 144, kQ4_K},
    {StorageFormat::Q5_K, "q5_k", 13, 256, 176, kQ5_K},
    {StorageFormat::Q6_K, "q6_k", 14, 256, 210, kQ6_K},
    {StorageFormat::IQ4_NL, "iq4_nl", 20, 32, 18, kBytes},
    {StorageFormat::IQ4_XS, "iq4_xs", 23, 256, 136, kSuperBytes},
    {StorageFormat::I8, "int8", kOurs, 32, 32, kInt8, 2},
    {StorageFormat::I8_MIN, "int8_min", kOurs, 32, 32, kInt8Min, 4},
    {StorageFormat::I4, "int4", kOurs, 32, 16, kInt4, 2},
    {StorageFormat::I4_MIN, "int4_min", kOurs, 32, 16, kInt4Min, 4},
    {StorageFormat::I4_128, "int4_128", kOurs, 128, 66, kInt4_128},
    {StorageFormat::I4_MIN_128, "int4_min_128", kOurs, 128, 68, kInt4Min_128},
    {StorageFormat::F8E4M3, "f8e4m3", kOurs, 1, 1, std::nullopt, 4},
    {StorageFormat::F8E5M2, "f8e5m2", kOurs, 1, 1, std::nullopt, 4},
    {StorageFormat::F8E4M3_128, "f8e4m3_128", kOurs, 128, 132, std::nullopt},
}};

/// The code book of iq4_nl and iq4_xs.
constexpr std::array<int8_t, 16> kCodeBook{-127, -104, -83, -65, -49, -35, -22, -10,
                                           1,    13,   25,  38,  53,  69,  89,  113};

uint16_t load16(const uint8_t *bytes) { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }

uint32_t load32(const uint8_t *bytes) {
  return load16(bytes) | static_cast<uint32_t>(load16(bytes + 2)) << 16;
}

void setScale(BlockParts &parts, const uint8_t *bytes) {
  parts.scaleF16 = load16(bytes);
  parts.scale = halfToFloat(parts.scaleF16);
}

void setMinimum(BlockParts &parts, uint16_t bits) {
  parts.minimumF16 = bits;
  parts.minimum = halfToFloat(bits);
}

/// 16 bytes of nibbles: the low ones are elements 0..15, the high ones 16..31.
void splitNibbles(const uint8_t *bytes, uint8_t *code) {
  for (int j = 0; j < 16; ++j) {
    code[j] = bytes[j] & 15;
    code[j + 16] = bytes[j] >> 4;
  }
}

void addFifthBits(uint32_t bits, uint8_t *code) {
  for (int j = 0; j < 32; ++j)
    code[j] |= static_cast<uint8_t>((bits >> j & 1) << 4);
}

/// The 6-bit scales and minima of q4_k and q5_k, eight each in 12 bytes.
void splitScales6(const uint8_t *bytes, BlockParts &parts) {
  for (int g = 0; g < 4; ++g) {
    parts.subScale[g] = static_cast<int8_t>(bytes[g] & 63);
    parts.subMinimum[g] = bytes[g + 4] & 63;
    parts.subScale[g + 4] = static_cast<int8_t>((bytes[g + 8] & 15) | bytes[g] >> 6 << 4);
    parts.subMinimum[g + 4] = static_cast<uint8_t>(bytes[g + 8] >> 4 | bytes[g + 4] >> 6 << 4);
  }
}

void splitQ2K(const uint8_t *block, BlockParts &parts) {
  const uint8_t *scales = block, *quants = block + 16;
  setScale(parts, block + 80);
  setMinimum(parts, load16(block + 82));
  for (int g = 0; g < 16; ++g) {
    parts.subScale[g] = scales[g] & 15;
    parts.subMinimum[g] = scales[g] >> 4;
  }
  for (int e = 0; e < 256; ++e)
    parts.code[e] = quants[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
}

void splitQ3K(const uint8_t *block, BlockParts &parts) {
  const uint8_t *high = block, *quants = block + 32, *scales = block + 96;
  setScale(parts, block + 108);
  for (int g = 0; g < 16; ++g) {
    int low4 = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
    int high2 = scales[8 + g % 4] >> (g / 4 * 2) & 3;
    parts.subScale[g] = static_cast<int8_t>((low4 | high2 << 4) - 32);
  }
  for (int e = 0; e < 256; ++e) {
    int low2 = quants[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
    int bit = high[e % 32] >> (e / 32) & 1;
    parts.code[e] = static_cast<uint8_t>(low2 | bit << 2);
  }
}

void splitQ45K(const uint8_t *block, const uint8_t *high, const uint8_t *quants, BlockParts &parts) {
  setScale(parts, block);
  setMinimum(parts, load16(block + 2));
  splitScales6(block + 4, parts);
  for (int e = 0; e < 256; ++e) {
    int code = quants[e / 64 * 32 + e % 32] >> (e / 32 % 2 * 4) & 15;
    if (high)
      code |= (high[e % 32] >> (e / 32) & 1) << 4;
    parts.code[e] = static_cast<uint8_t>(code);
  }
}

void splitQ6K(const uint8_t *block, BlockParts &parts) {
  const uint8_t *low = block, *high = block + 128, *scales = block + 192;
  setScale(parts, block + 208);
  for (int g = 0; g < 16; ++g)
    parts.subScale[g] = static_cast<int8_t>(scales[g]);
  for (int e = 0; e < 256; ++e) {
    int half = e / 128, run = e % 128 / 32, lane = e % 32;
    int low4 = low[half * 64 + run % 2 * 32 + lane] >> (run / 2 * 4) & 15;
    int high2 = high[half * 32 + lane] >> (run * 2) & 3;
    parts.code[e] = static_cast<uint8_t>(low4 | high2 << 4);
  }
}

void splitIQ4XS(const uint8_t *block, BlockParts &parts) {
  setScale(parts, block);
  uint16_t high = load16(block + 2);
  const uint8_t *low = block + 4, *quants = block + 8;
  for (int g = 0; g < 8; ++g) {
    int scale = (low[g / 2] >> (g % 2 * 4) & 15) | (high >> (g * 2) & 3) << 4;
    parts.subScale[g] = static_cast<int8_t>(scale - 32);
    splitNibbles(quants + g * 16, parts.code + g * 32);
  }
}

void lookUpCodes(uint8_t *code, int count) {
  for (int j = 0; j < count; ++j)
    code[j] = static_cast<uint8_t>(kCodeBook[code[j]] + 128);
}

/// Scale, and minimum of a format that has one, as Heddle's own formats begin with them: M itself, not
/// negated.
void setOwnFactors(StorageFormat format, const uint8_t *bytes, BlockParts &parts) {
  setScale(parts, bytes);
  if (!formatInfo(format).scheme->hasMin)
    return;
  setMinimum(parts, load16(bytes + 2));
  parts.subMinimum[0] = 1;
}

void decodeF8Row(StorageFormat format, const uint8_t *stored, std::span<float> out) {
  const int64_t span = denseScaleSpan(format, out.size());
  for (size_t done = 0; done < out.size(); done += span, stored += span) {
    float scale;
    std::memcpy(&scale, stored, 4);
    stored += 4;
    for (int64_t j = 0; j < span; ++j)
      out[done + j] = scale * decodeF8(format, stored[j]);
  }
}

void decodeDense(StorageFormat format, const uint8_t *stored, std::span<float> out) {
  if (format == StorageFormat::F32) {
    static_assert(std::endian::native == std::endian::little);
    std::memcpy(out.data(), stored, out.size() * 4);
    return;
  }
  if (denseBytes(format) == 1)
    return decodeF8Row(format, stored, out);
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits = load16(stored + 2 * i);
    out[i] = format == StorageFormat::F16 ? halfToFloat(bits) : std::bit_cast<float>(uint32_t(bits) << 16);
  }
}

} // namespace

const FormatInfo &formatInfo(StorageFormat format) {
  const FormatInfo &info = kFormats[static_cast<size_t>(format)];
  assert(info.format == format && "the table is in the enum's order");
  return info;
}

std::optional<StorageFormat> formatByName(std::string_view name) {
  for (const FormatInfo &info : kFormats)
    if (info.name == name)
      return info.format;
  return std::nullopt;
}

std::optional<StorageFormat> formatByGgufType(uint32_t type) {
  for (const FormatInfo &info : kFormats)
    if (info.ggufType == type && type != FormatInfo::kNoGgufType)
      return info.format;
  return std::nullopt;
}

BlockScheme schemeOf(StorageFormat format, int64_t columns) {
  BlockScheme scheme = *formatInfo(format).scheme;
  if (scheme.super == BlockScheme::kWholeRow)
    scheme.super = static_cast<int>(columns);
  return scheme;
}

int denseBytes(StorageFormat format) {
  assert(!formatInfo(format).scheme && "a dense format");
  return format == StorageFormat::F32                                    ? 4
         : format == StorageFormat::F16 || format == StorageFormat::BF16 ? 2
                                                                         : 1;
}

int64_t denseScaleSpan(StorageFormat format, int64_t columns) {
  if (denseBytes(format) != 1)
    return 0;
  return format == StorageFormat::F8E4M3_128 ? 128 : columns;
}

uint64_t storedBytes(StorageFormat format, uint64_t elements) {
  const FormatInfo &info = formatInfo(format);
  assert(elements % info.blockElements == 0 && "rows are whole blocks");
  return info.rowBytes + elements / info.blockElements * info.blockBytes;
}

void splitBlock(StorageFormat format, std::span<const uint8_t> row, int64_t index, BlockParts &parts) {
  const FormatInfo &info = formatInfo(format);
  assert(info.scheme && row.size() >= size_t(info.rowBytes + (index + 1) * info.blockBytes));
  const uint8_t *bytes = row.data() + info.rowBytes + index * info.blockBytes;
  parts.minimum = 0;
  parts.minimumF16 = 0;
  std::memset(parts.subMinimum, 0, sizeof(parts.subMinimum));
  std::memset(parts.subScale, 1, sizeof(parts.subScale));
  switch (format) {
  case StorageFormat::F32:
  case StorageFormat::F16:
  case StorageFormat::BF16:
  case StorageFormat::F8E4M3:
  case StorageFormat::F8E5M2:
  case StorageFormat::F8E4M3_128:
    return;
  case StorageFormat::Q4_0:
    setScale(parts, bytes);
    return splitNibbles(bytes + 2, parts.code);
  case StorageFormat::Q4_1:
    setScale(parts, bytes);
    setMinimum(parts, load16(bytes + 2) ^ 0x8000);
    parts.subMinimum[0] = 1;
    return splitNibbles(bytes + 4, parts.code);
  case StorageFormat::Q5_0:
    setScale(parts, bytes);
    splitNibbles(bytes + 6, parts.code);
    return addFifthBits(load32(bytes + 2), parts.code);
  case StorageFormat::Q5_1:
    setScale(parts, bytes);
    setMinimum(parts, load16(bytes + 2) ^ 0x8000);
    parts.subMinimum[0] = 1;
    splitNibbles(bytes + 8, parts.code);
    return addFifthBits(load32(bytes + 4), parts.code);
  case StorageFormat::Q8_0:
    setScale(parts, bytes);
    for (int j = 0; j < 32; ++j)
      parts.code[j] = bytes[2 + j] ^ 0x80; // two's complement plus 128
    return;
  case StorageFormat::Q2_K:
    return splitQ2K(bytes, parts);
  case StorageFormat::Q3_K:
    return splitQ3K(bytes, parts);
  case StorageFormat::Q4_K:
    return splitQ45K(bytes, nullptr, bytes + 16, parts);
  case StorageFormat::Q5_K:
    return splitQ45K(bytes, bytes + 16, bytes + 48, parts);
  case StorageFormat::Q6_K:
    return splitQ6K(bytes, parts);
  case StorageFormat::IQ4_NL:
    setScale(parts, bytes);
    splitNibbles(bytes + 2, parts.code);
    return lookUpCodes(parts.code, 32);
  case StorageFormat::IQ4_XS:
    splitIQ4XS(bytes, parts);
    return lookUpCodes(parts.code, 256);
  case StorageFormat::I8: // codes are stored with their zero point, as kernels read them
  case StorageFormat::I8_MIN:
    setOwnFactors(format, row.data(), parts);
    std::memcpy(parts.code, bytes, 32);
    return;
  case StorageFormat::I4:
  case StorageFormat::I4_MIN:
    setOwnFactors(format, row.data(), parts);
    return splitNibbles(bytes, parts.code);
  case StorageFormat::I4_128:
  case StorageFormat::I4_MIN_128:
    setOwnFactors(format, bytes, parts);
    bytes += info.scheme->hasMin ? 4 : 2;
    for (int run = 0; run < 4; ++run)
      splitNibbles(bytes + run * 16, parts.code + run * 32);
    // One factor for all sub-blocks, in the form of those that have one each.
    std::memset(parts.subMinimum, parts.subMinimum[0], sizeof(parts.subMinimum));
    return;
  }
}

void decode(StorageFormat format, std::span<const uint8_t> stored, std::span<float> out) {
  const FormatInfo &info = formatInfo(format);
  assert(stored.size() == storedBytes(format, out.size()));
  if (!info.scheme)
    return decodeDense(format, stored.data(), out);
  const BlockScheme &scheme = *info.scheme;
  BlockParts parts;
  for (size_t done = 0; done < out.size(); done += info.blockElements) {
    splitBlock(format, stored, done / info.blockElements, parts);
    for (int sub = 0; sub * scheme.sub < info.blockElements; ++sub) {
      float scale = parts.scale * static_cast<float>(parts.subScale[sub]);
      float minimum = parts.minimum * static_cast<float>(parts.subMinimum[sub]);
      float *target = out.data() + done + sub * scheme.sub;
      const uint8_t *code = parts.code + sub * scheme.sub;
      for (int j = 0; j < scheme.sub; ++j) {
        float product = scale * static_cast<float>(code[j] - scheme.zero);
        target[j] = scheme.hasMin ? product - minimum : product;
      }
    }
  }
}

uint64_t packedGroupBytes(StorageFormat packed, int64_t columns) {
  const FormatInfo &info = formatInfo(packed);
  constexpr uint64_t rows = 16;
  if (!info.scheme) {
    int64_t span = denseScaleSpan(packed, columns);
    return rows * (columns * denseBytes(packed) + (span ? columns / span * 4 : 0));
  }
  const BlockScheme scheme = schemeOf(packed, columns);
  assert(columns % scheme.super == 0 && "rows are whole super-blocks");
  uint64_t fields = scheme.hasMin ? 2 : 1;
  uint64_t bytes = rows * scheme.super * (scheme.lowBits + scheme.highBits) / 8 + rows * 2 * fields;
  if (scheme.subScales)
    bytes += rows * (scheme.super / scheme.sub) * fields;
  return bytes * (columns / scheme.super);
}

float halfToFloat(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 31) // infinity, NaN with its payload
    return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0)
    return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  float subnormal = static_cast<float>(fraction) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(subnormal));
}

uint16_t floatToHalf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) // halfway from the largest to what would follow
    return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) { // subnormal: adding aligns it, and rounds
    float aligned = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(aligned) - std::bit_cast<uint32_t>(0.5f)));
  }
  uint32_t rounded = magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | rounded >> 13);
}

// Both become an f16 by shifts, which kernels do as well: e5m2 is its upper half, e4m3 has a bias of 7
// instead of 15.
float decodeF8(StorageFormat format, uint8_t code) {
  if (format == StorageFormat::F8E5M2)
    return halfToFloat(static_cast<uint16_t>(code << 8));
  return halfToFloat(static_cast<uint16_t>((code & 0x80) << 8 | (code & 0x7f) << 7)) * 256;
}

} // namespace heddle
