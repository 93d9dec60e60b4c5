// Rounding of weights: what schemes store, and what second-order rounding gains.
#include "codegen/quantize/SecondOrder.h"
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

using namespace heddle;

namespace {
std::vector<float> randomRow(int64_t columns, std::mt19937 &random) {
  std::normal_distribution<float> normal;
  std::vector<float> row(columns);
  for (float &x : row)
    x = normal(random);
  return row;
}

double squaredError(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}
} // namespace

TEST_CASE("numbers between two of eight bits take the nearer, or the even one") {
  std::vector<float> row(32), decoded(32);
  row[0] = 448; // the largest: the scale is 1, and steps are 32 from 256 on
  row[1] = 272;
  row[2] = 304;
  row[3] = -335;
  WeightEncoder encoder(*weightSchemeByName("fp8"), 32, ScaleFit::Range);
  std::vector<uint8_t> stored(storedBytes(StorageFormat::F8E4M3, 32));
  encoder.encode(0, row, stored);
  decode(StorageFormat::F8E4M3, stored, decoded);
  CHECK(decoded[0] == 448);
  CHECK(decoded[1] == 256);
  CHECK(decoded[2] == 320);
  CHECK(decoded[3] == -320);
}

TEST_CASE("every scheme's rows decode to what its codes stand for, and encode to themselves") {
  std::mt19937 random(1);
  const int64_t columns = 256;
  for (const WeightScheme &scheme : weightSchemes()) {
    INFO(std::string(scheme.name));
    CHECK(weightSchemeByName(scheme.name) == &scheme);
    std::vector<float> row = randomRow(columns, random), decoded(columns), again(columns);
    WeightEncoder encoder(scheme, columns, ScaleFit::Range);
    if (encoder.looksFirst())
      encoder.look(0, row);
    std::vector<uint8_t> stored(storedBytes(scheme.format, columns));
    encoder.encode(0, row, stored);
    decode(scheme.format, stored, decoded);
    const double bits = 8.0 * double(stored.size()) / columns;
    // A step is about 6 / 2^bits of a row with values up to 3.
    CHECK(std::sqrt(squaredError(row, decoded) / columns) < 8 / std::exp2(std::min(bits, 7.0)));
    if (formatInfo(scheme.format).scheme && formatInfo(scheme.format).scheme->hasMin)
      continue; // their range takes in zero, which a second look may place elsewhere
    WeightEncoder second(scheme, columns, ScaleFit::Range);
    if (second.looksFirst())
      second.look(0, decoded);
    second.encode(0, decoded, stored);
    decode(scheme.format, stored, again);
    CHECK(squaredError(decoded, again) <= 1e-5 * squaredError(row, decoded));
  }
  CHECK(!weightSchemeByName("int3"));
}

TEST_CASE("searched scales are never worse than those of the range") {
  std::mt19937 random(2);
  const int64_t columns = 128;
  for (const char *name : {"int4", "int4-asymmetric", "int4-g128", "int4-channel", "int5", "int8"}) {
    const WeightScheme &scheme = *weightSchemeByName(name);
    double range = 0, search = 0;
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<float> row = randomRow(columns, random), decoded(columns);
      std::vector<uint8_t> stored(storedBytes(scheme.format, columns));
      for (ScaleFit how : {ScaleFit::Range, ScaleFit::Search}) {
        WeightEncoder(scheme, columns, how).encode(0, row, stored);
        decode(scheme.format, stored, decoded);
        (how == ScaleFit::Range ? range : search) += squaredError(row, decoded);
      }
    }
    INFO(name);
    CHECK(search <= range);
    if (formatInfo(scheme.format).scheme->lowBits == 4)
      CHECK(search < 0.97 * range);
  }
}

