#include "codegen/quantize/SecondOrder.h"
#include "ir/Vectorized.h"
#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

namespace heddle {
namespace {

/// Share of the mean diagonal that is added to it: columns that hardly vary would take endless corrections.
constexpr double kDamping = 0.01;
constexpr int64_t kPanel = 32;

/// to[j] += factor * from[j]
template <typename T> inline void addScaled(T *to, T factor, const T *from, int64_t count) {
  for (int64_t j = 0; j < count; ++j)
    to[j] += factor * from[j];
}

/// to[j] += sum over four rows x of x[i] * x[j], for j >= i.
inline void addFour(float *__restrict to, const float *__restrict x, int64_t columns, int64_t i) {
  const float *x1 = x + columns, *x2 = x1 + columns, *x3 = x2 + columns;
  const float a = x[i], b = x1[i], c = x2[i], d = x3[i];
  for (int64_t j = i; j < columns; ++j)
    to[j] += (a * x[j] + b * x1[j]) + (c * x2[j] + d * x3[j]);
}

/// gram[i][j] += sum over rows of x[i] * x[j], for j >= i.
HEDDLE_VECTORIZED void addProducts(float *gram, const float *rows, int64_t count, int64_t columns) {
  for (int64_t block = 0; block < count; block += kPanel) // whose rows stay near
    for (int64_t i = 0; i < columns; ++i) {
      const int64_t end = std::min(block + kPanel, count);
      int64_t m = block;
      for (; m + 4 <= end; m += 4)
        addFour(gram + i * columns, rows + m * columns, columns, i);
      for (; m < end; ++m)
        addScaled(gram + i * columns + i, rows[m * columns + i], rows + m * columns + i, columns - i);
    }
}

/// Replaces the upper triangle of a positive definite matrix by R, upper triangular, with R R^T equal to it.
/// False when it is not positive definite. `panel` is room for kPanel columns.
HEDDLE_VECTORIZED bool factorize(double *a, int64_t n, double *panel) {
  for (int64_t end = n; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - kPanel);
    for (int64_t k = end - 1; k >= begin; --k) {
      double pivot = a[k * n + k];
      if (!(pivot > 0))
        return false;
      double *column = panel + (k - begin) * n, root = std::sqrt(pivot);
      for (int64_t i = 0; i < k; ++i)
        column[i] = a[i * n + k] / root;
      column[k] = root;
      for (int64_t i = 0; i <= k; ++i)
        a[i * n + k] = column[i];
      for (int64_t i = 0; i < k; ++i) // the panel's own columns to the left
        addScaled(a + i * n + std::max(i, begin), -column[i], column + std::max(i, begin),
                  std::max<int64_t>(0, k - std::max(i, begin)));
    }
    for (int64_t i = 0; i < begin; ++i)
      for (int64_t k = end - 1; k >= begin; --k) {
        const double *column = panel + (k - begin) * n;
        addScaled(a + i * n + i, -column[i], column + i, begin - i);
      }
    end = begin;
  }
  return true;
}

/// The inverse of upper triangular R; `full` is zero before. `rows` is room for kPanel rows.
HEDDLE_VECTORIZED void invert(const double *r, int64_t n, double *full, double *rows) {
  for (int64_t end = n; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - kPanel);
    for (int64_t i = 0; i < kPanel * n; ++i)
      rows[i] = 0;
    for (int64_t k = end; k < n; ++k) // rows of the inverse that are done, each read once for the panel
      for (int64_t i = begin; i < end; ++i)
        addScaled(rows + (i - begin) * n + k, r[i * n + k], full + k * n + k, n - k);
    for (int64_t i = end - 1; i >= begin; --i) {
      double *row = rows + (i - begin) * n;
      for (int64_t k = i + 1; k < end; ++k)
        addScaled(row + k, r[i * n + k], full + k * n + k, n - k);
      const double pivot = 1 / r[i * n + i];
      for (int64_t j = i + 1; j < n; ++j)
        full[i * n + j] = -row[j] * pivot;
      full[i * n + i] = pivot;
    }
    end = begin;
  }
}

/// w[j][r] -= factor[j] * error[r] for the 16 rows r.
HEDDLE_VECTORIZED void spread(float *w, const float *factor, const float *error, int64_t count) {
  float e[SecondOrderRounder::kRows];
  for (int64_t r = 0; r < SecondOrderRounder::kRows; ++r)
    e[r] = error[r];
  for (int64_t j = 0; j < count; ++j)
    for (int64_t r = 0; r < SecondOrderRounder::kRows; ++r)
      w[j * SecondOrderRounder::kRows + r] -= factor[j] * e[r];
}

