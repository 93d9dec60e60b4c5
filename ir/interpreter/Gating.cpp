// Gates of attention heads, and what they leave out.
#include "ir/interpreter/Context.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

Result interpreter::evaluateHeadGate(HeadGateOp op, const Numbers &input, const Numbers &weight,
                                     const Numbers *bias, Context &context) {
  int64_t rows = input.shape[0], columns = input.shape[1], heads = weight.shape[0];
  if (llvm::Error error = context.spend(op, {uint64_t(rows), uint64_t(heads), uint64_t(columns)}))
    return std::move(error);
  auto charge = context.charge(op, rows * heads, sizeof(int64_t));
  if (!charge)
    return charge.takeError();
  Integers result{{rows, heads}, std::vector<int64_t>(rows * heads), std::move(*charge)};
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t head = 0; head < heads; ++head) {
      double sum = 0;
      for (int64_t k = 0; k < columns; ++k)
        sum = context.arithmetic.round(sum + input.data[row * columns + k] * weight.data[head * columns + k]);
      if (bias)
        sum = context.arithmetic.round(sum + bias->data[head]);
      result.data[row * heads + head] = sum > 0;
    }
  return std::move(result);
}

/// Whether element `i` of `input` is zero in whatever form it has.
static bool isZero(const Datum &input, size_t i) {
  if (const Numbers *numbers = input.numbers())
    return numbers->data[i] == 0;
  const Activations &activations = *input.activations();
  return activations.planes == 0 ? activations.values[i] == 0 : activations.codes[i] == 0;
}

Result interpreter::evaluateSelectedLinear(LinearOp op, const Datum &input, const Weights &weight,
                                           const Numbers *bias, const Integers &selection, Context &context) {
  int64_t rows = input.shape()[0], heads = selection.shape[1];
  if (selection.shape[0] != rows)
    return fail(op, Twine("expected a selection for each of ") + Twine(rows) + " rows, but found " +
                        Twine(selection.shape[0]));
  bool ofInputs = op.getSelected() == Selected::Inputs;
  int64_t columns = ofInputs ? weight.columns() : weight.rows(), width = columns / heads;
  auto isSkipped = [&](size_t i) { return selection.data[i / columns * heads + i % columns / width] == 0; };
  if (ofInputs)
    for (size_t i = 0; i < size_t(rows * columns); ++i)
      if (isSkipped(i) && !isZero(input, i))
        return fail(op, Twine("expected the input to be 0 in heads that are not selected, but row ") +
                            Twine(i / columns) + " holds another number in head " +
                            Twine(i % columns / width));
  Result result = evaluateLinear(op, input, weight, bias, context);
  if (!result || ofInputs)
    return result;
  Numbers numbers = *result->numbers();
  for (size_t i = 0; i < numbers.data.size(); ++i)
    if (isSkipped(i))
      numbers.data[i] = std::numeric_limits<double>::quiet_NaN();
  return numbers;
}

Result interpreter::evaluateMaskHeads(MaskHeadsOp op, const Numbers &input, const Integers &selection,
                                      const Numbers *skip, Context &context) {
  if (selection.shape[0] != input.shape[0])
    return fail(op, Twine("expected a selection for each of ") + Twine(input.shape[0]) + " rows, but found " +
                        Twine(selection.shape[0]));
  auto result = context.numbers(op, input.shape);
  if (!result)
    return result.takeError();
  int64_t heads = input.shape[1], width = input.shape[2];
  for (size_t i = 0; i < result->data.size(); ++i) {
    bool selected = selection.data[i / width] != 0;
    size_t skipped = i % (heads * width);
    result->data[i] = selected ? input.data[i] : skip ? skip->data[skipped] : 0;
    if (context.tracks())
      result->tolerance[i] = selected ? input.toleranceAt(i) : skip ? skip->toleranceAt(skipped) : 0;
  }
  return std::move(*result);
}

Result interpreter::evaluateSkippedSum(SkippedSumOp op, const Numbers &table, const Integers &selection,
                                       Context &context) {
  int64_t rows = selection.shape[0], heads = table.shape[0], columns = table.shape[1];
  if (llvm::Error error = context.spend(op, {uint64_t(rows), uint64_t(heads), uint64_t(columns)}))
    return std::move(error);
  auto result = context.numbers(op, {rows, columns});
  if (!result)
    return result.takeError();
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      double sum = 0, magnitude = 0, moved = 0;
      for (int64_t head = 0; head < heads; ++head) {
        if (selection.data[row * heads + head] != 0)
          continue;
        size_t i = head * columns + column;
        sum = context.arithmetic.round(sum + table.data[i]);
        magnitude += std::abs(table.data[i]);
        moved += table.toleranceAt(i);
      }
      result->data[row * columns + column] = sum;
      if (context.tracks())
        result->tolerance[row * columns + column] = context.arithmetic.unit * magnitude + moved;
    }
  return std::move(*result);
}

Result interpreter::evaluateBlockDiagonal(BlockDiagonalOp op, const Numbers &input, Context &context) {
  int64_t rows = input.shape[0], width = input.shape[1];
  auto result = context.numbers(op, shapeOf(op.getType()));
  if (!result)
    return result.takeError();
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < width; ++i) {
      size_t to = row * rows * width + row * width + i;
      result->data[to] = input.data[row * width + i];
      if (context.tracks())
        result->tolerance[to] = input.toleranceAt(row * width + i);
    }
  return std::move(*result);
}

Result interpreter::evaluateKeepParts(KeepPartsOp op, const Datum &input, Context &context) {
  auto shape = shapeOf(op.getInput().getType());
  int64_t outer = 1, inner = op.partSize(), axis = op.getAxis();
  for (int64_t size : shape.take_front(axis))
    outer *= size;
  for (int64_t size : shape.drop_front(axis + 1))
    inner *= size;
  // Copies the kept parts of each outer row; a part is `size` units that `copy` moves.
  auto copyParts = [&](int64_t size, auto copy) {
    for (int64_t row = 0; row < outer; ++row)
      for (int64_t part : op.keptParts())
        copy((row * int64_t(op.getKeep().size()) + part) * size, size);
  };
  if (const Weights *weights = input.weights()) {
    auto bytes = std::make_shared<std::vector<uint8_t>>();
    copyParts(::heddle::storedBytes(weights->format, inner), [&](int64_t begin, int64_t size) {
      auto from = weights->bytes.slice(begin, size);
      bytes->insert(bytes->end(), from.begin(), from.end());
    });
    return Weights{Shape(shapeOf(op.getType())), weights->format, *bytes, bytes};
  }
  const Numbers &numbers = *input.numbers();
  auto result = context.numbers(op, shapeOf(op.getType()));
  if (!result)
    return result.takeError();
  int64_t to = 0;
  copyParts(inner, [&](int64_t begin, int64_t size) {
    for (int64_t i = begin; i < begin + size; ++i, ++to) {
      result->data[to] = numbers.data[i];
      if (context.tracks())
        result->tolerance[to] = numbers.toleranceAt(i);
    }
  });
  return std::move(*result);
}
