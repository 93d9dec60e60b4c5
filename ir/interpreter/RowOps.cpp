// Ops that work on one row at a time.
#include "ir/interpreter/Context.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

static int64_t clamp(int64_t index, int64_t count) { return std::clamp<int64_t>(index, 0, count - 1); }

static Real at(const Numbers &numbers, size_t i) { return {numbers.data[i], numbers.toleranceAt(i)}; }

static void set(Numbers &numbers, size_t i, Real value) {
  numbers.data[i] = value.value;
  if (!numbers.tolerance.empty())
    numbers.tolerance[i] = value.tolerance;
}

/// A result of `shape`, whose making costs `steps` for each element.
static llvm::Expected<Numbers> prepare(Operation *op, ArrayRef<int64_t> shape, Context &context,
                                       uint64_t steps = 1) {
  auto result = context.numbers(op, shape);
  if (!result)
    return result;
  if (llvm::Error error = context.spend(op, {result->data.size(), steps}))
    return std::move(error);
  return result;
}

Result interpreter::evaluateEmbedding(EmbeddingOp op, const Datum &table, const Integers &indices,
                                      Context &context) {
  int64_t rows = table.shape()[0], columns = table.shape()[1];
  if (rows == 0)
    return fail(op, "expected 'table' to have rows, but found none");
  auto result = prepare(op, {indices.shape[0], columns}, context);
  if (!result)
    return result.takeError();
  double scale = op.getScale().convertToFloat();
  std::vector<float> row(columns);
  for (int64_t i = 0; i < indices.shape[0]; ++i) {
    int64_t index = clamp(indices.data[i], rows);
    if (const Weights *weights = table.weights())
      ::heddle::decode(weights->format, weights->row(index), row);
    for (int64_t c = 0; c < columns; ++c) {
      Real element = table.weights() ? Real{row[c], 0} : at(*table.numbers(), index * columns + c);
      set(*result, i * columns + c, scale == 1 ? element : context.arithmetic.multiply(element, {scale, 0}));
    }
  }
  return std::move(*result);
}

Result interpreter::evaluateGatherRows(GatherRowsOp op, const Numbers &input, const Integers &indices,
                                       Context &context) {
  Shape shape = input.shape;
  shape[0] = indices.shape[0];
  auto result = prepare(op, shape, context);
  if (!result)
    return result.takeError();
  if (shape[0] > 0 && input.shape[0] == 0)
    return fail(op, "expected 'input' to have rows, but found none");
  size_t width = shape[0] ? result->data.size() / shape[0] : 0;
  for (int64_t i = 0; i < shape[0]; ++i)
    for (size_t c = 0; c < width; ++c)
      set(*result, i * width + c, at(input, clamp(indices.data[i], input.shape[0]) * width + c));
  return std::move(*result);
}

/// The innermost axis may be dynamic, and so may be the vectors that belong to it.
static llvm::Error checkLength(Operation *op, const Numbers &input, const Numbers &vector, StringRef name) {
  if (int64_t(vector.data.size()) == input.shape.back())
    return llvm::Error::success();
  return fail(op, "expected '" + name + "' to have " + Twine(input.shape.back()) +
                      " elements to match the innermost axis of 'input', but found " +
                      Twine(vector.data.size()));
}

/// A normalized element cannot leave [-bound, bound], whatever its operands' tolerances are.
static Real within(Real value, double bound) {
  return {value.value, std::min(value.tolerance, std::abs(bound) + std::abs(value.value))};
}

/// Applies `normalize(first element of the row)` to each innermost row.
template <typename Normalize>
static Result normalizeRows(Operation *op, const Numbers &input, Context &context, Normalize normalize) {
  auto result = prepare(op, input.shape, context, 4);
  if (!result)
    return result.takeError();
  size_t width = input.shape.back();
  for (size_t first = 0; width != 0 && first < input.data.size(); first += width)
    normalize(*result, first, width);
  return std::move(*result);
}

