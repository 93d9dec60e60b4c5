// Verifiers and effects of attention and of the selections that it takes.
#include "ir/Heddle.h"

using namespace mlir;
using namespace mlir::heddle;

int64_t ScoringOpInterface::kvHeads() {
  return getCache() ? cast<KvCacheType>(getCache().getType()).getHeads() : shapeOf(getKeys().getType())[1];
}
int64_t ScoringOpInterface::keyDim() { return shapeOf(getQuery().getType())[2]; }
int64_t ScoringOpInterface::groupSize() { return shapeOf(getQuery().getType())[1] / kvHeads(); }

int64_t AttentionOp::kvHeads() { return cast<ScoringOpInterface>(getOperation()).kvHeads(); }
int64_t AttentionOp::groupSize() { return cast<ScoringOpInterface>(getOperation()).groupSize(); }
int64_t AttentionOp::valueDim() {
  return getCache() ? cast<KvCacheType>(getCache().getType()).getValueDim()
                    : shapeOf(getValues().getType())[2];
}

Value AttentionOp::headSelection() {
  for (Value selection : getSelections())
    if (cast<SelectionType>(selection.getType()).getKind() == SelectionKind::Heads)
      return selection;
  return {};
}
Value AttentionOp::keySelection() {
  for (Value selection : getSelections())
    if (cast<SelectionType>(selection.getType()).getKind() != SelectionKind::Heads)
      return selection;
  return {};
}

void AttentionOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  if (!getCache())
    return;
  effects.emplace_back(MemoryEffects::Read::get());
  if (getKeys())
    effects.emplace_back(MemoryEffects::Write::get());
}

void TopKOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  if (getCache())
    effects.emplace_back(MemoryEffects::Read::get());
}

/// What all ops that score keys agree on.
static LogicalResult verifyScoring(ScoringOpInterface op) {
  if (op.kvHeads() < 1)
    return op->emitOpError() << "expected at least one KV head, but found " << op.kvHeads();
  Value keys = op.getKeys();
  int64_t keyDim =
      op.getCache() ? cast<KvCacheType>(op.getCache().getType()).getKeyDim() : shapeOf(keys.getType())[2];
  auto query = shapeOf(op.getQuery().getType());
  if (query[2] != keyDim)
    return op->emitOpError() << "expected heads of 'query' to be " << keyDim
                             << " wide like the keys, but found " << query[2];
  if (query[1] % op.kvHeads() != 0)
    return op->emitOpError() << "expected the number of query heads to be a multiple of the " << op.kvHeads()
                             << " KV heads, but found " << query[1];
  if (op.getKeySequences() && op.getCache())
    return op->emitOpError() << "expected keys 'from' other sequences to be in a tensor, but found a cache";
  return success();
}

LogicalResult AttentionOp::verify() {
  auto query = shapeOf(getQuery().getType()), result = shapeOf(getType());
  if (bool(getKeys()) != bool(getValues()))
    return emitOpError() << "expected 'keys' and 'values' together";
  if (!getCache() && !getKeys())
    return emitOpError() << "expected a cache, or 'keys' and 'values', but found neither";
  if (failed(verifyScoring(*this)))
    return failure();
  if (getKeys()) {
    auto keys = shapeOf(getKeys().getType()), values = shapeOf(getValues().getType());
    if (keys[1] != kvHeads() || keys[2] != query[2] || values[1] != kvHeads() || values[2] != valueDim())
      return emitOpError() << "expected 'keys' and 'values' to be [rows, " << kvHeads() << ", " << query[2]
                           << "] and [rows, " << kvHeads() << ", " << valueDim() << "], but found "
                           << getKeys().getType() << " and " << getValues().getType();
  }
  if (isSplit()) {
    if (result[0] != query[0] || result[1] != query[1] || result[2] < 1 || result[3] != valueDim() + 2)
      return emitOpError() << "expected chunks of the rows and heads of 'query', " << valueDim() + 2
                           << " numbers each, but found " << getType();
    if (!getCache())
      return emitOpError() << "expected a cache where chunks are not merged, but found none";
  } else if (result.size() != 3 || result[0] != query[0] || result[1] != query[1] || result[2] != valueDim())
    return emitOpError() << "expected 'result' to have the rows and heads of 'query' and width " << valueDim()
                         << ", but found " << getType();
  if (getSelections().size() > size_t(headSelection() ? 1 : 0) + (keySelection() ? 1 : 0))
    return emitOpError() << "expected at most one selection of heads and one of tokens or blocks, but found "
                         << getSelections().size() << " selections";
  if (Value heads = headSelection(); heads && shapeOf(heads.getType())[1] != query[1])
    return emitOpError() << "expected a selection among the " << query[1] << " query heads, but found "
                         << heads.getType();
  if (getSkip() && !headSelection())
    return emitOpError() << "expected 'skip' with a selection of heads, but found none";
  if (getSkip())
    if (auto skip = shapeOf(getSkip().getType()); skip[0] != query[1] || skip[1] != valueDim())
      return emitOpError() << "expected 'skip' to be [" << query[1] << ", " << valueDim() << "], but found "
                           << getSkip().getType();
  return success();
}

