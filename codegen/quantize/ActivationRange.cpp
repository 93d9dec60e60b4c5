#include "codegen/quantize/ActivationRange.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace heddle {

/// Of all numbers, what a percentile leaves out.
static constexpr double kLeftOut = 1e-4;
static constexpr int64_t kLevels = 128; // that entropy compares
/// Ranges are tried in steps of so many bins.
static constexpr int64_t kStep = 8;

void RangeStatistics::add(const float *numbers, int64_t count) {
  double most = 0;
  for (int64_t i = 0; i < count; ++i)
    if (std::isfinite(numbers[i]))
      most = std::max<double>(most, std::abs(numbers[i]));
  largest = std::max(largest, most);
  if (width == 0) // the first numbers fill a half
    width = 2 * most / kBins;
  if (width == 0)
    return; // zeros have no place in a range
  while (largest >= width * kBins) {
    for (int64_t bin = 0; bin < kBins; ++bin)
      counts[bin] = bin < kBins / 2 ? counts[2 * bin] + counts[2 * bin + 1] : 0;
    width *= 2;
  }
  for (int64_t i = 0; i < count; ++i)
    if (std::isfinite(numbers[i]))
      ++counts[static_cast<int64_t>(std::abs(numbers[i]) / width)];
}

double RangeStatistics::range(RangeMethod method, double limit) const {
  switch (method) {
  case RangeMethod::MinMax:
    return largest;
  case RangeMethod::Percentile: {
    double total = 0, above = 0;
    for (double count : counts)
      total += count;
    int64_t bin = kBins;
    while (bin > 0 && above + counts[bin - 1] <= kLeftOut * total)
      above += counts[--bin];
    return std::min(largest, static_cast<double>(bin) * width);
  }
  case RangeMethod::Entropy:
    return entropyRange();
  case RangeMethod::SquaredError:
    return squaredErrorRange(limit);
  }
  return largest;
}

double RangeStatistics::entropyRange() const {
  double best = largest, least = std::numeric_limits<double>::infinity();
  for (int64_t used = kLevels; used <= kBins; used += kStep) {
    double total = 0, beyond = 0;
    for (int64_t bin = 0; bin < kBins; ++bin)
      (bin < used ? total : beyond) += counts[bin];
    if (total == 0)
      continue;
    total += beyond;
    double divergence = 0, kept = 0;
    for (int64_t level = 0; level < kLevels; ++level) {
      // Bins of a level share what they have, those without any excepted.
      const int64_t begin = level * used / kLevels, end = (level + 1) * used / kLevels;
      double sum = 0;
      int64_t filled = 0;
      for (int64_t bin = begin; bin < end; ++bin) {
        sum += counts[bin];
        filled += counts[bin] > 0;
      }
      kept += sum;
      for (int64_t bin = begin; bin < end; ++bin) {
        // What lies beyond counts as the last bin, which the codes do not know of.
        const double p = counts[bin] + (bin == used - 1 ? beyond : 0);
        if (p > 0)
          divergence +=
              p / total * std::log(p / (counts[bin] > 0 ? sum / static_cast<double>(filled) : 1e-3 * p));
      }
    }
    divergence += std::log(kept / total);
    if (divergence < least) {
      least = divergence;
      best = std::min(largest, static_cast<double>(used) * width);
    }
  }
  return best;
}

double RangeStatistics::squaredErrorRange(double limit) const {
  double best = largest, least = std::numeric_limits<double>::infinity();
  for (int64_t used = kStep; used <= kBins; used += kStep) {
    const double range = std::min(largest, static_cast<double>(used) * width), step = range / limit;
    double error = 0;
    for (int64_t bin = 0; bin < kBins; ++bin) {
      const double size = (static_cast<double>(bin) + 0.5) * width, over = size - range;
      error += counts[bin] * (over > 0 ? over * over : step * step / 12);
    }
    if (error < least) {
      least = error;
      best = range;
    }
    if (range == largest)
      break;
  }
  return best;
}

} // namespace heddle
