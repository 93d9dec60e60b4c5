// The table of storage formats, and that a block taken apart says the same as the block decoded.
// test/frontends/gguf/decode.test compares decode() with the `gguf` package.
#include "ir/StorageFormat.h"
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

using namespace heddle;

static std::vector<StorageFormat> allFormats() {
  std::vector<StorageFormat> formats;
  for (int i = 0; i < kStorageFormatCount; ++i)
    formats.push_back(static_cast<StorageFormat>(i));
  return formats;
}

TEST_CASE("formats are found by name and by GGUF type") {
  for (StorageFormat format : allFormats()) {
    const FormatInfo &info = formatInfo(format);
    CHECK(info.format == format);
    CHECK(formatByName(info.name) == format);
    if (info.ggufType == FormatInfo::kNoGgufType)
      CHECK(!formatByGgufType(info.ggufType));
    else
      CHECK(formatByGgufType(info.ggufType) == format);
    CHECK(storedBytes(format, 256) == uint64_t(info.rowBytes + 256 / info.blockElements * info.blockBytes));
    if (!info.scheme)
      continue;
    if (info.scheme->super == BlockScheme::kWholeRow)
      CHECK(schemeOf(format, 96).super == 96);
    else
      CHECK(info.blockElements == info.scheme->super);
  }
  CHECK(!formatByName("q9_0"));
  CHECK(!formatByGgufType(4));
}

TEST_CASE("halves become floats exactly") {
  CHECK(halfToFloat(0x0000) == 0.0f);
  CHECK(std::signbit(halfToFloat(0x8000)));
  CHECK(halfToFloat(0x3c00) == 1.0f);
  CHECK(halfToFloat(0xc000) == -2.0f);
  CHECK(halfToFloat(0x7bff) == 65504.0f);
  CHECK(halfToFloat(0x0001) == 0x1p-24f);
  CHECK(halfToFloat(0x83ff) == -0x3ffp-24f);
  CHECK(std::isinf(halfToFloat(0x7c00)));
  CHECK(std::isnan(halfToFloat(0xfe01)));
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float expected = static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
    float found = halfToFloat(static_cast<uint16_t>(bits));
    if (!(std::isnan(expected) ? std::isnan(found)
                               : std::bit_cast<uint32_t>(expected) == std::bit_cast<uint32_t>(found)))
      FAIL("half " << bits << " became " << found << ", expected " << expected);
  }
}

TEST_CASE("floats round to halves as the compiler's own do") {
  std::mt19937 random(3);
  for (int trial = 0; trial < 200000; ++trial) {
    uint32_t bits = trial < 65536 ? uint32_t(trial) << 13 | 0x38000000 : random();
    float value = std::bit_cast<float>(bits);
    uint16_t expected = std::bit_cast<uint16_t>(static_cast<_Float16>(value)), found = floatToHalf(value);
    if (!(std::isnan(value) ? std::isnan(halfToFloat(found)) : expected == found))
      FAIL("float " << value << " became " << found << ", expected " << expected);
  }
}

TEST_CASE("FP8 codes have the values of their definition") {
  for (int code = 0; code < 256; ++code) {
    for (bool e5 : {false, true}) {
      int fractionBits = e5 ? 2 : 3, bias = e5 ? 15 : 7;
      int exponent = (code & 127) >> fractionBits, fraction = code & ((1 << fractionBits) - 1);
      if (e5 && exponent == 31)
        continue; // infinities and NaN
      double value = exponent == 0
                         ? std::ldexp(fraction, 1 - bias - fractionBits)
                         : std::ldexp((1 << fractionBits) + fraction, exponent - bias - fractionBits);
      value = code & 128 ? -value : value;
      CHECK(decodeF8(e5 ? StorageFormat::F8E5M2 : StorageFormat::F8E4M3, uint8_t(code)) == value);
    }
  }
  CHECK(decodeF8(StorageFormat::F8E4M3, 0x7e) == 448);
}

