// Rounding that looks at activations: the error of one weight is made up for by those that follow it.
//
// For a product y = W x the loss of rounding a row w is d H d^T with d the change and H the mean of x x^T.
// Columns are rounded in order; each leaves a correction on the columns after it that minimizes the loss so
// far (optimal brain surgeon with a fixed order; GPTQ, arXiv 2210.17323). Free of MLIR.
#pragma once
#include "codegen/quantize/ActivationRange.h"
#include "ir/WeightEncoding.h"
#include <memory>

namespace heddle {

/// What a product reads: sums of x x^T over its rows, and how far its numbers reach.
class InputStatistics {
public:
  explicit InputStatistics(int64_t columns) : columns(columns), gram(columns * columns) {}

  /// `rows` is [count][columns]. Rows with numbers that are not finite are left out.
  void add(const float *rows, int64_t count);

  const RangeStatistics &sizes() const { return ranges; }
  int64_t size() const { return columns; }
  int64_t rowCount() const { return seen; }
  /// Mean of x[i] * x[j], i <= j.
  float moment(int64_t i, int64_t j) const { return gram[i * columns + j] / static_cast<float>(seen); }
  /// The sum of d H d^T over the rows d of `changes`.
  double loss(std::span<const float> changes) const;

private:
  int64_t columns, seen = 0;
  std::vector<float> gram; // the upper triangle counts
  RangeStatistics ranges;
};

/// How an error in one column is made up for on those after it: the inverse of H, factorized. Costs columns^3
/// operations; serves all matrices that read the same rows, in any scheme.
class SecondOrderCorrection {
public:
  explicit SecondOrderCorrection(const InputStatistics &statistics);

  int64_t size() const { return columns; }
  /// Row `k` of upper triangular U with U^T U = H^-1.
  const float *row(int64_t k) const { return factors.data() + k * columns; }
  /// Of columns' errors: 1 / U[k][k]^2.
  std::span<const float> importance() const { return weights; }

private:
  int64_t columns;
  std::vector<float> factors, weights;
};

/// Rounds rows of one matrix.
class SecondOrderRounder {
public:
  /// At most this many rows are rounded together.
  static constexpr int64_t kRows = 16;

  /// `encoder` has the grids of schemes that share scales between rows. It and `correction` must live as
  /// long.
  SecondOrderRounder(const WeightScheme &scheme, const SecondOrderCorrection &correction,
                     const WeightEncoder &encoder)
      : scheme(scheme), correction(correction), encoder(encoder) {}

  /// Rounds `count` rows, `values` being [count][columns], to `stored`. `first` is the first row's number.
  void round(int64_t first, int64_t count, std::span<const float> values, std::span<uint8_t> stored) const;

private:
  const WeightScheme scheme;
  const SecondOrderCorrection &correction;
  const WeightEncoder &encoder;
};

} // namespace heddle
