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

SmallVector<int64_t> KeepPartsOp::keptParts() {
  SmallVector<int64_t> parts;
  for (auto [number, keeps] : llvm::enumerate(getKeep()))
    if (keeps)
      parts.push_back(number);
  return parts;
}

int64_t KeepPartsOp::partSize() {
  return shapeOf(getInput().getType())[getAxis()] / int64_t(getKeep().size());
}

LogicalResult KeepPartsOp::verify() {
  auto shape = shapeOf(getInput().getType());
  int64_t axis = getAxis(), parts = getKeep().size();
  if (axis < 0 || axis >= int64_t(shape.size()) || llvm::is_contained(shape, ShapedType::kDynamic))
    return emitOpError() << "expected 'axis' to be one of a static input, but found " << axis << " of "
                         << getInput().getType();
  if (parts == 0 || shape[axis] % parts != 0)
    return emitOpError() << "expected 'keep' to cut the " << shape[axis] << " elements of axis " << axis
                         << " into equal parts, but found " << parts << " entries";
  SmallVector<int64_t> expected(shape);
  expected[axis] = keptParts().size() * partSize();
  auto stored = dyn_cast<StoredType>(getInput().getType());
  if (stored && failed(StoredType::verify([&] { return emitOpError(); }, expected, stored.getElementType(),
                                          stored.getEncoding())))
    return failure();
  Type type =
      stored ? Type(StoredType::get(getContext(), expected, stored.getElementType(), stored.getEncoding()))
             : cast<RankedTensorType>(getInput().getType()).clone(expected);
  if (stored) {
    EncAttr encoding = stored.getEncoding();
    int64_t block = encoding.isActivation() ? 1 : ::heddle::formatInfo(storageFormat(encoding)).blockElements;
    bool cutsBlocks = axis + 1 == int64_t(shape.size()) && partSize() % block != 0;
    if (encoding.isActivation() || encoding.getLayout() != Layout::Rows || cutsBlocks)
      return emitOpError() << "expected weights in row order and parts of whole blocks of " << block
                           << ", but found parts of " << partSize() << " of " << stored;
  }
  if (getType() != type)
    return emitOpError() << "expected 'result' to be " << type << ", but found " << getType();
  return success();
}
