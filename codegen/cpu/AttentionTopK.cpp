#include "codegen/cpu/AttentionTopK.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

/// Stands for a key that is not seen, below the order of every number.
static constexpr int32_t kUnseen = INT32_MIN;
/// Of one work record.
static constexpr int64_t kMostSumBytes = 8 << 20;

TopKBuilder::TopKBuilder(Emitter &e, TopKOp op, const CpuKernelContext &context)
    : ScoreBuilder(e, op, context), topK(op), tokens(shapeOf(op.getType())[1]), sumBytes(maxKeys * 4) {
  keyLimit = tokens;
  for (tileHeads = std::min<int64_t>(group, mostRows); group % tileHeads != 0;)
    --tileHeads;
  // Heads come one after the other, so the sums of all rows of a record are kept.
  mostWorkRows = cached ? std::clamp<int64_t>(kMostSumBytes / sumBytes, 1, 48) : context.maxRows;
  sumsOffset = reserve(mostWorkRows * sumBytes);
}

Value TopKBuilder::sumsOf(Value row) { return e.at(scratch, e.mul(row, sumBytes), sumsOffset); }

void TopKBuilder::emitItem(const AttentionOperands &from, Value workCount, Value scratchAddress,
                           Value number) {
  scratch = scratchAddress;
  beginRecord(from, workCount, number);
  e.forRange(e.cI64(0), e.cI64(kvHeads), e.cI64(1), [&](Value head) {
    beginHead(head);
    e.forRange(e.cI64(0), item.rowCount, e.cI64(1), [&](Value row) {
      e.forRange(0, group, tileHeads, [&](Value first) { addScores(row, first); });
    });
  });
  e.forRange(e.cI64(0), item.rowCount, e.cI64(1), [&](Value row) { select(row); });
}

/// The region's scores of one row for `tileHeads` heads from `head` of the group on, added in order.
void TopKBuilder::addScores(Value row, Value head) {
  Tile tile;
  tile.rows = 1;
  tile.heads = tile.count = tileHeads;
  tile.row = row;
  tile.head = head;
  tile.query = e.at(item.query, e.mul(e.add(e.mul(row, queryHeads), head), keyDim * 4));
  emitSpans(tile);
  Value sums = sumsOf(row);
  Value isFirst = e.equal(e.add(item.head, head), e.cI64(0));
  Value least = e.constant(floats, -INFINITY);
  e.ifThen(isFirst, [&] {
    e.forRange(0, maxKeys, kLanes, [&](Value key) { e.store(least, e.at(sums, e.mul(key, 4))); });
  });
  SmallVector<int32_t> numbers;
  for (int i = 0; i < kLanes; ++i)
    numbers.push_back(i);
  Value lane = e.create<arith::ConstantOp>(DenseElementsAttr::get(ints, ArrayRef<int32_t>(numbers)));
  RegionCode score(e, op.getScore(), operands->captured);
  std::optional<RegionCode> masks;
  if (!mask.exact)
    masks.emplace(e, op.getMask(), operands->captured);
  forChunks(tile, [&](Chunk &chunk) {
    emitScores(tile, chunk);
    Value firstGroup = e.divU(e.sub(chunk.keys.begin, chunk.begin), 16);
    Value endGroup = e.divU(e.add(e.sub(chunk.keys.end, chunk.begin), 15), 16);
    e.forRange(0, tile.count, 1, [&](Value v) {
      RegionRow at = regionRow(tile, v);
      score.begin(at);
      if (masks)
        masks->begin(at);
      Value begins = both(isFirst, e.equal(v, e.cI64(0)));
      e.forRange(firstGroup, endGroup, e.cI64(1), [&](Value g) {
        Value from = e.at(scratch, e.add(e.mul(v, kScoreRow), e.mul(g, 64)));
        Value number = i32(e.add(chunk.begin, e.mul(g, 16))), key = e.add(e.splat(number, ints), lane), seen;
        for (size_t s = 0; s < mask.spans.size(); ++s) {
          Range span = spanOf(v, s);
          Value after =
              e.create<arith::CmpIOp>(arith::CmpIPredicate::sge, key, e.splat(i32(span.begin), ints));
          Value inside = both(
              after, e.create<arith::CmpIOp>(arith::CmpIPredicate::slt, key, e.splat(i32(span.end), ints)));
          seen = seen ? either(seen, inside) : inside;
        }
        Value position = cached ? number : e.add(number, i32(item.keyStart));
        Value dot = e.mulF(e.load(floats, from), e.constant(floats, op.getScale().convertToFloat()));
        Value found = score.emit(dot, position);
        if (masks)
          seen = both(seen, masks->emit(dot, position));
        // The first head says which keys are seen; the others add where they see.
        Value to = e.at(sums, e.add(e.mul(chunk.begin, 4), e.mul(g, 64))), sum = e.load(floats, to);
        Value first = e.select(seen, found, least), next = e.select(seen, e.addF(sum, found), sum);
        e.store(e.select(e.splat(begins, e.vec(e.getI1Type(), kLanes)), first, next), to);
      });
    });
  });
}