/// sums[r] += d G d^T of row d = rows[r]; each row of G is read once for all of them.
HEDDLE_VECTORIZED void addQuadratics(const float *gram, const float *rows, int64_t count, int64_t n,
                                     double *sums) {
  for (int64_t i = 0; i < n; ++i) {
    const float *g = gram + i * n;
    for (int64_t r = 0; r < count; ++r) {
      const float *d = rows + r * n;
      float lanes[16] = {};
      int64_t j = i + 1;
      for (; j + 16 <= n; j += 16)
        for (int64_t l = 0; l < 16; ++l)
          lanes[l] += g[j + l] * d[j + l];
      double dot = 0;
      for (; j < n; ++j)
        dot += g[j] * d[j];
      for (float lane : lanes)
        dot += lane;
      sums[r] += d[i] * (g[i] * d[i] + 2 * dot);
    }
  }
}

} // namespace

void InputStatistics::add(const float *rows, int64_t count) {
  std::vector<float> finite;
  for (int64_t m = 0; m < count; ++m) {
    const float *row = rows + m * columns;
    if (std::all_of(row, row + columns, [](float x) { return std::isfinite(x); }))
      finite.insert(finite.end(), row, row + columns);
  }
  const int64_t kept = static_cast<int64_t>(finite.size()) / columns;
  addProducts(gram.data(), finite.data(), kept, columns);
  ranges.add(finite.data(), static_cast<int64_t>(finite.size()));
  seen += kept;
}

double InputStatistics::loss(std::span<const float> changes) const {
  const int64_t count = static_cast<int64_t>(changes.size()) / columns;
  std::vector<double> sums(count);
  addQuadratics(gram.data(), changes.data(), count, columns, sums.data());
  return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(seen);
}

SecondOrderCorrection::SecondOrderCorrection(const InputStatistics &statistics)
    : columns(statistics.size()), factors(columns * columns), weights(columns) {
  assert(statistics.rowCount() > 0 && "nothing to learn from");
  std::vector<double> h(columns * columns), panel(kPanel * columns);
  double mean = 0;
  for (int64_t i = 0; i < columns; ++i)
    mean += statistics.moment(i, i) / static_cast<double>(columns);
  if (!(mean > 0))
    mean = 1; // all inputs are zero: any rounding will do
  for (double damping = kDamping;; damping *= 10) {
    for (int64_t i = 0; i < columns; ++i) {
      for (int64_t j = i; j < columns; ++j)
        h[i * columns + j] = statistics.moment(i, j);
      h[i * columns + i] += damping * mean;
    }
    if (factorize(h.data(), columns, panel.data()))
      break;
  }
  std::vector<double> inverse(columns * columns);
  invert(h.data(), columns, inverse.data(), panel.data());
  std::copy(inverse.begin(), inverse.end(), factors.begin());
  for (int64_t k = 0; k < columns; ++k) {
    const float pivot = factors[k * columns + k];
    weights[k] = 1 / (pivot * pivot);
  }
}

void SecondOrderRounder::round(int64_t first, int64_t count, std::span<const float> values,
                               std::span<uint8_t> stored) const {
  assert(count <= kRows);
  const Coder coder(scheme.format);
  const int64_t columns = correction.size();
  const int64_t span = gridSpan(scheme.format, columns), groups = columns / span;
  const bool shared = scheme.sharing != ScaleSharing::Group;
  std::vector<float> w(columns * kRows), group(span); // [column][row]
  std::vector<std::vector<Grid>> grids(count);
  std::vector<std::vector<uint8_t>> codes(count, std::vector<uint8_t>(columns));
  for (int64_t r = 0; r < count; ++r) {
    auto row = values.subspan(r * columns, columns);
    grids[r] = shared ? encoder.grids(first + r, row) : std::vector<Grid>(groups);
    for (int64_t k = 0; k < columns; ++k)
      w[k * kRows + r] = row[k];
  }
  for (int64_t k = 0; k < columns; ++k) {
    if (k % span == 0 && !shared) // the grid fits the weights as they are by now
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t j = 0; j < span; ++j)
          group[j] = w[(k + j) * kRows + r];
        grids[r][k / span] = coder.fit(group, correction.importance().subspan(k, span), ScaleFit::Search);
      }
    float error[kRows] = {};
    const float *factors = correction.row(k) + k;
    for (int64_t r = 0; r < count; ++r) {
      const Grid &grid = grids[r][k / span];
      const float value = w[k * kRows + r];
      codes[r][k] = coder.encode(grid, value);
      error[r] = (value - coder.decode(grid, codes[r][k])) / factors[0];
    }
    spread(w.data() + (k + 1) * kRows, factors + 1, error, columns - k - 1);
  }
  const uint64_t rowBytes = storedBytes(scheme.format, columns);
  for (int64_t r = 0; r < count; ++r)
    storeRow(scheme.format, codes[r], grids[r], stored.subspan(r * rowBytes, rowBytes));
}

} // namespace heddle
