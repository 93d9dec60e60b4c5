// Matrix products: dense ones, and those of quantized activations with block-quantized weights, in exact
// integers.
#include "ir/Bfloat16.h"
#include "ir/interpreter/Context.h"
#include <numeric>

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

namespace {

/// Output columns that are computed together, so that the compiler vectorizes over them; each sums in
/// ascending k.
constexpr int kTile = 8;

/// Rows that are computed together: their sums do not wait for each other.
constexpr int kRows = 4;

/// sums[i][j] = sum over k of x[i][k] * w[k][j], each step rounded to f32 when `Single`.
template <bool Single, int Rows>
inline __attribute__((always_inline)) void accumulateLanes(const double *x, const double *w, int64_t columns,
                                                           double (*sums)[kTile]) {
  double acc[Rows][kTile] = {};
  for (int64_t k = 0; k < columns; ++k)
    for (int i = 0; i < Rows; ++i)
      for (int j = 0; j < kTile; ++j) {
        double sum = x[i * columns + k] * w[k * kTile + j] + acc[i][j];
        acc[i][j] = Single ? static_cast<double>(static_cast<float>(sum)) : sum;
      }
  std::copy(&acc[0][0], &acc[0][0] + Rows * kTile, &sums[0][0]);
}

/// Sum of products of `count` codes, exact: products of 8 and 16 bits, 32 of which fit 32 bits.
inline __attribute__((always_inline)) int64_t dotCodes(const int16_t *w, const int16_t *x, int count) {
  int64_t total = 0;
  for (int first = 0; first < count; first += 16) {
    int32_t sum = 0;
    for (int j = first; j < first + 16; ++j)
      sum += int32_t(w[j]) * x[j];
    total += sum;
  }
  return total;
}

// The same with wider vectors: lanes are independent of each other, integers exact, and this set of
// instructions has no fused multiply-add, so that all processors compute the same bits.
#if defined(__x86_64__)
#define HEDDLE_WIDER __attribute__((target("avx2")))
const bool isWider = __builtin_cpu_supports("avx2");
#else
#define HEDDLE_WIDER
const bool isWider = false;
#endif
template <bool Single, int Rows>
HEDDLE_WIDER void accumulateWider(const double *x, const double *w, int64_t columns, double (*sums)[kTile]) {
  accumulateLanes<Single, Rows>(x, w, columns, sums);
}
HEDDLE_WIDER int64_t dotWider(const int16_t *w, const int16_t *x, int count) { return dotCodes(w, x, count); }

template <bool Single, int Rows>
void accumulate(const double *x, const double *w, int64_t columns, double (*sums)[kTile]) {
  isWider ? accumulateWider<Single, Rows>(x, w, columns, sums)
          : accumulateLanes<Single, Rows>(x, w, columns, sums);
}
int64_t dot(const int16_t *w, const int16_t *x, int count) {
  return isWider ? dotWider(w, x, count) : dotCodes(w, x, count);
}

/// A row of block-quantized weights, taken apart.
struct CodedRow {
  std::vector<int16_t> code;   // q - z, or q where there is a minimum
  std::vector<double> scale;   // S by sub-block
  std::vector<double> minimum; // M by sub-block

  CodedRow(const ::heddle::FormatInfo &info, ArrayRef<uint8_t> bytes, int64_t columns) {
    const ::heddle::BlockScheme &scheme = *info.scheme;
    ::heddle::BlockParts parts;
    code.resize(columns);
    for (int64_t done = 0; done < columns; done += info.blockElements) {
      ::heddle::splitBlock(info.format, bytes, done / info.blockElements, parts);
      for (int e = 0; e < info.blockElements; ++e)
        code[done + e] = parts.code[e] - (scheme.hasMin ? 0 : scheme.zero);
      for (int s = 0; s < info.blockElements / scheme.sub; ++s) {
        scale.push_back(parts.scale * static_cast<float>(parts.subScale[s]));
        minimum.push_back(parts.minimum * static_cast<float>(parts.subMinimum[s]));
      }
    }
  }
};

class Linear {
public:
  Linear(LinearOp op, const Weights &weight, const Numbers *bias, Context &context)
      : op(op), weight(weight), bias(bias), context(context), info(::heddle::formatInfo(weight.format)),
        in(weight.columns()), out(weight.rows()) {}

