// The tokens whose keys score highest, a block for each work record, a row at a time.
//
// Scores stay in shared memory as integers of the same order. The k-th largest is found bit by bit, by one
// warp.
#include "codegen/cuda/PlainScores.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {
namespace {

constexpr int kBlock = kAttentionWarps * kWarp;
/// Stands for a key that is not seen, below the order of every number.
constexpr int64_t kUnseen = INT32_MIN;

int64_t mostKeys(TopKOp op, const KernelContext &context) {
  int64_t keys = op.getCache()          ? context.maxContext
                 : op.getKeySequences() ? shapeOf(op.getKeySequences().getType())[0]
                                        : context.maxRows;
  return llvm::alignTo(keys, kBlock);
}

int64_t queryBytes(TopKOp op) {
  auto query = shapeOf(op.getQuery().getType());
  return query[1] * query[2] * 4;
}

class TopKEmitter {
public:
  TopKEmitter(Emitter &e, TopKOp op, const KernelContext &context, const AttentionOperands &operands)
      : e(e), op(op), context(context), operands(operands),
        scoring(e, cast<ScoringOpInterface>(op.getOperation()), context, operands),
        heads(shapeOf(op.getQuery().getType())[1]), tokens(shapeOf(op.getType())[1]) {}

  void emit() {
    Value query = e.shared(0);
    orders = e.shared(queryBytes(op));
    e.forRange32(e.cI32(0), operands.rowCount, 1, [&](Value number) {
      Value row = e.add(operands.rowBegin, number), position = e.add(operands.position, number);
      Value from = e.at(operands.addressOf(op.getQuery()), e.mul(e.wide(row), queryBytes(op)));
      e.barrier(); // all are done with the row before
      auto forShare = [&](int64_t count, function_ref<void(Value)> body) {
        e.forRange32(e.thread(), e.cI32(count), kBlock, body);
      };
      forShare(heads * keyDim(),
               [&](Value i) { e.store(loadF32(from, i), e.at(query, e.shiftLeft(i, 2)), 4); });
      forShare(mostKeys(op, context),
               [&](Value i) { e.store(e.cI32(kUnseen), e.at(orders, e.shiftLeft(i, 2)), 4); });
      e.barrier();
      Value end = scoring.keyEnd(position);
      scoreKeys(row, position, query, end);
      e.barrier();
      e.ifThen(e.lessThan(e.thread(), e.cI32(kWarp)), [&] { select(row, e.minS(end, e.cI32(tokens))); });
    });
  }

private:
  int64_t keyDim() { return shapeOf(op.getQuery().getType())[2]; }
  Value loadF32(Value base, Value index) { return e.load(e.f32(), e.at(base, e.shiftLeft(index, 2)), 4); }
  Value loadOrder(Value key) { return e.load(e.i32(), e.at(orders, e.shiftLeft(key, 2)), 4); }

  /// Sums of scores over the heads in order; a head whose mask says no adds nothing. Warps take 32 keys in
  /// turn.
  void scoreKeys(Value row, Value position, Value query, Value end) {
    Value warp = e.warp();
    e.forRange(e.cI32(0), end, e.cI32(kWarp), {e.cI32(0)}, [&](Value first, ValueRange known) {
      PlainScores::Key key = scoring.key(first, end, known[0]);
      Value turn = e.bitAnd(e.shiftRightU(first, 5), kAttentionWarps - 1);
      e.ifThen(e.bitAnd(e.equal(turn, warp), key.exists), [&] { scoreKey(row, position, query, key); });
      return Values{e.add(known[0], scoring.count(key))};
    });
  }

