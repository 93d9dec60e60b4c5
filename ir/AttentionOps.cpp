// Verifiers and effects of attention.
#include "ir/Heddle.h"

using namespace mlir;
using namespace mlir::heddle;

int64_t AttentionOp::kvHeads() {
  return getCache() ? cast<KvCacheType>(getCache().getType()).getHeads() : shapeOf(getKeys().getType())[1];
}
int64_t AttentionOp::valueDim() {
  return getCache() ? cast<KvCacheType>(getCache().getType()).getValueDim()
                    : shapeOf(getValues().getType())[2];
}
int64_t AttentionOp::groupSize() { return shapeOf(getQuery().getType())[1] / kvHeads(); }

void AttentionOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  if (!getCache())
    return;
  effects.emplace_back(MemoryEffects::Read::get());
  if (getKeys())
    effects.emplace_back(MemoryEffects::Write::get());
}

LogicalResult AttentionOp::verify() {
  auto query = shapeOf(getQuery().getType()), result = shapeOf(getType());
  if (bool(getKeys()) != bool(getValues()))
    return emitOpError() << "expected 'keys' and 'values' together";
  if (!getCache() && !getKeys())
    return emitOpError() << "expected a cache, or 'keys' and 'values', but found neither";
  if (kvHeads() < 1)
    return emitOpError() << "expected at least one KV head, but found " << kvHeads();
  int64_t keyDim =
      getCache() ? cast<KvCacheType>(getCache().getType()).getKeyDim() : shapeOf(getKeys().getType())[2];
  if (query[2] != keyDim)
    return emitOpError() << "expected heads of 'query' to be " << keyDim << " wide like the keys, but found "
                         << query[2];
  if (query[1] % kvHeads() != 0)
    return emitOpError() << "expected the number of query heads to be a multiple of the " << kvHeads()
                         << " KV heads, but found " << query[1];
  if (getKeys()) {
    auto keys = shapeOf(getKeys().getType()), values = shapeOf(getValues().getType());
    if (keys[1] != kvHeads() || keys[2] != keyDim || values[1] != kvHeads() || values[2] != valueDim())
      return emitOpError() << "expected 'keys' and 'values' to be [rows, " << kvHeads() << ", " << keyDim
                           << "] and [rows, " << kvHeads() << ", " << valueDim() << "], but found "
                           << getKeys().getType() << " and " << getValues().getType();
  }
  if (result[0] != query[0] || result[1] != query[1] || result[2] != valueDim())
    return emitOpError() << "expected 'result' to have the rows and heads of 'query' and width " << valueDim()
                         << ", but found " << getType();
  return success();
}

static LogicalResult verifyIndexRegion(AttentionOp op, Region &region, StringRef name, Type yields) {
  if (!region.hasOneBlock())
    return op.emitOpError() << "expected the " << name << " region to have one block";
  Block &block = region.front();
  bool fits = block.getNumArguments() == 6 && block.getArgument(0).getType().isF32();
  for (unsigned i = 1; fits && i < 6; ++i)
    fits = block.getArgument(i).getType().isInteger(32);
  if (!fits)
    return op.emitOpError()
           << "expected the " << name
           << " region to take (score: f32, q_head: i32, kv_head: i32, q_pos: i32, kv_pos: i32, slot: i32)";
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield || yield.getNumOperands() != 1 || yield.getOperand(0).getType() != yields)
    return op.emitOpError() << "expected the " << name << " region to yield one " << yields;
  for (Operation &inner : block.without_terminator())
    if (!isa<arith::ArithDialect, math::MathDialect>(inner.getDialect()) || inner.getNumRegions() != 0)
      return inner.emitOpError() << "is not allowed in the " << name
                                 << " region of an attention; expected arith and math ops";
  return success();
}

LogicalResult AttentionOp::verifyRegions() {
  if (failed(verifyIndexRegion(*this, getScore(), "score", Float32Type::get(getContext()))))
    return failure();
  if (getMask().empty())
    return success();
  return verifyIndexRegion(*this, getMask(), "mask", IntegerType::get(getContext(), 1));
}
