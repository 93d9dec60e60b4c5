#include "codegen/cuda/PlainScores.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

static constexpr int64_t kPage = HEDDLE_PAGE_TOKENS;

PlainScores::PlainScores(Emitter &e, ScoringOpInterface op, const KernelContext &context,
                         const AttentionOperands &operands)
    : e(e), op(op), context(context), operands(operands), cached(bool(op.getCache())), kvHeads(op.kvHeads()),
      keyDim(op.keyDim()) {
  element = cached ? cast<KvCacheType>(op.getCache().getType()).getElementType() : e.f32();
  bytes = element.getIntOrFloatBitWidth() / 8;
}

Value PlainScores::loadNumber(Value address) {
  Value number = e.load(element, address, int(bytes));
  return element.isF32() ? number : e.toF32(number);
}

Value PlainScores::keyEnd(Value position) {
  if (cached) // a row never sees past its own position
    return e.add(position, 1);
  if (Value sequences = op.getKeySequences())
    return e.cI32(shapeOf(sequences.getType())[0]);
  return operands.slotRows;
}

PlainScores::Key PlainScores::key(Value first, Value end, Value known) {
  Key key;
  Value number = e.add(first, e.lane());
  key.exists = e.lessThan(number, end);
  number = e.minS(number, e.add(end, -1));
  if (Value sequences = op.getKeySequences()) {
    key.row = number;
    Value sequence = e.load(e.i32(), e.at(operands.addressOf(sequences), e.shiftLeft(number, 2)), 4);
    key.exists = e.bitAnd(key.exists, e.equal(sequence, operands.slot));
    key.number = e.add(known, e.lanesBelow(key.exists));
    key.position = key.number;
    return key;
  }
  key.number = number;
  key.row = cached ? number : e.add(operands.firstRow, number);
  key.position =
      cached ? number : e.add(e.sub(operands.position, e.sub(operands.rowBegin, operands.firstRow)), number);
  return key;
}

Value PlainScores::count(const Key &key) { return e.countLanes(key.exists); }

std::pair<Value, Value> PlainScores::addresses(Value head, const Key &key, int64_t valueDim) {
  if (!cached) {
    Value place = e.add(e.mul(e.wide(key.row), kvHeads), e.wide(head));
    Value values = operands.values ? e.at(operands.values, e.mul(place, valueDim * bytes)) : Value();
    return {e.at(operands.addressOf(op.getKeys()), e.mul(place, keyDim * bytes)), values};
  }
  int64_t keyBytes = kvHeads * kPage * keyDim * bytes,
          pageBytes = keyBytes + kvHeads * kPage * valueDim * bytes;
  Value entry = e.add(e.mul(operands.slot, context.maxContext / kPage), e.divU(key.row, kPage));
  Value number = e.load(e.i32(), e.at(operands.pageTable, e.shiftLeft(entry, 2)), 4);
  Value page = e.at(operands.addressOf(op.getCache()), e.mul(e.wide(number), pageBytes));
  Value token = e.bitAnd(key.row, kPage - 1);
  // Keys: [head][token / 16][d][token % 16]; values: [head][token][d].
  Value keyGroup = e.add(e.mul(head, kPage / 16), e.shiftRightU(token, 4));
  Value keyPlace = e.add(e.mul(keyGroup, keyDim * 16), e.bitAnd(token, 15));
  Value valuePlace = e.mul(e.add(e.mul(head, kPage), token), valueDim);
  return {e.at(page, e.mul(keyPlace, bytes)), e.at(page, e.mul(valuePlace, bytes), keyBytes)};
}

Value PlainScores::region(Region &region, const Vector &vector, Value head, const Key &key, Value score) {
  return emitAttentionRegion(e, operands, region, {vector.row, vector.head, head, vector.position},
                             key.position, score);
}

Value PlainScores::score(const Vector &vector, Value head, const Key &key) {
  int64_t values = cached ? cast<KvCacheType>(op.getCache().getType()).getValueDim() : 0;
  Value address = addresses(head, key, values).first;
  Value dot = e.forRange(e.cI32(0), e.cI32(keyDim), e.cI32(1), {e.cF32(0)}, [&](Value d, ValueRange sum) {
    Value q = e.load(e.f32(), e.at(vector.query, e.shiftLeft(d, 2)), 4);
    return Values{e.fma(q, loadNumber(e.at(address, e.mul(d, keyStep()))), sum[0])};
  })[0];
  return region(op.getScore(), vector, head, key, e.mulF(dot, e.cF32(op.getScale().convertToDouble())));
}

} // namespace heddle::cuda
