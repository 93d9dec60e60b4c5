// Plain C++ contractions and activation quantization, written from docs/kernel-abi.md, and random test data.
#pragma once
#include "codegen/package/Pack.h"
#include "ir/ActivationLayout.h"
#include "ir/StorageFormat.h"
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace heddle::cpu::testing {

/// Rows of a weight matrix as a file stores them.
struct StoredMatrix {
  StorageFormat format;
  int64_t rows, columns;
  std::vector<uint8_t> bytes;

  uint64_t rowBytes() const { return storedBytes(format, columns); }
  const uint8_t *row(int64_t r) const { return bytes.data() + r * rowBytes(); }

  /// Random codes; scales are any finite f16, negative and subnormal ones too.
  StoredMatrix(StorageFormat format, int64_t rows, int64_t columns, std::mt19937 &random)
      : format(format), rows(rows), columns(columns), bytes(rows * storedBytes(format, columns)) {
    const FormatInfo &info = formatInfo(format);
    if (!info.scheme && denseBytes(format) == 1) {
      const int64_t span = denseScaleSpan(format, columns);
      for (size_t at = 0; at < bytes.size(); at += 4 + span) {
        float scale = std::ldexp(float(random() % 4096) - 2048, -18);
        memcpy(bytes.data() + at, &scale, 4);
        for (int64_t i = 0; i < span; ++i) // any code but those of infinity and NaN
          do
            bytes[at + 4 + i] = random();
          while (!std::isfinite(decodeF8(format, bytes[at + 4 + i])));
      }
      return;
    }
    if (!info.scheme) {
      std::normal_distribution<float> normal;
      for (size_t at = 0; at < bytes.size(); at += info.blockBytes) {
        float value = normal(random);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        if (format == StorageFormat::BF16)
          bits >>= 16;
        else if (format == StorageFormat::F16) // sign, small exponent, fraction
          bits = (random() & 0x8000) | (random() % 20 << 10) | (random() & 1023);
        memcpy(bytes.data() + at, &bits, info.blockBytes);
      }
      return;
    }
    for (uint8_t &byte : bytes)
      byte = random();
    const size_t factors = info.rowBytes ? rowBytes() : info.blockBytes; // bytes from scale to scale
    for (size_t at = 0; at < bytes.size(); at += factors) {
      BlockParts parts;
      do {
        for (size_t i = 0; i < std::min<size_t>(factors, info.blockBytes); ++i)
          bytes[at + i] = random();
        splitBlock(format, {bytes.data() + at, factors}, 0, parts);
      } while (!std::isfinite(parts.scale) || !std::isfinite(parts.minimum));
    }
  }

  std::vector<uint8_t> packed() const {
    std::vector<uint8_t> result;
    const uint64_t groupBytes = packedGroupBytes(format, columns);
    for (int64_t first = 0; first < rows; first += 16) {
      std::vector<std::span<const uint8_t>> group;
      for (int64_t r = first; r < std::min(first + 16, rows); ++r)
        group.push_back({row(r), rowBytes()});
      result.resize(result.size() + groupBytes);
      packGroup(format, group, columns, {result.data() + result.size() - groupBytes, groupBytes});
    }
    return result;
  }
};

/// One row of quantized activations.
inline void quantizeRow(const float *x, ActivationLayout layout, uint8_t *row) {
  memset(row, 0, layout.stride());
  for (int64_t block = 0; block < layout.columns / 32; ++block) {
    const float *values = x + block * 32;
    float most = 0;
    for (int i = 0; i < 32; ++i)
      most = std::max(most, std::fabs(values[i]));
    float d = most / layout.limit(), inverse = most > 0 ? 1 / d : 0;
    memcpy(row + layout.scale() + block * 4, &d, 4);
    for (int half = 0; half < 2; ++half) {
      int32_t total = 0;
      for (int i = half * 16; i < half * 16 + 16; ++i) {
        int q = int(std::nearbyint(values[i] * inverse)), low = q;
        total += q;
        if (layout.planes == 2) {
          low = int8_t(q & 255);
          row[layout.low() + block * 32 + i] = uint8_t(low);
          q = (q - low) / 256;
        }
        row[block * 32 + i] = uint8_t(q);
      }
      float sum = d * float(total);
      memcpy(row + layout.sum() + (block * 2 + half) * 4, &sum, 4);
      memcpy(row + layout.isum() + (block * 2 + half) * 4, &total, 4);
    }
  }
}

inline float referenceQuantized(const StoredMatrix &w, int64_t r, const uint8_t *row,
                                ActivationLayout layout) {
  const FormatInfo &info = formatInfo(w.format);
  const BlockScheme &scheme = *info.scheme;
  float acc = 0;
  for (int64_t block = 0; block < w.columns / info.blockElements; ++block) {
    BlockParts parts;
    splitBlock(w.format, {w.row(r), w.rowBytes()}, block, parts);
    for (int sub = 0; sub < info.blockElements / scheme.sub; ++sub) {
      int32_t dot = 0, total = 0;
      const int64_t first = block * info.blockElements + sub * scheme.sub;
      for (int i = 0; i < scheme.sub; ++i) {
        int q = int8_t(row[first + i]);
        if (layout.planes == 2)
          q = q * 256 + int8_t(row[layout.low() + first + i]);
        dot += (parts.code[sub * scheme.sub + i] - scheme.zero) * q;
        total += q;
      }
      float d;
      memcpy(&d, row + layout.scale() + first / 32 * 4, 4);
      acc = std::fma(float(dot), parts.scale * float(parts.subScale[sub]) * d, acc);
      if (scheme.hasMin)
        acc = std::fma(-(parts.minimum * float(parts.subMinimum[sub])), d * float(total), acc);
    }
  }
  return acc;
}

inline float referenceDense(const StoredMatrix &w, int64_t r, const float *x) {
  std::vector<float> weights(w.columns);
  decode(w.format, {w.row(r), w.rowBytes()}, weights);
  float acc = 0;
  for (int64_t k = 0; k < w.columns; ++k)
    acc = std::fma(x[k], weights[k], acc);
  return acc;
}

/// Rows with the sizes that real activations have: most near one, some outliers, a block of zeros.
inline std::vector<float> randomActivations(int64_t rows, int64_t columns, std::mt19937 &random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(rows * columns);
  for (float &value : x) {
    value = normal(random);
    if (random() % 64 == 0)
      value *= 100;
  }
  std::fill_n(x.begin(), std::min<int64_t>(32, columns), 0.0f);
  return x;
}

} // namespace heddle::cpu::testing
