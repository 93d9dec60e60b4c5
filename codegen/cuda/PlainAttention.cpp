// Attention of one work record and KV head on plain f32 units.
//
// The rows of the record times the query heads of the group are the block's vectors; a warp takes one at a
// time and goes over its keys 32 by 32, a key a lane, with the running maximum and sum of flash attention
// (arXiv 2205.14135). Its output stays in registers, elements of the head dealt out to the lanes.
#include "codegen/cuda/PlainScores.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {
namespace {

class Plain {
public:
  Plain(Emitter &e, AttentionOp op, const KernelContext &context, const AttentionOperands &operands)
      : e(e), op(op), operands(operands),
        scoring(e, cast<ScoringOpInterface>(op.getOperation()), context, operands), group(op.groupSize()),
        keyDim(shapeOf(op.getQuery().getType())[2]), valueDim(op.valueDim()) {}

  void emit();

private:
  using Vector = PlainScores::Vector;
  using Key = PlainScores::Key;

  void emitVector(Value number);
  /// Goes over the keys [begin, end): maximum, sum, then this lane's sums of weighted values.
  Values attend(const Vector &vector, Value begin, Value end);
  Value visible(const Vector &vector, const Key &key, Value score);
  /// Calls `body` with this lane's elements of a value: their piece of 32 and their number.
  void forElements(function_ref<void(int piece, Value element)> body);
  void storeSkipped(const Vector &vector, Value target);

  Emitter &e;
  AttentionOp op;
  const AttentionOperands &operands;
  PlainScores scoring;
  const int64_t group, keyDim, valueDim;
  Value lane, warp;
};

Value Plain::visible(const Vector &vector, const Key &key, Value score) {
  Value seen = key.exists;
  if (!op.getMask().empty())
    seen = e.bitAnd(seen, scoring.region(op.getMask(), vector, operands.kvHead, key, score));
  Value selection = op.keySelection();
  if (!selection)
    return seen;
  auto type = cast<SelectionType>(selection.getType());
  int64_t count = shapeOf(type)[1],
          block = type.getKind() == SelectionKind::Blocks ? type.getBlockTokens() : 1;
  Value number = e.divU(key.number, block);
  Value inside = e.lessThan(number, e.cI32(count));
  Value place = e.add(e.mul(e.wide(vector.row), count), e.wide(e.minS(number, e.cI32(count - 1))));
  Value chosen = e.load(e.i8(), e.at(operands.addressOf(selection), place));
  Value isChosen = e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, chosen, e.constantInt(e.i8(), 0));
  return e.bitAnd(seen, e.bitAnd(inside, isChosen));
}

Values Plain::attend(const Vector &vector, Value begin, Value end) {
  int pieces = int((valueDim + kWarp - 1) / kWarp), bytes = int(scoring.numberBytes());
  Value minusInfinity = e.cF32(-INFINITY), zero = e.cF32(0);
  Values state{minusInfinity, zero};
  state.append(pieces, zero);
  state.push_back(e.cI32(0)); // keys so far
  state = e.forRange(begin, end, e.cI32(kWarp), state, [&](Value first, ValueRange carried) {
    Key key = scoring.key(first, end, carried.back());
    Value score = scoring.score(vector, operands.kvHead, key);
    Value seen = visible(vector, key, score);
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
    Value valueAddress = scoring.addresses(operands.kvHead, key, valueDim).second;
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
              next.push_back(e.fma(w, scoring.loadNumber(e.at(values, e.mul(d, bytes))), sums[i]));
            }
            return next;
          },
          [&] { return Values(sums); });
    });
    next.append(outputs);
    next.push_back(e.add(carried.back(), scoring.count(key)));
    return next;
  });
  state.pop_back();
  return state;
}

void Plain::forElements(function_ref<void(int, Value)> body) {
  for (int i = 0; i * kWarp < valueDim; ++i) {
    Value d = e.add(lane, i * kWarp);
    if ((i + 1) * kWarp <= valueDim)
      body(i, d);
    else
      e.ifThen(e.lessThan(d, e.cI32(valueDim)), [&] { body(i, d); });
  }
}

/// What a head that is not selected yields; of split attention the first chunk is the whole.
void Plain::storeSkipped(const Vector &vector, Value target) {
  Value skip = operands.addressOf(op.getSkip());
  auto storeRow = [&](Value to) {
    forElements([&](int, Value d) {
      Value value = e.cF32(0);
      if (skip)
        value = e.load(e.f32(), e.at(skip, e.shiftLeft(e.add(e.mul(vector.head, valueDim), d), 2)), 4);
      e.store(value, e.at(to, e.shiftLeft(d, 2)), 4);
    });
  };
  if (!op.isSplit())
    return storeRow(target);
  forOwnChunks(e, op, operands, e.add(vector.position, 1), [&](Value chunk) {
    Value to = e.at(target, e.mul(chunk, chunkBytes(op)));
    storeRow(to);
    Value isFirst = e.equal(chunk, e.cI32(0));
    e.store(e.select(isFirst, e.cF32(1), e.cF32(0)), e.at(to, valueDim * 4), 4);
    e.store(e.cF32(0), e.at(to, valueDim * 4 + 4), 4);
  });
}

void Plain::emitVector(Value number) {
  Vector vector;
  Value row = e.divU(number, group);
  vector.row = e.add(operands.rowBegin, row);
  vector.head = e.add(e.mul(operands.kvHead, group), e.remU(number, group));
  vector.position = e.add(operands.position, row);
  vector.query = e.at(e.shared(0), e.mul(warp, keyDim * 4));
  int64_t queryHeads = shapeOf(op.getQuery().getType())[1];
  Value place = e.add(e.mul(e.wide(vector.row), queryHeads), e.wide(vector.head));
  Value from = e.at(operands.addressOf(op.getQuery()), e.mul(place, keyDim * 4));
  Value target = resultAddress(e, op, operands, vector.row, vector.head);
  auto compute = [&] {
    e.forRange32(lane, e.cI32(keyDim), kWarp, [&](Value d) {
      Value offset = e.shiftLeft(d, 2);
      e.store(e.load(e.f32(), e.at(from, offset), 4), e.at(vector.query, offset), 4);
    });
    e.warpBarrier();
    Value end = scoring.keyEnd(vector.position);
    if (op.isSplit()) {
      forOwnChunks(e, op, operands, end, [&](Value chunk) {
        Value begin = e.mul(chunk, HEDDLE_CHUNK_TOKENS), to = e.at(target, e.mul(chunk, chunkBytes(op)));
        Values state = attend(vector, begin, e.minS(e.add(begin, HEDDLE_CHUNK_TOKENS), end));
        forElements([&](int i, Value d) { e.store(state[2 + i], e.at(to, e.shiftLeft(d, 2)), 4); });
        e.store(state[1], e.at(to, valueDim * 4), 4);
        e.store(state[0], e.at(to, valueDim * 4 + 4), 4);
      });
    } else {
      Values state = attend(vector, e.cI32(0), end);
      Value inverse = inverseOrZero(e, state[1]);
      forElements([&](int i, Value d) {
        e.store(e.mulF(state[2 + i], inverse), e.at(target, e.shiftLeft(d, 2)), 4);
      });
    }
    e.warpBarrier(); // before the next vector's elements
  };
  Value heads = op.headSelection();
  if (!heads)
    return compute();
  Value chosen = e.load(e.i8(), e.at(operands.addressOf(heads), place));
  Value isChosen = e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, chosen, e.constantInt(e.i8(), 0));
  e.ifThenElse(isChosen, compute, [&] { storeSkipped(vector, target); });
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