  Result dense(const Numbers &input) {
    auto result = prepare(input.shape[0]);
    if (!result)
      return result.takeError();
    std::vector<double> tile(in * kTile);
    for (int64_t first = 0; first < out; first += kTile) {
      decodeTile(first, tile);
      int64_t m = 0, rows = input.shape[0];
      for (; m + kRows <= rows; m += kRows)
        context.arithmetic.single ? denseRows<true, kRows>(input, *result, m, first, tile)
                                  : denseRows<false, kRows>(input, *result, m, first, tile);
      for (; m < rows; ++m)
        context.arithmetic.single ? denseRows<true, 1>(input, *result, m, first, tile)
                                  : denseRows<false, 1>(input, *result, m, first, tile);
    }
    addTolerance(
        *result, [&](size_t i) { return std::abs(input.data[i]); },
        [&](size_t i) { return input.toleranceAt(i); });
    return std::move(*result);
  }

  Result quantized(const Activations &input) {
    roundsWeights = input.planes == 0;
    if (!info.scheme || roundsWeights)
      return dense(decoded(input));
    auto result = prepare(input.rows());
    if (!result)
      return result.takeError();
    int64_t steps = in / info.scheme->sub;
    std::vector<int16_t> codes(input.codes.begin(), input.codes.end());
    std::vector<int64_t> sums(info.scheme->hasMin ? input.rows() * steps : 0); // of the codes of a step
    for (size_t s = 0; s < sums.size(); ++s)
      sums[s] = std::accumulate(&codes[s * info.scheme->sub], &codes[s * info.scheme->sub] + info.scheme->sub,
                                int64_t(0));
    std::vector<double> products(input.rows());
    for (int64_t r = 0; r < out; ++r) {
      contract(CodedRow(info, weight.row(r), in), codes, sums, input.scales, products);
      for (int64_t m = 0; m < input.rows(); ++m)
        store(*result, m, r, products[m]);
    }
    auto size = [&](size_t i) { return std::abs(double(input.codes[i])) * input.scales[i / 32]; };
    addTolerance(*result, size, [&](size_t i) { return input.tolerance[i]; });
    return std::move(*result);
  }

private:
  /// Rows m .. m + Rows of columns first .. first + kTile.
  template <bool Single, int Rows>
  void denseRows(const Numbers &input, Numbers &result, int64_t m, int64_t first,
                 const std::vector<double> &tile) {
    double sums[Rows][kTile];
    accumulate<Single, Rows>(&input.data[m * in], tile.data(), in, sums);
    for (int i = 0; i < Rows; ++i)
      for (int64_t r = first; r < std::min(first + kTile, out); ++r)
        store(result, m + i, r, sums[i][r - first]);
  }

  /// docs/kernel-abi.md, "What a contraction computes": one row of weights with all rows of activations.
  /// Rows run innermost, as their sums do not wait for each other.
  void contract(const CodedRow &row, ArrayRef<int16_t> codes, ArrayRef<int64_t> sums, ArrayRef<float> scales,
                MutableArrayRef<double> products) {
    auto round = [&](double x) { return context.arithmetic.round(x); };
    int sub = info.scheme->sub;
    int64_t steps = in / sub;
    std::fill(products.begin(), products.end(), 0.0);
    for (int64_t s = 0; s < steps; ++s)
      for (size_t m = 0; m < products.size(); ++m) {
        double scale = scales[m * in / 32 + s * sub / 32], acc = products[m];
        acc = round(round(dot(&row.code[s * sub], &codes[m * in + s * sub], sub)) *
                        round(row.scale[s] * scale) +
                    acc);
        if (info.scheme->hasMin)
          acc = round(acc - row.minimum[s] * round(scale * sums[m * steps + s]));
        products[m] = acc;
      }
  }