namespace {
/// Of a sum of squares: below zero is only where a tolerance reaches.
double squareRoot(double x) { return x < 0 ? 0 : std::sqrt(x); }

/// Sum of squares of a row, with what its tolerance is.
Real sumOfSquares(const Arithmetics &arithmetic, ArrayRef<Real> row) {
  double sum = 0, moved = 0;
  for (Real x : row) {
    sum = arithmetic.round(sum + arithmetic.round(x.value * x.value));
    moved += square((2 * std::abs(x.value) + x.tolerance) * x.tolerance);
  }
  return {sum, arithmetic.unit * sum + std::sqrt(moved)};
}

std::vector<Real> rowAt(const Numbers &input, size_t first, size_t width) {
  std::vector<Real> row;
  for (size_t i = 0; i < width; ++i)
    row.push_back(at(input, first + i));
  return row;
}

/// 1 / sqrt(sum / count + epsilon)
Real inverseRoot(const Arithmetics &arithmetic, Real sum, double count, double epsilon) {
  Real mean = arithmetic.add(arithmetic.divide(sum, {count, 0}), {epsilon, 0});
  return arithmetic.divide({1, 0}, arithmetic.apply(squareRoot, mean));
}
} // namespace

Result interpreter::evaluateRmsNorm(RmsNormOp op, const Numbers &input, const Numbers &weight,
                                    Context &context) {
  if (llvm::Error error = checkLength(op, input, weight, "weight"))
    return std::move(error);
  const Arithmetics &a = context.arithmetic;
  double epsilon = op.getEpsilon().convertToFloat();
  return normalizeRows(op, input, context, [&](Numbers &result, size_t first, size_t width) {
    std::vector<Real> row = rowAt(input, first, width);
    Real factor = inverseRoot(a, sumOfSquares(a, row), width, epsilon);
    for (size_t i = 0; i < width; ++i)
      set(result, first + i, a.multiply(within(a.multiply(row[i], factor), std::sqrt(width)), at(weight, i)));
  });
}

Result interpreter::evaluateLayerNorm(LayerNormOp op, const Numbers &input, const Numbers &weight,
                                      const Numbers &bias, Context &context) {
  if (llvm::Error error = checkLength(op, input, weight, "weight"))
    return std::move(error);
  if (llvm::Error error = checkLength(op, input, bias, "bias"))
    return std::move(error);
  const Arithmetics &a = context.arithmetic;
  double epsilon = op.getEpsilon().convertToFloat();
  return normalizeRows(op, input, context, [&](Numbers &result, size_t first, size_t width) {
    double sum = 0, magnitude = 0, moved = 0;
    for (size_t i = 0; i < width; ++i) {
      Real x = at(input, first + i);
      sum = a.round(sum + x.value);
      magnitude += std::abs(x.value);
      moved += square(x.tolerance);
    }
    Real mean = a.divide({sum, a.unit * magnitude + std::sqrt(moved)}, {double(width), 0});
    std::vector<Real> centred;
    for (size_t i = 0; i < width; ++i)
      centred.push_back(a.subtract(at(input, first + i), mean));
    Real factor = inverseRoot(a, sumOfSquares(a, centred), width, epsilon);
    for (size_t i = 0; i < width; ++i)
      set(result, first + i,
          a.add(a.multiply(within(a.multiply(centred[i], factor), std::sqrt(width)), at(weight, i)),
                at(bias, i)));
  });
}

Result interpreter::evaluateL2Normalize(L2NormalizeOp op, const Numbers &input, Context &context) {
  const Arithmetics &a = context.arithmetic;
  double epsilon = op.getEpsilon().convertToFloat();
  return normalizeRows(op, input, context, [&](Numbers &result, size_t first, size_t width) {
    std::vector<Real> row = rowAt(input, first, width);
    Real length = a.apply(squareRoot, sumOfSquares(a, row));
    length = a.maximum(length, {epsilon, 0});
    for (size_t i = 0; i < width; ++i)
      set(result, first + i, within(a.divide(row[i], length), 1));
  });
}

