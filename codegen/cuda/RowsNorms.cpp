// Norms and pooling: what reduces a row, or rows.
#include "codegen/cuda/RowsBuilder.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

Value RowsBuilder::sumColumns(Value address, int64_t columns, const Team &team,
                              function_ref<Value(Value, Value)> accumulate) {
  Value sum = e.forRange(team.first, e.cI32(columns), e.cI32(team.threads), {e.cF32(0)},
                         [&](Value column, ValueRange carried) {
                           return Values{accumulate(loadColumn(address, column), carried[0])};
                         })[0];
  sum = e.warpSum(sum);
  int warps = team.threads / kWarp;
  if (warps == 1)
    return sum;
  // Every reduction has its own place, so that a fast warp does not overwrite what a slow one reads.
  Value parts = shared(warps * 4);
  e.ifThen(e.equal(e.lane(), e.cI32(0)), [&] { e.store(sum, elementAt(parts, e.warp()), 4); });
  e.barrier();
  Value total = e.load(e.f32(), parts, 4);
  for (int i = 1; i < warps; ++i)
    total = e.addF(total, e.load(e.f32(), e.at(parts, i * 4), 4));
  return total;
}

void RowsBuilder::emitNorm(Operation *op, function_ref<Normalize(Value, int64_t, const Team &)> prepare) {
  Value input = memory(op->getOperand(0)), result = op->getResult(0);
  int64_t columns = shapeOf(result.getType()).back(), segments = rowColumns(result.getType()) / columns;
  if (segments == 1) {
    Normalize normalize = prepare(input, columns, {thread, blockThreads});
    defer(op,
          [this, input, normalize](Value column) { return normalize(column, loadColumn(input, column)); });
    return;
  }
  // A warp for each innermost row.
  Value target = destination(result), lane = e.lane();
  e.forRange32(e.warp(), e.cI32(segments), blockThreads / kWarp, [&](Value segment) {
    Value from = elementAt(input, segment, int(columns * 4)),
          to = elementAt(target, segment, int(columns * 4));
    Normalize normalize = prepare(from, columns, {lane, kWarp});
    e.forRange32(lane, e.cI32(columns), kWarp,
                 [&](Value column) { storeColumn(normalize(column, loadColumn(from, column)), to, column); });
  });
}

void RowsBuilder::emitRmsNorm(RmsNormOp op) {
  emitNorm(op, [&](Value address, int64_t columns, const Team &team) -> Normalize {
    Value squares = sumColumns(address, columns, team, [&](Value x, Value sum) { return e.fma(x, x, sum); });
    Value mean = e.divF(squares, e.cF32(double(columns)));
    Value root = e.create<math::SqrtOp>(e.addF(mean, e.cF32(op.getEpsilon().convertToDouble())));
    Value factor = e.divF(e.cF32(1), root), weight = operandOf(op.getWeight());
    return [this, factor, weight](Value column, Value x) {
      return e.mulF(e.mulF(x, factor), loadColumn(weight, column));
    };
  });
}

void RowsBuilder::emitLayerNorm(LayerNormOp op) {
  emitNorm(op, [&](Value address, int64_t columns, const Team &team) -> Normalize {
    Value count = e.cF32(double(columns));
    Value total = sumColumns(address, columns, team, [&](Value x, Value sum) { return e.addF(sum, x); });
    Value mean = e.divF(total, count);
    Value squares = sumColumns(address, columns, team, [&](Value x, Value sum) {
      Value distance = e.subF(x, mean);
      return e.fma(distance, distance, sum);
    });
    Value variance = e.divF(squares, count);
    Value root = e.create<math::SqrtOp>(e.addF(variance, e.cF32(op.getEpsilon().convertToDouble())));
    Value factor = e.divF(e.cF32(1), root);
    Value weight = operandOf(op.getWeight()), bias = operandOf(op.getBias());
    return [this, mean, factor, weight, bias](Value column, Value x) {
      return e.fma(e.mulF(e.subF(x, mean), factor), loadColumn(weight, column), loadColumn(bias, column));
    };
  });
}

void RowsBuilder::emitL2Normalize(L2NormalizeOp op) {
  emitNorm(op, [&](Value address, int64_t columns, const Team &team) -> Normalize {
    Value squares = sumColumns(address, columns, team, [&](Value x, Value sum) { return e.fma(x, x, sum); });
    Value length = e.create<math::SqrtOp>(squares), epsilon = e.cF32(op.getEpsilon().convertToDouble());
    // A NaN length stays, since it is not below epsilon.
    Value isShort = e.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, length, epsilon);
    Value divisor = e.select(isShort, epsilon, length);
    return [this, divisor](Value, Value x) { return e.divF(x, divisor); };
  });
}

llvm::Error RowsBuilder::emitPoolRows(PoolRowsOp op) {
  // Items are sequences here, so the rows to pool must lie in memory as a whole.
  Value argument = withoutReshapes(op.getInput());
  if (!isa<BlockArgument>(argument) || !isa<BlockArgument>(op.getSequences()))
    return unsupportedOp(*op, "expected its input to be an argument of the kernel");
  Value input = operandOf(argument), sequences = operandOf(op.getSequences());
  int64_t columns = rowColumns(op.getType());
  // Rows before the sequence, and rows of it: numbers ascend.
  Values found = e.forRange(e.cI32(0), rowCount(argument), e.cI32(1), {e.cI32(0), e.cI32(0)},
                            [&](Value i, ValueRange carried) {
                              Value number = e.load(e.i32(), elementAt(sequences, i), 4);
                              Value before = e.lessThan(number, row), same = e.equal(number, row);
                              return Values{e.add(carried[0], e.extendU(before, e.i32())),
                                            e.add(carried[1], e.extendU(same, e.i32()))};
                            });
  Value first = found[0], length = found[1];
  Value last = e.sub(e.add(first, length), e.cI32(1));
  auto rowAt = [this, input, columns](Value i) { return e.at(input, e.mul(e.wide(i), columns * 4)); };
  Value any = e.lessThan(e.cI32(0), length);
  if (op.getKind() == PoolKind::Mean) {
    Value divisor = e.create<arith::SIToFPOp>(e.f32(), e.maxS(length, e.cI32(1)));
    defer(op, [this, rowAt, first, length, divisor](Value column) {
      Values sum =
          e.forRange(first, e.add(first, length), e.cI32(1), {e.cF32(0)}, [&](Value i, ValueRange carried) {
            return Values{e.addF(carried[0], loadColumn(rowAt(i), column))};
          });
      return e.divF(sum[0], divisor);
    });
    return llvm::Error::success();
  }
  Value index = e.select(any, op.getKind() == PoolKind::First ? first : last, e.cI32(0));
  defer(op, [this, rowAt, index, any](Value column) {
    return e.select(any, loadColumn(rowAt(index), column), e.cF32(0));
  });
  return llvm::Error::success();
}

} // namespace heddle::cuda