  void scoreKey(Value row, Value position, Value query, const PlainScores::Key &key) {
    int64_t group = cast<ScoringOpInterface>(op.getOperation()).groupSize();
    Value no = e.constantInt(e.getI1Type(), 0), zero = e.cF32(0);
    Values total =
        e.forRange(e.cI32(0), e.cI32(heads), e.cI32(1), {zero, no}, [&](Value head, ValueRange carried) {
          PlainScores::Vector vector{row, head, position, e.at(query, e.mul(head, keyDim() * 4))};
          Value kvHead = e.divU(head, group);
          Value score = scoring.score(vector, kvHead, key);
          Value seen = e.constantInt(e.getI1Type(), 1);
          if (!op.getMask().empty())
            seen = scoring.region(op.getMask(), vector, kvHead, key, score);
          Value isFirst = e.equal(head, e.cI32(0));
          Value sum = e.select(isFirst, score, e.addF(carried[0], score));
          return Values{e.select(seen, sum, carried[0]), e.select(isFirst, seen, carried[1])};
        });
    // Integers in the order of the numbers: negative numbers' bits are turned. NaN and minus infinity are not
    // seen.
    Value bits = e.bitcast(total[0], e.i32());
    Value signs = e.create<arith::ShRSIOp>(bits, e.cI32(31));
    Value order = e.create<arith::XOrIOp>(bits, e.bitAnd(signs, 0x7fffffff));
    Value isNumber = e.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, total[0], e.cF32(-INFINITY));
    Value isSeen = e.bitAnd(total[1], isNumber);
    e.store(e.select(isSeen, order, e.cI32(kUnseen)), e.at(orders, e.shiftLeft(key.number, 2)), 4);
  }

  Value countKeys(Value end, function_ref<Value(Value order)> wanted) {
    Value count = e.forRange(e.lane(), end, e.cI32(kWarp), {e.cI32(0)}, [&](Value key, ValueRange carried) {
      return Values{e.add(carried[0], e.extendU(wanted(loadOrder(key)), e.i32()))};
    })[0];
    return e.warpSum(count);
  }

  /// Selects the k largest, of equal ones the earlier; the code of one warp.
  void select(Value row, Value end) {
    Value k = e.cI32(std::min<int64_t>(op.getK(), INT32_MAX));
    auto compare = [&](arith::CmpIPredicate predicate, Value a, Value b) -> Value {
      return e.create<arith::CmpIOp>(predicate, a, b);
    };
    Value threshold =
        e.forRange(e.cI32(0), e.cI32(32), e.cI32(1), {e.cI32(kUnseen)}, [&](Value bit, ValueRange carried) {
          Value higher = e.add(carried[0], e.create<arith::ShRUIOp>(e.cI32(INT32_MIN), bit).getResult());
          Value count =
              countKeys(end, [&](Value order) { return compare(arith::CmpIPredicate::sge, order, higher); });
          return Values{e.select(compare(arith::CmpIPredicate::sge, count, k), higher, carried[0])};
        })[0];
    Value above =
        countKeys(end, [&](Value order) { return compare(arith::CmpIPredicate::sgt, order, threshold); });
    Value result = e.at(operands.result, e.mul(e.wide(row), tokens));
    e.forRange(e.cI32(0), e.cI32(tokens), e.cI32(kWarp), {e.sub(k, above)},
               [&](Value first, ValueRange left) {
                 Value key = e.add(first, e.lane());
                 Value exists = e.lessThan(key, end);
                 Value order = loadOrder(e.minS(key, e.add(end, -1)));
                 exists = e.bitAnd(exists, compare(arith::CmpIPredicate::ne, order, e.cI32(kUnseen)));
                 Value ties = e.bitAnd(exists, e.equal(order, threshold));
                 Value hasPlace = e.lessThan(e.lanesBelow(ties), left[0]);
                 Value larger = e.bitAnd(exists, compare(arith::CmpIPredicate::sgt, order, threshold));
                 Value isSelected = e.bitOr(larger, e.bitAnd(ties, hasPlace));
                 e.ifThen(e.lessThan(key, e.cI32(tokens)),
                          [&] { e.store(e.extendU(isSelected, e.i8()), e.at(result, key)); });
                 return Values{e.sub(left[0], e.countLanes(ties))};
               });
  }

  Emitter &e;
  TopKOp op;
  const KernelContext &context;
  const AttentionOperands &operands;
  PlainScores scoring;
  const int64_t heads, tokens;
  Value orders; // shared: i32 of each key
};

} // namespace

int64_t TopK::sharedBytes(TopKOp op, const KernelContext &context) {
  return queryBytes(op) + mostKeys(op, context) * 4;
}

void TopK::emit(Emitter &e, TopKOp op, const KernelContext &context, const AttentionOperands &operands) {
  TopKEmitter(e, op, context, operands).emit();
}

} // namespace heddle::cuda