static LogicalResult verifyIndexRegion(Operation *op, Region &region, StringRef name, Type yields) {
  if (!region.hasOneBlock())
    return op->emitOpError() << "expected the " << name << " region to have one block";
  Block &block = region.front();
  unsigned count = block.getNumArguments();
  bool fits = (count == 6 || count == 7) && block.getArgument(0).getType().isF32();
  for (unsigned i = 1; fits && i < count; ++i)
    fits = block.getArgument(i).getType().isInteger(32);
  if (!fits)
    return op->emitOpError() << "expected the " << name
                             << " region to take (score: f32, q_head: i32, kv_head: i32, q_pos: i32, kv_pos: "
                                "i32, slot: i32), and perhaps (row: i32)";
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield || yield.getNumOperands() != 1 || yield.getOperand(0).getType() != yields)
    return op->emitOpError() << "expected the " << name << " region to yield one " << yields;
  for (Operation &inner : block.without_terminator()) {
    bool isScalarOp = isa<arith::ArithDialect, math::MathDialect>(inner.getDialect());
    if (!isa<ElementOp>(inner) && (!isScalarOp || inner.getNumRegions() != 0))
      return inner.emitOpError() << "is not allowed in the " << name
                                 << " region of an attention; expected arith and math ops and "
                                    "'heddle.element'";
  }
  return success();
}

static LogicalResult verifyScoringRegions(ScoringOpInterface op) {
  MLIRContext *context = op->getContext();
  if (failed(verifyIndexRegion(op, op.getScore(), "score", Float32Type::get(context))))
    return failure();
  if (op.getMask().empty())
    return success();
  return verifyIndexRegion(op, op.getMask(), "mask", IntegerType::get(context, 1));
}

LogicalResult AttentionOp::verifyRegions() { return verifyScoringRegions(*this); }

LogicalResult ElementOp::inferReturnTypes(MLIRContext *, std::optional<Location>, ValueRange operands,
                                          DictionaryAttr, OpaqueProperties, RegionRange,
                                          SmallVectorImpl<Type> &types) {
  types.push_back(cast<ShapedType>(operands[0].getType()).getElementType());
  return success();
}

LogicalResult ElementOp::verify() {
  auto shape = shapeOf(getTensor().getType());
  if (shape.size() > 4)
    return emitOpError() << "expected a tensor of rank 4 at most, but found " << getTensor().getType();
  if (shape.size() != getIndices().size())
    return emitOpError() << "expected an index for each of the " << shape.size()
                         << " dimensions of the tensor, but found " << getIndices().size();
  for (auto [number, size] : llvm::enumerate(shape))
    if (ShapedType::isDynamic(size) ? number != 0 : size < 1)
      return emitOpError() << "expected only the first dimension of the tensor to be dynamic and none to be "
                              "0, but found "
                           << getTensor().getType();
  return success();
}

LogicalResult MergeChunksOp::verify() {
  auto chunks = shapeOf(getChunks().getType()), result = shapeOf(getType());
  if (result[0] == chunks[0] && result[1] == chunks[1] && result[2] == chunks[3] - 2)
    return success();
  return emitOpError() << "expected 'result' to have the rows and heads of 'chunks' and width "
                       << chunks[3] - 2 << ", but found " << getType();
}

LogicalResult TopKOp::verify() {
  if (bool(getCache()) == bool(getKeys()))
    return emitOpError() << "expected either a cache or 'keys', but found "
                         << (getCache() ? "both" : "neither");
  if (failed(verifyScoring(*this)))
    return failure();
  if (getKeys() && shapeOf(getKeys().getType())[2] != shapeOf(getQuery().getType())[2])
    return emitOpError() << "expected heads of 'keys' to be " << shapeOf(getQuery().getType())[2]
                         << " wide like the query, but found " << getKeys().getType();
  if (int64_t(getK()) < 1)
    return emitOpError() << "expected 'k' to be at least 1, but found " << getK();
  auto selection = cast<SelectionType>(getType());
  if (selection.getKind() != SelectionKind::Tokens ||
      selection.getShape()[0] != shapeOf(getQuery().getType())[0])
    return emitOpError() << "expected a selection of tokens for each row of 'query', but found " << selection;
  return success();
}

LogicalResult TopKOp::verifyRegions() { return verifyScoringRegions(*this); }

LogicalResult SelectBlocksOp::verify() {
  auto selection = cast<SelectionType>(getType());
  auto mask = shapeOf(getMask().getType());
  if (selection.getKind() != SelectionKind::Blocks)
    return emitOpError() << "expected a selection of blocks, but found " << selection;
  int64_t rows = getPositions() ? shapeOf(getPositions().getType())[0] : mask[0];
  if (selection.getShape()[0] != rows || selection.getShape()[1] != mask[1])
    return emitOpError() << "expected a selection of " << mask[1] << " blocks for each row, but found "
                         << selection;
  if (getPositions() && (ShapedType::isDynamic(mask[0]) || mask[0] < 1))
    return emitOpError() << "expected a mask at positions to have a fixed positive number of rows, but found "
                         << getMask().getType();
  return success();
}
