#include "codegen/quantize/ActivationRange.h"
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

using namespace heddle;

namespace {
std::vector<float> bell(size_t count, float outlier) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float &x : numbers)
    x = normal(random);
  numbers[count / 2] = -outlier;
  return numbers;
}

double squaredError(const std::vector<float> &numbers, double range) {
  double sum = 0;
  for (float x : numbers) {
    double code = std::clamp(std::nearbyint(x / (range / 127)), -127.0, 127.0);
    sum += std::pow(code * range / 127 - x, 2);
  }
  return sum;
}
} // namespace

TEST_CASE("ranges of activations") {
  const std::vector<float> numbers = bell(50000, 100);
  RangeStatistics seen;
  for (size_t at = 0; at < numbers.size(); at += 1000) // the outlier comes late: the histogram grows
    seen.add(numbers.data() + at, 1000);

  SECTION("the largest size") { CHECK(seen.range(RangeMethod::MinMax, 127) == 100); }

  SECTION("the size that all but one in 10,000 keep to") {
    std::vector<float> sizes;
    for (float x : numbers)
      sizes.push_back(std::abs(x));
    std::sort(sizes.begin(), sizes.end());
    const double exact = sizes[sizes.size() - 1 - 5];
    CHECK(seen.range(RangeMethod::Percentile, 127) == Approx(exact).margin(0.1)); // a bin
  }

  SECTION("least squared error, as the codes themselves have it") {
    double least = std::numeric_limits<double>::infinity();
    for (double range = 1; range <= 100; range += 0.5)
      least = std::min(least, squaredError(numbers, range));
    CHECK(squaredError(numbers, seen.range(RangeMethod::SquaredError, 127)) < 1.05 * least);
  }

  SECTION("entropy leaves out a single outlier and keeps the bell") {
    const double range = seen.range(RangeMethod::Entropy, 127);
    CHECK(range > 2);
    CHECK(range < 15);
  }
}

TEST_CASE("numbers that have no range") {
  RangeStatistics seen;
  const std::vector<float> zeros(100);
  seen.add(zeros.data(), 100);
  for (RangeMethod method :
       {RangeMethod::MinMax, RangeMethod::Percentile, RangeMethod::Entropy, RangeMethod::SquaredError})
    CHECK(seen.range(method, 127) == 0);
  const float odd[] = {1, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(),
                       -2};
  seen.add(odd, 4);
  CHECK(seen.range(RangeMethod::MinMax, 127) == 2);
}