/// Selects the k largest sums, of equal ones the earlier: finds the k-th largest bit by bit.
void TopKBuilder::select(Value row) {
  Value sums = sumsOf(row), last;
  // Keys that the row can see lie below the end of its position or sequence.
  last = cached ? e.add(e.add(item.position, row), 1) : item.keyCount;
  last = e.minS(last, e.cI64(tokens));
  // Order as integers: negative numbers' bits are turned. NaN and minus infinity count as not seen.
  e.forRange(e.cI64(0), last, e.cI64(kLanes), [&](Value key) {
    Value at = e.at(sums, e.mul(key, 4)), sum = e.load(floats, at);
    Value bits = e.bitcast(sum, ints);
    Value signs = e.create<arith::ShRSIOp>(bits, e.constantInt(ints, 31));
    Value order = e.create<arith::XOrIOp>(bits, e.bitAnd(signs, 0x7fffffff));
    Value isSeen = e.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, sum, e.constant(floats, -INFINITY));
    e.store(e.select(isSeen, order, e.constantInt(ints, kUnseen)), at);
  });
  auto countAbove = [&](Value threshold, arith::CmpIPredicate predicate) {
    Value splat = e.splat(threshold, ints);
    Values counts = e.forRange(e.cI64(0), last, e.cI64(kLanes), {e.constantInt(ints, 0)},
                               [&](Value key, ValueRange carried) -> Values {
                                 Value order = e.load(ints, e.at(sums, e.mul(key, 4)));
                                 // Past the end lie sums that were never seen.
                                 Value above = e.create<arith::CmpIOp>(predicate, order, splat);
                                 return {e.add(carried[0], e.extendU(above, e.i32()))};
                               });
    return Value(e.create<vector::ReductionOp>(vector::CombiningKind::ADD, counts[0]));
  };
  Value k = e.cI32(std::min<int64_t>(topK.getK(), INT32_MAX));
  Value threshold = e.forRange(
      e.cI64(0), e.cI64(32), e.cI64(1), {e.cI32(INT32_MIN)}, [&](Value bit, ValueRange carried) -> Values {
        Value step = e.create<arith::ShRUIOp>(e.cI32(INT32_MIN), i32(bit));
        Value higher = e.add(carried[0], step);
        Value enough = e.create<arith::CmpIOp>(arith::CmpIPredicate::sge,
                                               countAbove(higher, arith::CmpIPredicate::sge), k);
        return {e.select(enough, higher, carried[0])};
      })[0];
  Value above = countAbove(threshold, arith::CmpIPredicate::sgt);
  Value result = e.at(operands->result, e.mul(e.add(item.rowBegin, row), tokens));
  e.forRange(e.cI64(0), last, e.cI64(1), {e.sub(k, above)}, [&](Value key, ValueRange carried) -> Values {
    Value order = e.load(e.i32(), e.at(sums, e.mul(key, 4)));
    Value isEqual = e.equal(order, threshold), isLeft = e.lessThan(e.cI32(0), carried[0]);
    Value isSeen = e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, order, e.cI32(kUnseen));
    Value ties = both(both(isEqual, isLeft), isSeen);
    Value isSelected = either(e.create<arith::CmpIOp>(arith::CmpIPredicate::sgt, order, threshold), ties);
    e.store(e.extendU(isSelected, e.i8()), e.at(result, key));
    return {e.sub(carried[0], e.extendU(ties, e.i32()))};
  });
  e.forRange(last, e.cI64(tokens), e.cI64(1),
             [&](Value key) { e.store(e.constantInt(e.i8(), 0), e.at(result, key)); });
}

} // namespace heddle::cpu