TEST_CASE("weights without a range, without numbers or out of f16's range stay finite") {
  for (const WeightScheme &scheme : weightSchemes())
    for (float value : {0.0f, 1e-20f, 1e30f, std::nanf("")}) {
      INFO(std::string(scheme.name) << " " << value);
      std::vector<float> row(128, value), decoded(128);
      WeightEncoder encoder(scheme, 128, ScaleFit::Range);
      if (encoder.looksFirst())
        encoder.look(0, row);
      std::vector<uint8_t> stored(storedBytes(scheme.format, 128));
      encoder.encode(0, row, stored);
      decode(scheme.format, stored, decoded);
      if (formatInfo(scheme.format).scheme)
        for (float x : decoded)
          REQUIRE(std::isfinite(x));
      if (value == 0)
        CHECK(squaredError(row, decoded) == 0);
    }
}

TEST_CASE("second-order rounding loses less of what products see") {
  std::mt19937 random(3);
  const int64_t columns = 128, rows = 20, samples = 512;
  // Inputs of a quarter of the dimensions and a little noise, as activations are.
  std::vector<std::vector<float>> basis;
  for (int64_t i = 0; i < columns / 4; ++i)
    basis.push_back(randomRow(columns, random));
  std::vector<float> inputs;
  for (int64_t m = 0; m < samples; ++m) {
    std::vector<float> x = randomRow(columns, random);
    for (float &value : x)
      value *= 0.3f;
    for (const std::vector<float> &direction : basis) {
      float factor = randomRow(1, random)[0];
      for (int64_t k = 0; k < columns; ++k)
        x[k] += factor * direction[k];
    }
    inputs.insert(inputs.end(), x.begin(), x.end());
  }
  InputStatistics statistics(columns);
  statistics.add(inputs.data(), samples / 2);
  statistics.add(inputs.data() + samples / 2 * columns, samples / 2);
  REQUIRE(statistics.rowCount() == samples);

  std::vector<float> change = randomRow(columns, random);
  double direct = 0;
  for (int64_t m = 0; m < samples; ++m) {
    double dot = 0;
    for (int64_t k = 0; k < columns; ++k)
      dot += double(change[k]) * inputs[m * columns + k];
    direct += dot * dot / samples;
  }
  CHECK(std::abs(statistics.loss(change) / direct - 1) < 1e-4);

  std::vector<float> matrix = randomRow(rows * columns, random);
  for (const char *name : {"int4", "int4-asymmetric", "int4-channel", "int8-tensor"}) {
    INFO(name);
    const WeightScheme &scheme = *weightSchemeByName(name);
    WeightEncoder encoder(scheme, columns, ScaleFit::Search);
    const uint64_t rowBytes = storedBytes(scheme.format, columns);
    std::vector<uint8_t> nearest(rows * rowBytes), corrected(rows * rowBytes);
    for (int64_t r = 0; encoder.looksFirst() && r < rows; ++r)
      encoder.look(r, std::span(matrix).subspan(r * columns, columns));
    for (int64_t r = 0; r < rows; ++r)
      encoder.encode(r, std::span(matrix).subspan(r * columns, columns),
                     std::span(nearest).subspan(r * rowBytes, rowBytes));
    SecondOrderCorrection correction(statistics);
    SecondOrderRounder rounder(scheme, correction, encoder);
    for (int64_t first = 0; first < rows; first += SecondOrderRounder::kRows) {
      const int64_t count = std::min(SecondOrderRounder::kRows, rows - first);
      rounder.round(first, count, std::span(matrix).subspan(first * columns, count * columns),
                    std::span(corrected).subspan(first * rowBytes, count * rowBytes));
    }
    auto loss = [&](std::span<const uint8_t> stored) {
      double sum = 0;
      std::vector<float> row(columns);
      for (int64_t r = 0; r < rows; ++r) {
        decode(scheme.format, stored.subspan(r * rowBytes, rowBytes), row);
        for (int64_t k = 0; k < columns; ++k)
          row[k] -= matrix[r * columns + k];
        sum += statistics.loss(row);
      }
      return sum;
    };
    CHECK(loss(corrected) < 0.7 * loss(nearest));
  }
}
