// Verifiers and folds of the tensor ops.
#include "ir/Heddle.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::heddle;

/// The vector `weight` must have as many elements as the innermost axis of `input`.
static LogicalResult verifyInnermost(Operation *op, Value input, Value vector, StringRef name) {
  int64_t columns = shapeOf(input.getType()).back(), found = shapeOf(vector.getType()).back();
  if (columns == found)
    return success();
  return op->emitOpError() << "expected '" << name << "' to have " << columns
                           << " elements to match the innermost axis of 'input', but found " << found;
}

static LogicalResult verifySize(Operation *op, StringRef what, int64_t expected, int64_t found) {
  if (expected == found)
    return success();
  return op->emitOpError() << "expected " << what << " to be " << expected << ", but found " << found;
}

LogicalResult EmbeddingOp::verify() {
  auto table = shapeOf(getTable().getType());
  auto result = shapeOf(getType());
  if (table.size() != 2 || result.size() != 2)
    return emitOpError() << "expected 'table' and 'result' to have rank 2, but found rank " << table.size()
                         << " and " << result.size();
  if (failed(
          verifySize(*this, "the number of rows of 'result'", shapeOf(getIndices().getType())[0], result[0])))
    return failure();
  return verifySize(*this, "the width of 'result'", table[1], result[1]);
}

LogicalResult GatherRowsOp::verify() {
  auto input = shapeOf(getInput().getType()), result = shapeOf(getType());
  if (input.drop_front() != result.drop_front())
    return emitOpError() << "expected rows of 'result' to be those of 'input', " << getInput().getType()
                         << ", but found " << getType();
  return verifySize(*this, "the number of rows of 'result'", shapeOf(getIndices().getType())[0], result[0]);
}

bool LinearOp::hasBlockWeight() {
  return ::heddle::formatInfo(storageFormat(cast<StoredType>(getWeight().getType()).getEncoding()))
      .scheme.has_value();
}

LogicalResult LinearOp::verify() {
  auto input = shapeOf(getInput().getType()), weight = shapeOf(getWeight().getType()),
       result = shapeOf(getType());
  if (input.size() != 2 || weight.size() != 2 || result.size() != 2)
    return emitOpError() << "expected 'input', 'weight' and 'result' to have rank 2";
  if (input[1] != weight[1])
    return emitOpError() << "expected 'input' to have " << weight[1]
                         << " columns to match 'weight', but found " << input[1];
  if (cast<StoredType>(getWeight().getType()).getEncoding().isActivation())
    return emitOpError() << "expected 'weight' to be in a weight format, but found " << getWeight().getType();
  if (auto stored = dyn_cast<StoredType>(getInput().getType());
      stored && !stored.getEncoding().isActivation())
    return emitOpError() << "expected 'input' to be f32 or quantized activations, but found " << stored;
  if (failed(verifySize(*this, "the number of rows of 'result'", input[0], result[0])) ||
      failed(verifySize(*this, "the width of 'result'", weight[0], result[1])))
    return failure();
  if (getBias() &&
      failed(verifySize(*this, "the length of 'bias'", weight[0], shapeOf(getBias().getType())[0])))
    return failure();
  if (bool(getSelection()) != bool(getSelected()))
    return emitOpError() << "expected 'select' to say whether a selection covers results or inputs";
  if (!getSelection())
    return success();
  auto selection = cast<SelectionType>(getSelection().getType());
  int64_t columns = *getSelected() == Selected::Inputs ? weight[1] : weight[0];
  if (selection.getKind() != SelectionKind::Heads || selection.getShape()[0] != input[0] ||
      columns % selection.getShape()[1] != 0)
    return emitOpError() << "expected a selection of heads that share the " << columns << " "
                         << stringifySelected(*getSelected()) << " of each row evenly, but found "
                         << selection;
  return success();
}

LogicalResult RmsNormOp::verify() { return verifyInnermost(*this, getInput(), getWeight(), "weight"); }

LogicalResult LayerNormOp::verify() {
  if (failed(verifyInnermost(*this, getInput(), getWeight(), "weight")))
    return failure();
  return verifyInnermost(*this, getInput(), getBias(), "bias");
}

LogicalResult RopeOp::verify() {
  auto input = shapeOf(getInput().getType()), table = shapeOf(getTable().getType());
  if (table[1] % 2 != 0 || table[1] > input[2])
    return emitOpError() << "expected 'table' to have an even number of columns, at most the " << input[2]
                         << " of a head, but found " << table[1];
  return verifySize(*this, "the number of 'positions'", input[0], shapeOf(getPositions().getType())[0]);
}

