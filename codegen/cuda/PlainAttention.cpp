// Attention of one work record and KV head on plain f32 units.
//
// The rows of the record times the query heads of the group are the block's vectors; a warp takes one at a
// time and goes over its keys 32 by 32, a key a lane, with the running maximum and sum of flash attention
// (arXiv 2205.14135). Its output stays in registers, elements of the head dealt out to the lanes.
#include "codegen/cuda/Attention.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {
namespace {

constexpr int64_t kPage = HEDDLE_PAGE_TOKENS;

class Plain {
public:
  Plain(Emitter &e, AttentionOp op, const KernelContext &context, const AttentionOperands &operands)
      : e(e), op(op), context(context), operands(operands), cached(bool(op.getCache())),
        queryHeads(shapeOf(op.getQuery().getType())[1]), kvHeads(op.kvHeads()), group(op.groupSize()),
        keyDim(shapeOf(op.getQuery().getType())[2]), valueDim(op.valueDim()) {
    element = cached ? cast<KvCacheType>(op.getCache().getType()).getElementType() : e.f32();
    bytes = int(element.getIntOrFloatBitWidth() / 8);
  }

  void emit();

private:
  /// What is known of the current vector: a row and a query head.
  struct Vector {
    Value row, head, position; // i32; `row` of the call
    Value query;               // address in shared memory
  };

  Value addressOf(Value value) { return operands.addressOf(value); }
  void emitVector(Value number);
  void emitKeys(const Vector &vector, Value keyBegin, Value keyEnd, Value target);
  /// Addresses of key number `key`'s first element and of its values; distance of the key's elements in
  /// bytes.
  std::pair<Value, Value> keyAddresses(Value key);
  Value visible(const Vector &vector, Value position, Value score);
  Value region(Region &region, const Vector &vector, Value position, Value score);
  Value loadNumber(Value address) {
    Value number = e.load(element, address, bytes);
    return element.isF32() ? number : e.toF32(number);
  }
  int keyStep() const { return cached ? 16 * bytes : bytes; }

  Emitter &e;
  AttentionOp op;
  const KernelContext &context;
  const AttentionOperands &operands;
  bool cached;
  int64_t queryHeads, kvHeads, group, keyDim, valueDim;
  Type element; // of keys and values in memory
  int bytes;
  Value lane, warp;
};

Value Plain::region(Region &region, const Vector &vector, Value keyPosition, Value score) {
  return emitAttentionRegion(e, op, operands, region, vector.row, vector.head, vector.position, keyPosition,
                             score);
}

Value Plain::visible(const Vector &vector, Value keyPosition, Value score) {
  Value seen = e.constantInt(e.getI1Type(), 1);
  if (!op.getMask().empty())
    seen = region(op.getMask(), vector, keyPosition, score);
  if (Value selection = op.keySelection()) {
    auto type = cast<SelectionType>(selection.getType());
    int64_t count = shapeOf(type)[1],
            block = type.getKind() == SelectionKind::Blocks ? type.getBlockTokens() : 1;
    Value number = e.divU(keyPosition, block);
    Value inside = e.lessThan(number, e.cI32(count));
    Value place = e.add(e.mul(e.wide(vector.row), count), e.wide(e.minS(number, e.cI32(count - 1))));
    Value chosen = e.load(e.i8(), e.at(addressOf(selection), place));
    Value isChosen = e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, chosen, e.constantInt(e.i8(), 0));
    seen = e.bitAnd(seen, e.bitAnd(inside, isChosen));
  }
  return seen;
}

