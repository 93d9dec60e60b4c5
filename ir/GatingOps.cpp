// Verifiers of the ops of head gating.
#include "ir/Heddle.h"

using namespace mlir;
using namespace mlir::heddle;

/// `selection` must choose among `heads` heads for each of `rows` rows.
static LogicalResult verifyHeads(Operation *op, Value selection, int64_t rows, int64_t heads) {
  auto type = cast<SelectionType>(selection.getType());
  if (type.getKind() == SelectionKind::Heads && type.getShape()[0] == rows && type.getShape()[1] == heads)
    return success();
  return op->emitOpError() << "expected a selection of " << heads
                           << " heads with the rows of the other operands and results, but found " << type;
}

LogicalResult HeadGateOp::verify() {
  auto input = shapeOf(getInput().getType()), weight = shapeOf(getWeight().getType());
  if (input[1] != weight[1])
    return emitOpError() << "expected 'weight' to have " << input[1]
                         << " columns to match 'input', but found " << weight[1];
  if (getBias() && shapeOf(getBias().getType())[0] != weight[0])
    return emitOpError() << "expected 'bias' to have " << weight[0]
                         << " elements, one for each head, but found " << shapeOf(getBias().getType())[0];
  return verifyHeads(*this, getResult(), input[0], weight[0]);
}

LogicalResult MaskHeadsOp::verify() {
  auto input = shapeOf(getInput().getType());
  if (getSkip() && shapeOf(getSkip().getType()) != input.drop_front())
    return emitOpError() << "expected 'skip' to be [" << input[1] << ", " << input[2] << "], but found "
                         << getSkip().getType();
  return verifyHeads(*this, getSelection(), input[0], input[1]);
}

LogicalResult SkippedSumOp::verify() {
  auto table = shapeOf(getTable().getType()), result = shapeOf(getType());
  if (table[1] != result[1])
    return emitOpError() << "expected 'result' to have the " << table[1] << " columns of 'table', but found "
                         << getType();
  return verifyHeads(*this, getSelection(), result[0], table[0]);
}

LogicalResult BlockDiagonalOp::verify() {
  auto input = shapeOf(getInput().getType()), result = shapeOf(getType());
  if (llvm::is_contained(input, ShapedType::kDynamic) || result[0] != input[0] ||
      result[1] != input[0] * input[1])
    return emitOpError() << "expected a static [H, D] to become [H, H * D], but found "
                         << getInput().getType() << " and " << getType();
  return success();
}