LogicalResult CacheAppendOp::verify() {
  auto cache = cast<KvCacheType>(getCache().getType());
  auto keys = shapeOf(getKeys().getType()), values = shapeOf(getValues().getType());
  if (keys[1] != cache.getHeads() || keys[2] != cache.getKeyDim())
    return emitOpError() << "expected 'keys' to be [rows, " << cache.getHeads() << ", " << cache.getKeyDim()
                         << "] to match the cache, but found " << getKeys().getType();
  if (values[1] != cache.getHeads() || values[2] != cache.getValueDim())
    return emitOpError() << "expected 'values' to be [rows, " << cache.getHeads() << ", "
                         << cache.getValueDim() << "] to match the cache, but found "
                         << getValues().getType();
  return success();
}

OpFoldResult ScaleOp::fold(FoldAdaptor) {
  return getFactor().isExactlyValue(1.0) ? OpFoldResult(getInput()) : OpFoldResult();
}

namespace {
/// scale(scale(x, a), b) -> scale(x, a * b) when a is a power of two, so that no rounding is lost or moved.
struct MergeScales : OpRewritePattern<ScaleOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ScaleOp outer, PatternRewriter &rewriter) const override {
    auto inner = outer.getInput().getDefiningOp<ScaleOp>();
    if (!inner)
      return rewriter.notifyMatchFailure(outer, "input is not a scale");
    if (inner.getFactor().getExactLog2Abs() == INT_MIN)
      return rewriter.notifyMatchFailure(outer, "inner factor is not a power of two");
    float factor = inner.getFactor().convertToFloat() * outer.getFactor().convertToFloat();
    rewriter.replaceOpWithNewOp<ScaleOp>(outer, outer.getType(), inner.getInput(),
                                         rewriter.getF32FloatAttr(factor));
    return success();
  }
};
} // namespace

void ScaleOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<MergeScales>(context);
}

OpFoldResult ReshapeOp::fold(FoldAdaptor) {
  if (getInput().getType() == getType())
    return getInput();
  if (auto inner = getInput().getDefiningOp<ReshapeOp>()) {
    if (inner.getInput().getType() == getType())
      return inner.getInput();
    setOperand(inner.getInput());
    return getResult();
  }
  return {};
}

LogicalResult ReshapeOp::verify() {
  auto from = shapeOf(getInput().getType()), to = shapeOf(getType());
  bool overflows = false;
  auto inner = [&](ArrayRef<int64_t> shape) {
    int64_t product = 1;
    for (int64_t size : shape.drop_front())
      overflows |= llvm::MulOverflow(product, size, product);
    return product;
  };
  // Rows keep their meaning in a function; in a parameter's recipe there are none.
  bool inRecipe = isa<ParamOp>((*this)->getParentOp()) && !ShapedType::isDynamic(from[0]) && from[0] > 0 &&
                  to[0] > 0 && (from[0] % to[0] == 0 || to[0] % from[0] == 0);
  if (from[0] != to[0] && !inRecipe)
    return emitOpError() << "expected the first dimension to stay, but found " << getInput().getType()
                         << " and " << getType();
  int64_t before = inner(from), after = inner(to);
  if (overflows)
    return emitOpError() << "expected rows of fewer than 2^63 elements, but found " << getInput().getType()
                         << " and " << getType();
  if (from[0] < to[0] ? llvm::MulOverflow(after, to[0] / from[0], after)
                      : from[0] > to[0] && llvm::MulOverflow(before, from[0] / to[0], before))
    return emitOpError() << "expected rows of fewer than 2^63 elements, but found " << getInput().getType()
                         << " and " << getType();
  return verifySize(*this, "the product of the inner dimensions of 'result'", before, after);
}

LogicalResult PoolRowsOp::verify() {
  if (failed(verifySize(*this, "the number of 'sequences'", shapeOf(getInput().getType())[0],
                        shapeOf(getSequences().getType())[0])))
    return failure();
  return verifySize(*this, "the width of 'result'", shapeOf(getInput().getType())[1], shapeOf(getType())[1]);
}

LogicalResult QuantizeOp::verify() {
  auto stored = cast<StoredType>(getType());
  if (!stored.getEncoding().isActivation())
    return emitOpError() << "expected 'result' to be quantized activations, but found " << stored;
  if (shapeOf(getInput().getType()) != stored.getShape())
    return emitOpError() << "expected 'result' to have the shape of 'input', " << getInput().getType()
                         << ", but found " << stored;
  if (std::optional<APFloat> scale = getScale()) {
    const float value = scale->convertToFloat();
    if (!(value > 0) || !std::isfinite(value) || !std::isfinite(1 / value))
      return emitOpError() << "expected 'scale' to be positive, with an inverse that f32 holds, but found "
                           << value;
    Format format = stored.getEncoding().getFormat();
    if (format != Format::ACT_I8 && format != Format::ACT_I16)
      return emitOpError() << "expected 'scale' with codes of 'act_i8' or 'act_i16', but found '"
                           << stringifyFormat(format) << "'";
  }
  return success();
}

LogicalResult DequantizeOp::verify() {
  if (shapeOf(getInput().getType()) != shapeOf(getType()))
    return emitOpError() << "expected 'result' to have the shape of 'input', " << getInput().getType()
                         << ", but found " << getType();
  return success();
}