Result interpreter::evaluateRope(RopeOp op, const Numbers &input, const Numbers &table,
                                 const Integers &positions, Context &context) {
  const Arithmetics &a = context.arithmetic;
  int64_t rows = input.shape[0], heads = input.shape[1], width = input.shape[2];
  int64_t rotated = table.shape[1], half = rotated / 2;
  if (positions.shape[0] != rows)
    return fail(op, Twine("expected a position for each of ") + Twine(rows) + " rows, but found " +
                        Twine(positions.shape[0]));
  if (rows > 0 && table.shape[0] == 0)
    return fail(op, "expected 'table' to have rows, but found none");
  auto result = prepare(op, input.shape, context, 4);
  if (!result)
    return result.takeError();
  for (int64_t r = 0; r < rows; ++r) {
    size_t angles = clamp(positions.data[r], table.shape[0]) * rotated;
    for (int64_t h = 0; h < heads; ++h) {
      size_t head = (r * heads + h) * width;
      for (int64_t i = rotated; i < width; ++i)
        set(*result, head + i, at(input, head + i));
      for (int64_t i = 0; i < half; ++i) {
        bool interleaved = op.getPairing() == Pairing::Interleaved;
        size_t first = head + (interleaved ? 2 * i : i), second = interleaved ? first + 1 : first + half;
        Real x = at(input, first), y = at(input, second);
        Real cosine = at(table, angles + i), sine = at(table, angles + half + i);
        // The two products may cancel, so they count apart: each carries the rounding of the sum too.
        auto combine = [&](Real p, Real q) {
          return a.result(p.value + q.value, std::abs(p.value) + std::abs(q.value),
                          p.tolerance + q.tolerance);
        };
        Real minus = a.multiply(y, sine);
        set(*result, first, combine(a.multiply(x, cosine), {-minus.value, minus.tolerance}));
        set(*result, second, combine(a.multiply(x, sine), a.multiply(y, cosine)));
      }
    }
  }
  return std::move(*result);
}

Result interpreter::evaluateRopeTable(RopeTableOp op, const Numbers *factors, Context &context) {
  auto shape = op.getType().getShape();
  auto result = prepare(op, shape, context, 8);
  if (!result)
    return result.takeError();
  int64_t half = shape[1] / 2;
  double base = op.getBase().convertToDouble(), scale = op.getScale().convertToDouble();
  for (int64_t i = 0; i < half; ++i) {
    double frequency = scale * std::pow(base, -2.0 * i / shape[1]) / (factors ? factors->data[i] : 1.0);
    for (int64_t p = 0; p < shape[0]; ++p) {
      // One rounding to f32, whatever the arithmetic: the table is a parameter, the same for everyone.
      result->data[p * shape[1] + i] = static_cast<float>(std::cos(p * frequency));
      result->data[p * shape[1] + half + i] = static_cast<float>(std::sin(p * frequency));
    }
  }
  return std::move(*result);
}

Result interpreter::evaluatePoolRows(PoolRowsOp op, const Numbers &input, const Integers &sequences,
                                     Context &context) {
  const Arithmetics &a = context.arithmetic;
  int64_t rows = input.shape[0], columns = input.shape[1], declared = op.getType().getShape()[0];
  if (sequences.shape[0] != rows)
    return fail(op, Twine("expected a sequence for each of ") + Twine(rows) + " rows, but found " +
                        Twine(sequences.shape[0]));
  int64_t last = -1;
  for (int64_t sequence : sequences.data) {
    if (sequence < std::max<int64_t>(last, 0) || sequence > rows + std::max<int64_t>(declared, 0))
      return fail(op, "expected sequences to be numbered from 0 and their rows to be contiguous and "
                      "ascending, but found sequence " +
                          Twine(sequence) + " after " + Twine(last));
    last = sequence;
  }
  int64_t count = ShapedType::isDynamic(declared) ? last + 1 : declared;
  if (last >= count)
    return fail(op, Twine("expected sequences below ") + Twine(count) + ", but found " + Twine(last));
  auto result = prepare(op, {count, columns}, context);
  if (!result)
    return result.takeError();
  if (llvm::Error error = context.spend(op, {input.data.size()}))
    return std::move(error);
  for (int64_t begin = 0, end; begin < rows; begin = end) {
    int64_t sequence = sequences.data[begin];
    for (end = begin + 1; end < rows && sequences.data[end] == sequence;)
      ++end;
    for (int64_t c = 0; c < columns; ++c) {
      size_t target = sequence * columns + c;
      if (op.getKind() != PoolKind::Mean) {
        int64_t row = op.getKind() == PoolKind::First ? begin : end - 1;
        set(*result, target, at(input, row * columns + c));
        continue;
      }
      double sum = 0, magnitude = 0, moved = 0;
      for (int64_t r = begin; r < end; ++r) {
        sum = a.round(sum + input.data[r * columns + c]);
        magnitude += std::abs(input.data[r * columns + c]);
        moved += square(input.toleranceAt(r * columns + c));
      }
      set(*result, target, a.divide({sum, a.unit * magnitude + std::sqrt(moved)}, {double(end - begin), 0}));
    }
  }
  return std::move(*result);
}