  llvm::Expected<Numbers> prepare(int64_t rows) {
    if (llvm::Error error = context.spend(op, {uint64_t(rows), uint64_t(in), uint64_t(out)}))
      return std::move(error);
    if (llvm::Error error = context.spend(op, {uint64_t(in), uint64_t(out)})) // decoding
      return std::move(error);
    return context.numbers(op, {rows, out});
  }

  void store(Numbers &result, int64_t m, int64_t r, double sum) {
    result.data[m * out + r] = bias ? context.arithmetic.round(sum + bias->data[r]) : sum;
  }

  /// Rows first .. first + kTile of the weight as [k][row]; zeros past the last.
  void decodeTile(int64_t first, std::vector<double> &tile) {
    std::vector<float> row(in);
    for (int j = 0; j < kTile; ++j) {
      if (first + j < out)
        ::heddle::decode(weight.format, weight.row(first + j), row);
      else
        std::fill(row.begin(), row.end(), 0.0f);
      for (int64_t k = 0; k < in; ++k)
        tile[k * kTile + j] = roundsWeights ? ::heddle::roundToBfloat16(row[k]) : row[k];
    }
  }

  /// |w| of each weight, and in `sizes` what a contraction adds up: S * q and M apart where there is a
  /// minimum.
  std::vector<double> weightSizes(int64_t r, std::vector<double> &sizes) {
    std::vector<double> weights(in);
    sizes.resize(in);
    if (info.scheme) {
      CodedRow row(info, weight.row(r), in);
      for (int64_t k = 0; k < in; ++k) {
        int64_t s = k / info.scheme->sub;
        double product = row.scale[s] * row.code[k], minimum = info.scheme->hasMin ? row.minimum[s] : 0;
        weights[k] = std::abs(product - minimum);
        sizes[k] = std::abs(product) + std::abs(minimum);
      }
      return weights;
    }
    std::vector<float> row(in);
    ::heddle::decode(weight.format, weight.row(r), row);
    for (int64_t k = 0; k < in; ++k)
      weights[k] = sizes[k] = std::abs(row[k]);
    return weights;
  }

  template <typename Size, typename Tolerance>
  void addTolerance(Numbers &result, Size size, Tolerance tolerance) {
    if (!context.tracks())
      return;
    std::vector<double> magnitudes(result.shape[0] * in), moves(magnitudes.size());
    for (size_t i = 0; i < moves.size(); ++i) {
      magnitudes[i] = size(i);
      moves[i] = tolerance(i);
    }
    for (int64_t r = 0; r < out; ++r) {
      std::vector<double> sizes, weights = weightSizes(r, sizes);
      for (int64_t m = 0; m < result.shape[0]; ++m) {
        double magnitude = bias ? std::abs(bias->data[r]) : 0, squares = 0;
        for (int64_t k = 0; k < in; ++k) {
          magnitude += sizes[k] * magnitudes[m * in + k];
          squares += square(weights[k] * moves[m * in + k]);
        }
        result.tolerance[m * out + r] =
            context.arithmetic.unit * magnitude + std::sqrt(squares) + (bias ? bias->toleranceAt(r) : 0);
      }
    }
  }

  Numbers decoded(const Activations &input) {
    if (input.planes == 0)
      return {input.shape, input.values, input.tolerance, {}};
    Numbers numbers{input.shape, std::vector<double>(input.codes.size()), input.tolerance, {}};
    for (size_t i = 0; i < input.codes.size(); ++i)
      numbers.data[i] = context.arithmetic.round(double(input.scales[i / 32]) * input.codes[i]);
    return numbers;
  }

  LinearOp op;
  const Weights &weight;
  const Numbers *bias;
  Context &context;
  const ::heddle::FormatInfo &info;
  int64_t in, out;
  bool roundsWeights = false; // to bf16, as their activations are
};

} // namespace

Result interpreter::evaluateLinear(LinearOp op, const Datum &input, const Weights &weight,
                                   const Numbers *bias, Context &context) {
  Linear linear(op, weight, bias, context);
  return input.activations() ? linear.quantized(*input.activations()) : linear.dense(*input.numbers());
}
