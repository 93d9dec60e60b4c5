// How far numbers reach that a product reads: the range of static activations. Free of MLIR.
#pragma once
#include <cstdint>
#include <vector>

namespace heddle {

/// How a range is found: the largest size; the size that all but one in 10,000 keep to; the one whose codes
/// tell the distribution of sizes best (least KL divergence of 128 levels, as TensorRT does); the one of
/// least squared error.
enum class RangeMethod { MinMax, Percentile, Entropy, SquaredError };

/// A histogram of sizes, which grows with what it sees.
class RangeStatistics {
public:
  static constexpr int64_t kBins = 2048;

  RangeStatistics() : counts(kBins) {}

  /// Numbers that are not finite are left out.
  void add(const float *numbers, int64_t count);
  /// 0 when nothing but zeros was seen. `limit` is the largest code.
  double range(RangeMethod method, double limit) const;

private:
  double entropyRange() const;
  double squaredErrorRange(double limit) const;

  double width = 0, largest = 0; // of a bin; of a number
  std::vector<double> counts;
};

} // namespace heddle
