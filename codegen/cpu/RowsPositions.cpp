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

/// Bits of the largest size among `count` numbers; NaN and infinity are above all others.
static Value largestSize(Emitter &e, Value from, int64_t count) {
  auto sizes = [&](Value d, int width) {
    Value bits = e.load(e.vec(e.i32(), width), e.at(from, e.shiftLeft(d, 2)));
    return e.bitAnd(bits, 0x7fffffff);
  };
  auto most = [&](Value vector) -> Value {
    return e.create<vector::ReductionOp>(vector::CombiningKind::MAXSI, vector);
  };
  constexpr int64_t kLanes = 16;
  const int64_t full = count / kLanes * kLanes;
  Value result;
  if (full > 0) {
    Value all = e.forRange(
        e.cI64(0), e.cI64(full), e.cI64(kLanes), {e.constantInt(e.vec(e.i32(), kLanes), 0)},
        [&](Value d, ValueRange carried) { return Values{e.maxS(carried[0], sizes(d, kLanes))}; })[0];
    result = most(all);
  }
  if (full < count) {
    Value rest = most(sizes(e.cI64(full), int(count - full)));
    result = result ? e.maxS(result, rest) : rest;
  }
  return result;
}

/// i8 codes of e4m3 nearest to numbers within its range, ties to even.
static Value toFloat8(Emitter &e, Value x) {
  auto type = cast<VectorType>(x.getType()).clone(e.i32());
  auto number = [&](int64_t value) { return e.constantInt(type, value); };
  Value bits = e.bitcast(x, type), size = e.minS(e.bitAnd(bits, 0x7fffffff), number(0x43e00000)); // 448
  // Three bits of fraction stay, and the exponent's bias becomes 7.
  Value odd = e.bitAnd(e.shiftRightU(size, 20), 1);
  Value normal = e.add(e.shiftRightU(e.add(e.add(size, 0x7ffff), odd), 20), -(120 << 3));
  // Below 2^-6 codes are multiples of 2^-9.
  Value shifted =
      e.fma(e.bitcast(size, x.getType()), e.constant(x.getType(), 512), e.constant(x.getType(), 12582912.0));
  Value tiny = e.lessThan(size, number(0x3c800000));
  Value code = e.select(tiny, e.add(e.bitcast(shifted, type), -0x4b400000), normal);
  return e.truncate(e.create<arith::OrIOp>(code, e.bitAnd(e.shiftRightU(bits, 24), 0x80)), e.i8());
}

void RowsBuilder::emitCacheAppend(CacheAppendOp op) {
  auto cache = op.getCache().getType();
  int64_t heads = cache.getHeads(), keyDim = cache.getKeyDim(), valueDim = cache.getValueDim();
  Type element = cache.getElementType();
  const int64_t bytes = cache.elementBytes(), pageTokens = HEDDLE_PAGE_TOKENS;
  const int64_t groupBytes = 16 * (keyDim * bytes + cache.scaleBytes()),
                headBytes = pageTokens / 16 * groupBytes;

  Value keys = memory(op.getKeys()), values = memory(op.getValues());
  Value slot = clampedIndex(op.getSlots(), e.cI64(context.maxSlots));
  Value position = clampedIndex(op.getPositions(), e.cI64(context.maxContext));
  Value entry = e.add(e.mul(slot, context.maxContext / pageTokens), e.divU(position, pageTokens));
  Value number =
      e.extendS(e.load(e.i32(), e.at(pageTables.lookup(op.getCache()), e.shiftLeft(entry, 2))), e.i64());
  Value page = e.at(operandOf(op.getCache()), e.mul(number, pageTokens * cache.tokenBytes()));
  Value token = e.bitAnd(position, pageTokens - 1), lane = e.bitAnd(token, 15);
  Type bits = e.getIntegerType(bytes * 8);

  // What rounds pieces of the numbers at an address; the scale of codes goes to another.
  using Rounding = std::function<Value(Value from, int width)>;
  auto rounding = [&](Value numbers, int64_t count, Value scaleAt) -> Rounding {
    if (!cache.hasScales())
      return [&](Value from, int width) -> Value {
        Value value = e.load(e.vec(e.f32(), width), from);
        return element.isF32() ? value : e.create<arith::TruncFOp>(e.vec(element, width), value);
      };
    Value size = largestSize(e, numbers, count);
    Value scale = e.divF(e.bitcast(size, e.f32()), e.cF32(cache.limit())), inverse = e.divF(e.cF32(1), scale);
    // The inverse of 0 is not finite, and those of sizes so small that nothing could be told apart.
    auto finite = [&](Value x) { return e.lessThan(x, e.cI32(0x7f800000)); };
    Value keep = e.create<arith::AndIOp>(finite(size), finite(e.bitcast(inverse, e.i32())));
    e.store(e.select(finite(size), scale, e.cF32(NAN)), scaleAt);
    inverse = e.select(keep, inverse, e.cF32(0));
    keep = e.extendS(keep, e.i32());
    return [=, this](Value from, int width) -> Value {
      VectorType floats = e.vec(e.f32(), width), ints = e.vec(e.i32(), width);
      // Numbers that are not finite become 0 with all others.
      Value kept = e.create<arith::AndIOp>(e.load(ints, from), e.splat(keep, ints));
      Value scaled = e.mulF(e.bitcast(kept, floats), e.splat(inverse, floats));
      if (!element.isInteger(8))
        return toFloat8(e, scaled);
      // Adding 1.5 * 2^23 rounds half to even and leaves the integer in the low bits.
      Value shifted = e.addF(scaled, e.constant(floats, 12582912.0));
      return e.truncate(e.add(e.bitcast(shifted, ints), -0x4b400000), e.i8());
    };
  };

  // Keys: [head][token / 16][d][token % 16] and scales; values: [head][token][d].
  Value keyBase = e.at(page, e.mul(e.divU(token, 16), groupBytes)),
        valueBase = e.at(page, e.mul(token, valueDim * bytes), heads * headBytes);
  e.forRange(0, heads, 1, [&](Value head) {
    Value from = e.at(keys, e.mul(head, keyDim * 4)), group = e.at(keyBase, e.mul(head, headBytes));
    Value scales = e.at(group, e.shiftLeft(lane, 2), keyDim * 16 * bytes),
          to = e.at(group, e.mul(lane, bytes));
    Rounding rounded = rounding(from, keyDim, scales);
    forPieces(keyDim, [&](Value d, int width) {
      Value key = e.bitcast(rounded(e.at(from, e.shiftLeft(d, 2)), width), e.vec(bits, width));
      Value column = e.at(to, e.mul(d, 16 * bytes));
      for (int i = 0; i < width; ++i)
        e.store(e.create<vector::ExtractOp>(key, ArrayRef<int64_t>{i}), e.at(column, i * 16 * bytes));
    });
    Value valueFrom = e.at(values, e.mul(head, valueDim * 4));
    Value valueTo = e.at(valueBase, e.mul(head, pageTokens * valueDim * bytes));
    rounded = rounding(valueFrom, valueDim, e.at(scales, 16 * 4));
    forPieces(valueDim, [&](Value d, int width) {
      e.store(rounded(e.at(valueFrom, e.shiftLeft(d, 2)), width), e.at(valueTo, e.mul(d, bytes)));
    });
  });
}

} // namespace heddle::cpu