std::pair<Value, Value> Plain::keyAddresses(Value key) {
  if (!cached) {
    Value row = e.wide(e.add(operands.firstRow, key));
    Value place = e.add(e.mul(row, kvHeads), e.wide(operands.kvHead));
    return {e.at(addressOf(op.getKeys()), e.mul(place, keyDim * bytes)),
            e.at(addressOf(op.getValues()), e.mul(place, valueDim * bytes))};
  }
  int64_t keyBytes = kvHeads * kPage * keyDim * bytes,
          pageBytes = keyBytes + kvHeads * kPage * valueDim * bytes;
  Value entry = e.add(e.mul(operands.slot, context.maxContext / kPage), e.divU(key, kPage));
  Value number = e.load(e.i32(), e.at(operands.pageTable, e.shiftLeft(entry, 2)), 4);
  Value page = e.at(addressOf(op.getCache()), e.mul(e.wide(number), pageBytes));
  Value token = e.bitAnd(key, kPage - 1);
  // Keys: [head][token / 16][d][token % 16]; values: [head][token][d].
  Value keyGroup = e.add(e.mul(operands.kvHead, kPage / 16), e.shiftRightU(token, 4));
  Value keyPlace = e.add(e.mul(keyGroup, keyDim * 16), e.bitAnd(token, 15));
  Value valuePlace = e.mul(e.add(e.mul(operands.kvHead, kPage), token), valueDim);
  return {e.at(page, e.mul(keyPlace, bytes)), e.at(page, e.mul(valuePlace, bytes), keyBytes)};
}

/// Goes over keys [keyBegin, keyEnd) and stores the result's row of the head at `target`.
void Plain::emitKeys(const Vector &vector, Value keyBegin, Value keyEnd, Value target) {
  int pieces = int((valueDim + kWarp - 1) / kWarp);
  Value minusInfinity = e.cF32(-INFINITY), zero = e.cF32(0);
  Values state{minusInfinity, zero};
  state.append(pieces, zero);
  Value keyStart =
      cached ? e.cI32(0)
             : e.sub(operands.position, e.sub(operands.rowBegin, operands.firstRow)); // position of key 0
  state = e.forRange(keyBegin, keyEnd, e.cI32(kWarp), state, [&](Value first, ValueRange carried) {
    Value key = e.add(first, lane);
    Value exists = e.lessThan(key, keyEnd);
    key = e.minS(key, e.add(keyEnd, -1));
    auto [keyAddress, valueAddress] = keyAddresses(key);
    Value dot = e.forRange(e.cI32(0), e.cI32(keyDim), e.cI32(1), {zero},
                           [&, at = keyAddress](Value d, ValueRange sum) {
                             Value q = e.load(e.f32(), e.at(vector.query, e.shiftLeft(d, 2)), 4);
                             return Values{e.fma(q, loadNumber(e.at(at, e.mul(d, keyStep()))), sum[0])};
                           })[0];
    Value keyPosition = e.add(keyStart, key);
    Value score = e.mulF(dot, e.cF32(op.getScale().convertToDouble()));
    score = region(op.getScore(), vector, keyPosition, score);
    Value seen = e.bitAnd(exists, visible(vector, keyPosition, score));
    Value largest = e.combineLanes(e.select(seen, score, minusInfinity), kWarp,
                                   [&](Value a, Value b) { return e.maxF(a, b); });
    Value maximum = e.maxF(carried[0], largest);
    // As long as no key was seen there is nothing to scale, and no difference of infinities.
    Value none = e.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, maximum, minusInfinity);
    Value base = e.select(none, zero, maximum);
    auto exp = [&](Value x) -> Value { return e.create<math::ExpOp>(e.subF(x, base)); };
    Value weight = e.select(seen, exp(score), zero), factor = exp(carried[0]);
    Values next{maximum, e.fma(carried[1], factor, e.warpSum(weight))};
    Values outputs;
    for (int i = 0; i < pieces; ++i)
      outputs.push_back(e.mulF(carried[2 + i], factor));
    // Every lane asks for the weight and the place of one key after another.
    Value place = e.create<LLVM::PtrToIntOp>(e.i64(), valueAddress);
    Value low = e.truncate(place, e.i32());
    Value high = e.truncate(e.shiftRightU(place, 32), e.i32());
    Value seenBits = e.select(seen, e.cI32(1), e.cI32(0));
    outputs = e.forRange(e.cI32(0), e.cI32(kWarp), e.cI32(1), outputs, [&](Value j, ValueRange sums) {
      Value w = e.shuffle(weight, j);
      Value from = e.add(e.wide(e.shuffle(low, j)), e.shiftLeft(e.wide(e.shuffle(high, j)), 32));
      Value values = e.create<LLVM::IntToPtrOp>(e.globalPtr(), from);
      // Values of keys that are not seen do not matter, whatever they are.
      Value counts = e.equal(e.shuffle(seenBits, j), e.cI32(1));
      return e.ifValues(
          counts,
          [&] {
            Values next;
            for (int i = 0; i < pieces; ++i) {
              Value d = e.minS(e.add(lane, i * kWarp), e.cI32(valueDim - 1));
              next.push_back(e.fma(w, loadNumber(e.at(values, e.mul(d, bytes))), sums[i]));
            }
            return next;
          },
          [&] { return Values(sums); });
    });
    next.append(outputs);
    return next;
  });
  Value any = e.create<arith::CmpFOp>(arith::CmpFPredicate::UNE, state[1], zero);
  Value inverse = e.select(any, e.divF(e.cF32(1), state[1]), zero);
  for (int i = 0; i < pieces; ++i) {
    Value d = e.add(lane, i * kWarp);
    auto store = [&] { e.store(e.mulF(state[2 + i], inverse), e.at(target, e.shiftLeft(d, 2)), 4); };
    if ((i + 1) * kWarp <= valueDim)
      store();
    else
      e.ifThen(e.lessThan(d, e.cI32(valueDim)), store);
  }
}

