// What depends on a row's position: rotary embedding and storing keys and values.
#include "codegen/cpu/RowsBuilder.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

void RowsBuilder::emitRope(RopeOp op) {
  auto shape = shapeOf(op.getType());
  auto table = shapeOf(op.getTable().getType());
  int64_t heads = shape[1], width = shape[2], rotated = table[1], half = rotated / 2;
  Value input = memory(op.getInput()), target = destination(op.getResult());
  Value position = clampedIndex(op.getPositions(), e.cI64(table[0]));
  Value cosines = e.at(operandOf(op.getTable()), e.mul(position, rotated * 4)),
        sines = e.at(cosines, half * 4);
  // The widest vector that divides the pairs, so that no lane is left over.
  int lanes = kLanes;
  while (half % lanes != 0)
    lanes /= 2;
  VectorType type = e.vec(e.f32(), lanes);
  bool interleaved = op.getPairing() == Pairing::Interleaved;
  SmallVector<int64_t> even, odd, first, second;
  for (int i = 0; i < lanes; ++i) {
    even.push_back(2 * i);
    odd.push_back(2 * i + 1);
  }
  for (int i = 0; i < 2 * lanes; ++i)
    (i < lanes ? first : second).push_back(i % 2 == 0 ? i / 2 : lanes + i / 2);

  e.forRange(0, heads, 1, [&](Value head) {
    Value from = e.at(input, e.mul(head, width * 4)), to = e.at(target, e.mul(head, width * 4));
    e.forRange(0, half, lanes, [&](Value i) {
      Value cosine = e.load(type, e.at(cosines, e.shiftLeft(i, 2))),
            sine = e.load(type, e.at(sines, e.shiftLeft(i, 2)));
      Value offset = e.shiftLeft(i, interleaved ? 3 : 2);
      int64_t other = interleaved ? lanes * 4 : half * 4;
      Value x = e.load(type, e.at(from, offset)), y = e.load(type, e.at(from, offset, other));
      if (interleaved) {
        Value pairs = x;
        x = e.create<vector::ShuffleOp>(pairs, y, even);
        y = e.create<vector::ShuffleOp>(pairs, y, odd);
      }
      Value rotatedX = e.subF(e.mulF(x, cosine), e.mulF(y, sine));
      Value rotatedY = e.addF(e.mulF(x, sine), e.mulF(y, cosine));
      if (interleaved) {
        Value pairs = rotatedX;
        rotatedX = e.create<vector::ShuffleOp>(pairs, rotatedY, first);
        rotatedY = e.create<vector::ShuffleOp>(pairs, rotatedY, second);
      }
      e.store(rotatedX, e.at(to, offset));
      e.store(rotatedY, e.at(to, offset, other));
    });
    if (rotated < width)
      copyRow(e.at(from, rotated * 4), e.at(to, rotated * 4), width - rotated);
  });
}

void RowsBuilder::emitCacheAppend(CacheAppendOp op) {
  auto cache = op.getCache().getType();
  int64_t heads = cache.getHeads(), keyDim = cache.getKeyDim(), valueDim = cache.getValueDim();
  Type element = cache.getElementType();
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  int64_t pageTokens = HEDDLE_PAGE_TOKENS, keyBytes = heads * pageTokens * keyDim * bytes;
  int64_t pageBytes = keyBytes + heads * pageTokens * valueDim * bytes;

  Value keys = memory(op.getKeys()), values = memory(op.getValues());
  Value slot = clampedIndex(op.getSlots(), e.cI64(context.maxSlots));
  Value position = clampedIndex(op.getPositions(), e.cI64(context.maxContext));
  Value entry = e.add(e.mul(slot, context.maxContext / pageTokens), e.divU(position, pageTokens));
  Value number =
      e.extendS(e.load(e.i32(), e.at(pageTables.lookup(op.getCache()), e.shiftLeft(entry, 2))), e.i64());
  Value page = e.at(operandOf(op.getCache()), e.mul(number, pageBytes));
  Value token = e.bitAnd(position, pageTokens - 1);
  Type bits = e.getIntegerType(bytes * 8);
  auto rounded = [&](Value address, int width) -> Value {
    Value value = e.load(e.vec(e.f32(), width), address);
    return element.isF32() ? value : e.create<arith::TruncFOp>(e.vec(element, width), value);
  };

  // Keys: [head][token / 16][d][token % 16]; values: [head][token][d].
  Value lane = e.mul(e.bitAnd(token, 15), bytes), group = e.mul(e.divU(token, 16), keyDim * 16 * bytes);
  Value keyBase = e.at(e.at(page, group), lane),
        valueBase = e.at(page, e.mul(token, valueDim * bytes), keyBytes);
  e.forRange(0, heads, 1, [&](Value head) {
    Value from = e.at(keys, e.mul(head, keyDim * 4)),
          to = e.at(keyBase, e.mul(head, pageTokens * keyDim * bytes));
    forPieces(keyDim, [&](Value d, int width) {
      Value key = e.bitcast(rounded(e.at(from, e.shiftLeft(d, 2)), width), e.vec(bits, width));
      Value column = e.at(to, e.mul(d, 16 * bytes));
      for (int i = 0; i < width; ++i)
        e.store(e.create<vector::ExtractOp>(key, ArrayRef<int64_t>{i}), e.at(column, i * 16 * bytes));
    });
    Value valueFrom = e.at(values, e.mul(head, valueDim * 4));
    Value valueTo = e.at(valueBase, e.mul(head, pageTokens * valueDim * bytes));
    forPieces(valueDim, [&](Value d, int width) {
      e.store(rounded(e.at(valueFrom, e.shiftLeft(d, 2)), width), e.at(valueTo, e.mul(d, bytes)));
    });
  });
}

} // namespace heddle::cpu