TEST_CASE("the parts of a block give its decoded values by the stated formula") {
  std::mt19937 random(1);
  for (StorageFormat format : allFormats()) {
    const FormatInfo &info = formatInfo(format);
    if (!info.scheme)
      continue;
    const BlockScheme &scheme = *info.scheme;
    INFO(std::string(info.name));
    for (int trial = 0; trial < 200; ++trial) {
      std::vector<uint8_t> block(info.rowBytes + info.blockBytes); // a row of one block
      for (uint8_t &byte : block)
        byte = static_cast<uint8_t>(random());
      BlockParts parts;
      splitBlock(format, block, 0, parts);
      std::vector<float> decoded(info.blockElements);
      decode(format, block, decoded);
      CHECK(std::bit_cast<uint32_t>(parts.scale) == std::bit_cast<uint32_t>(halfToFloat(parts.scaleF16)));
      CHECK(std::bit_cast<uint32_t>(parts.minimum) == std::bit_cast<uint32_t>(halfToFloat(parts.minimumF16)));
      int limit = 1 << (scheme.lowBits + scheme.highBits);
      for (int e = 0; e < info.blockElements; ++e) {
        REQUIRE(parts.code[e] < limit);
        int sub = e / scheme.sub;
        float scale = parts.scale * parts.subScale[sub], minimum = parts.minimum * parts.subMinimum[sub];
        volatile float product =
            scale * static_cast<float>(parts.code[e] - scheme.zero); // no fused subtraction
        float expected = scheme.hasMin ? product - minimum : float(product);
        bool same = std::isnan(expected)
                        ? std::isnan(decoded[e])
                        : std::bit_cast<uint32_t>(expected) == std::bit_cast<uint32_t>(decoded[e]);
        if (!same)
          FAIL("element " << e << " is " << decoded[e] << ", the formula gives " << expected);
      }
    }
  }
}

TEST_CASE("packed row groups have the size that docs/kernel-abi.md gives") {
  auto bytes = [](StorageFormat format) { return packedGroupBytes(format, 512); };
  const uint64_t rows = 16, codes4 = rows * 512 / 2, bits1 = rows * 512 / 8, half = rows * 2;
  CHECK(bytes(StorageFormat::F32) == rows * 512 * 4);
  CHECK(bytes(StorageFormat::BF16) == rows * 512 * 2);
  CHECK(bytes(StorageFormat::Q4_0) == codes4 + 16 * half);
  CHECK(bytes(StorageFormat::Q4_1) == codes4 + 16 * 2 * half);
  CHECK(bytes(StorageFormat::Q5_0) == codes4 + bits1 + 16 * half);
  CHECK(bytes(StorageFormat::Q5_1) == codes4 + bits1 + 16 * 2 * half);
  CHECK(bytes(StorageFormat::Q8_0) == rows * 512 + 16 * half);
  CHECK(bytes(StorageFormat::Q2_K) == 2 * bits1 + 2 * (2 * half + 2 * rows * 16));
  CHECK(bytes(StorageFormat::Q3_K) == 3 * bits1 + 2 * (half + rows * 16));
  CHECK(bytes(StorageFormat::Q4_K) == codes4 + 2 * (2 * half + 2 * rows * 8));
  CHECK(bytes(StorageFormat::Q5_K) == codes4 + bits1 + 2 * (2 * half + 2 * rows * 8));
  CHECK(bytes(StorageFormat::Q6_K) == codes4 + 2 * bits1 + 2 * (half + rows * 16));
  CHECK(bytes(StorageFormat::I8) == rows * 512 + half);
  CHECK(bytes(StorageFormat::I8_MIN) == rows * 512 + 2 * half);
  CHECK(bytes(StorageFormat::I4) == codes4 + half);
  CHECK(bytes(StorageFormat::I4_MIN_128) == codes4 + 4 * 2 * half);
  CHECK(bytes(StorageFormat::F8E4M3) == rows * (512 + 4));
  CHECK(bytes(StorageFormat::F8E4M3_128) == rows * (512 + 4 * 4));
  CHECK(bytes(StorageFormat::IQ4_NL) == bytes(StorageFormat::Q8_0));
  CHECK(bytes(StorageFormat::IQ4_XS) == rows * 512 + 2 * (half + rows * 8));
}