void Plain::emitVector(Value number) {
  Vector vector;
  Value row = e.divU(number, group);
  vector.row = e.add(operands.rowBegin, row);
  vector.head = e.add(e.mul(operands.kvHead, group), e.remU(number, group));
  vector.position = e.add(operands.position, row);
  vector.query = e.at(e.shared(0), e.mul(warp, keyDim * 4));
  Value place = e.add(e.mul(e.wide(vector.row), queryHeads), e.wide(vector.head));
  Value from = e.at(addressOf(op.getQuery()), e.mul(place, keyDim * 4));
  Value target = e.at(operands.result, e.mul(place, valueDim * 4));
  auto attend = [&] {
    e.forRange32(lane, e.cI32(keyDim), kWarp, [&](Value d) {
      Value offset = e.shiftLeft(d, 2);
      e.store(e.load(e.f32(), e.at(from, offset), 4), e.at(vector.query, offset), 4);
    });
    e.warpBarrier();
    // With a cache a row never sees past its own position.
    Value end = cached ? e.add(vector.position, 1) : operands.slotRows;
    emitKeys(vector, e.cI32(0), end, target);
    e.warpBarrier(); // before the next vector's elements
  };
  Value heads = op.headSelection();
  if (!heads)
    return attend();
  Value chosen = e.load(e.i8(), e.at(addressOf(heads), place));
  Value isChosen = e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, chosen, e.constantInt(e.i8(), 0));
  e.ifThenElse(isChosen, attend, [&] {
    Value skip = addressOf(op.getSkip());
    e.forRange32(lane, e.cI32(valueDim), kWarp, [&](Value d) {
      Value value = e.cF32(0);
      if (skip)
        value = e.load(e.f32(), e.at(skip, e.shiftLeft(e.add(e.mul(vector.head, valueDim), d), 2)), 4);
      e.store(value, e.at(target, e.shiftLeft(d, 2)), 4);
    });
  });
}

void Plain::emit() {
  lane = e.lane();
  warp = e.warp();
  Value vectors = e.mul(operands.rowCount, group);
  e.forRange32(warp, vectors, kAttentionWarps, [&](Value vector) { emitVector(vector); });
}

} // namespace

int64_t PlainAttention::sharedBytes(AttentionOp op) {
  return kAttentionWarps * shapeOf(op.getQuery().getType())[2] * 4;
}

void PlainAttention::emit(Emitter &e, AttentionOp op, const KernelContext &context,
                          const AttentionOperands &operands) {
  Plain(e, op, context, operands).emit();
}

} // namespace heddle::cuda
