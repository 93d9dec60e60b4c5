#include "tools/heddle/Metrics.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace heddle::cli {

static constexpr std::array<const char *, 4> kMetrics = {"relative_l2", "kl", "cosine", "top1"};

double logSumExp(const float *row, size_t size) {
  double largest = *std::max_element(row, row + size), sum = 0;
  for (size_t index = 0; index < size; ++index)
    sum += std::exp(row[index] - largest);
  return largest + std::log(sum);
}

double divergence(const float *expected, const float *actual, size_t size) {
  // sum of p * (x - y) - log(sum of exp(x)) + log(sum of exp(y)): one exp an element and side.
  double largest = *std::max_element(expected, expected + size), sum = 0, weighted = 0;
  for (size_t index = 0; index < size; ++index) {
    double weight = std::exp(expected[index] - largest);
    sum += weight;
    weighted += weight * (static_cast<double>(expected[index]) - actual[index]);
  }
  return weighted / sum - (largest + std::log(sum)) + logSumExp(actual, size);
}

size_t largest(const float *row, size_t size) {
  return static_cast<size_t>(std::max_element(row, row + size) - row);
}

void Distance::add(std::span<const float> expected, std::span<const float> actual) {
  double dot = 0, expectedSquares = 0, actualSquares = 0;
  for (size_t index = 0; index < expected.size(); ++index) {
    double x = expected[index], y = actual[index];
    difference += (x - y) * (x - y);
    dot += x * y;
    expectedSquares += x * x;
    actualSquares += y * y;
  }
  size += expectedSquares;
  cosineSum += dot / std::sqrt(expectedSquares * actualSquares);
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
