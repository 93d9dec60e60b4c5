#include "tools/heddle/Metrics.h"
#include "ir/Vectorized.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace heddle::cli {

static constexpr std::array<const char *, 4> kMetrics = {"relative_l2", "kl", "cosine", "top1"};

namespace {
constexpr size_t kLanes = 16, kBlock = 1024; // floats are summed on lanes within a block, blocks in f64
constexpr float kMostExponent = 88;

// exp(x) within 2e-7 of it for x from -87 to 88, which others become; NaN stays.
inline float expOf(float x) {
  x = x < -87 ? -87 : x > kMostExponent ? kMostExponent : x;
  const float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
  const float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
  float p = 0.0013820136f;
  for (float coefficient : {0.008368686f, 0.041668274f, 0.16666521f, 0.49999994f, 1.0f, 1.0f})
    p = p * r + coefficient;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits)); // holds n in its low bits
  bits = static_cast<int32_t>(static_cast<uint32_t>(bits) << 23);
  int32_t power;
  std::memcpy(&power, &p, sizeof(power));
  power += bits;
  float result;
  std::memcpy(&result, &power, sizeof(result));
  return result;
}

double sumOf(const float *lanes) {
  double sum = 0;
  for (size_t lane = 0; lane < kLanes; ++lane)
    sum += lanes[lane];
  return sum;
}

// Calls `block(begin, end)` for each block of `size` elements.
template <typename Block> inline void forBlocks(size_t size, Block block) {
  for (size_t begin = 0; begin < size; begin += kBlock)
    block(begin, std::min(begin + kBlock, size));
}

HEDDLE_VECTORIZED float mostOf(const float *row, size_t size) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -std::numeric_limits<float>::infinity());
  size_t index = 0;
  for (; index + kLanes <= size; index += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = row[index + lane] > lanes[lane] ? row[index + lane] : lanes[lane];
  for (; index < size; ++index)
    lanes[0] = std::max(lanes[0], row[index]);
  return *std::max_element(lanes, lanes + kLanes);
}

HEDDLE_VECTORIZED double sumOfExp(const float *row, size_t size, float less) {
  double sum = 0;
  forBlocks(size, [&](size_t begin, size_t end) {
    float lanes[kLanes] = {};
    size_t index = begin;
    for (; index + kLanes <= end; index += kLanes)
      for (size_t lane = 0; lane < kLanes; ++lane)
        lanes[lane] += expOf(row[index + lane] - less);
    for (; index < end; ++index)
      lanes[0] += expOf(row[index] - less);
    sum += sumOf(lanes);
  });
  return sum;
}

// To `sums`: those of p, of p * (x - y) and of exp(y - less), with p = exp(x - less).
HEDDLE_VECTORIZED void addDivergence(const float *x, const float *y, size_t size, float less, double *sums) {
  forBlocks(size, [&](size_t begin, size_t end) {
    float weights[kLanes] = {}, weighted[kLanes] = {}, others[kLanes] = {};
    auto add = [&](size_t index, size_t lane) {
      const float p = expOf(x[index] - less);
      weights[lane] += p;
      weighted[lane] += p * (x[index] - y[index]);
      others[lane] += expOf(y[index] - less);
    };
    size_t index = begin;
    for (; index + kLanes <= end; index += kLanes)
      for (size_t lane = 0; lane < kLanes; ++lane)
        add(index + lane, lane);
    for (; index < end; ++index)
      add(index, 0);
    sums[0] += sumOf(weights);
    sums[1] += sumOf(weighted);
    sums[2] += sumOf(others);
  });
}

// To `sums`: squares of x, of y, of their difference; their product.
HEDDLE_VECTORIZED void addProducts(const float *x, const float *y, size_t size, double *sums) {
  double squaresX[kLanes] = {}, squaresY[kLanes] = {}, differences[kLanes] = {}, products[kLanes] = {};
  auto add = [&](size_t index, size_t lane) {
    const double a = x[index], b = y[index];
    squaresX[lane] += a * a;
    squaresY[lane] += b * b;
    differences[lane] += (a - b) * (a - b);
    products[lane] += a * b;
  };
  size_t index = 0;
  for (; index + kLanes <= size; index += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      add(index + lane, lane);
  for (; index < size; ++index)
    add(index, 0);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    sums[0] += squaresX[lane];
    sums[1] += squaresY[lane];
    sums[2] += differences[lane];
    sums[3] += products[lane];
  }
}
} // namespace

double logSumExp(const float *row, size_t size) {
  const float most = mostOf(row, size);
  return most + std::log(sumOfExp(row, size, most));
}

double divergence(const float *expected, const float *actual, size_t size) {
  // sum of p * (x - y) - log(sum of exp(x)) + log(sum of exp(y)), both less the largest x
  const float most = mostOf(expected, size);
  double sums[3] = {};
  addDivergence(expected, actual, size, most, sums);
  const double difference = sums[1] / sums[0] - std::log(sums[0]);
  if (mostOf(actual, size) - most < kMostExponent / 2)
    return difference + std::log(sums[2]);
  return difference - most + logSumExp(actual, size);
}

size_t largest(const float *row, size_t size) {
  const float *found = std::find(row, row + size, mostOf(row, size));
  return found == row + size ? 0 : static_cast<size_t>(found - row);
}

void Distance::add(std::span<const float> expected, std::span<const float> actual) {
  double sums[4] = {};
  addProducts(expected.data(), actual.data(), expected.size(), sums);
  size += sums[0];
  difference += sums[2];
  cosineSum += sums[3] / std::sqrt(sums[0] * sums[1]);
  klSum += divergence(expected.data(), actual.data(), expected.size());
  agreed += largest(expected.data(), expected.size()) == largest(actual.data(), actual.size());
  ++rows;
}

void Distance::add(const Distance &more) {
  rows += more.rows;
  agreed += more.agreed;
  difference += more.difference;
  size += more.size;
  klSum += more.klSum;
  cosineSum += more.cosineSum;
}

double Distance::value(const std::string &metric) const {
  const auto count = static_cast<double>(rows);
  if (metric == "kl")
    return klSum / count;
  if (metric == "cosine")
    return 1 - cosineSum / count;
  if (metric == "top1")
    return std::isfinite(difference) ? 1 - static_cast<double>(agreed) / count : difference;
  return std::sqrt(difference / size);
}

double Distance::cost(const std::string &metric, double meanSquares) const {
  return metric == "relative_l2" ? difference / meanSquares : value(metric);
}

bool Distance::isMetric(const std::string &name) {
  return std::find(kMetrics.begin(), kMetrics.end(), name) != kMetrics.end();
}

ErrorBound parseErrorBound(const std::string &text) {
  ErrorBound bound;
  std::string number = text;
  if (size_t equals = text.find('='); equals != std::string::npos) {
    bound.metric = text.substr(0, equals);
    number = text.substr(equals + 1);
  }
  char *end = nullptr;
  bound.value = std::strtod(number.c_str(), &end);
  if (end && *end == '%') {
    bound.value /= 100;
    ++end;
  }
  if (!Distance::isMetric(bound.metric) || number.empty() || !end || *end || !(bound.value > 0))
    fail(ExitUsage, "--max-error takes relative_l2=0.8%, kl=NATS, cosine=0.001 or top1=2%, but found '" +
                        printable(text) + "'");
  return bound;
}

} // namespace heddle::cli
