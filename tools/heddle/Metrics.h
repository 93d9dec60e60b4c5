// How far results are from those of a reference.
#ifndef HEDDLE_TOOLS_METRICS_H
#define HEDDLE_TOOLS_METRICS_H

#include "tools/heddle/Common.h"
#include <span>

namespace heddle::cli {

// log(sum(exp(row))), in f64 whatever the row holds.
double logSumExp(const float *row, size_t size);
// KL(expected || actual) of two rows of logits, in nats.
double divergence(const float *expected, const float *actual, size_t size);
// Index of the largest number.
size_t largest(const float *row, size_t size);

// Distances of rows from those of a reference, gathered one row at a time.
class Distance {
public:
  void add(std::span<const float> expected, std::span<const float> actual);
  void add(const Distance &more);

  // "relative_l2", "kl", "cosine" or "top1", each 0 for equal results; NaN when a result was not finite.
  double value(const std::string &metric) const;
  // Of one row: what adds up over rows. The mean over many is their value(), squared for relative_l2, where
  // `meanSquares` is the mean over the rows of the reference's squares.
  double cost(const std::string &metric, double meanSquares) const;
  static bool isMetric(const std::string &name);

private:
  size_t rows = 0, agreed = 0;
  double difference = 0, size = 0, klSum = 0, cosineSum = 0;
};

// "kl=0.01", "relative_l2=0.8%", "0.8%".
struct ErrorBound {
  std::string metric = "relative_l2";
  double value = 0;
};
ErrorBound parseErrorBound(const std::string &text);

} // namespace heddle::cli

#endif
