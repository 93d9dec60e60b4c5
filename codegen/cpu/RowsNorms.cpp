// Norms and pooling: what reduces a row, or rows.
#include "codegen/cpu/RowsBuilder.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

Value RowsBuilder::sumColumns(Value address, int64_t columns, function_ref<Value(Value, Value)> accumulate) {
  // Four chains of fma hide their latency.
  constexpr int kSums = 4;
  Values sums = forColumns(columns, kSums, Values(kSums, e.constant(floats, 0)),
                           [&](ArrayRef<Column> at, ValueRange carried) {
                             Values next(carried);
                             for (auto [i, column] : llvm::enumerate(at)) {
                               Value sum = accumulate(loadColumn(address, column), next[i]);
                               next[i] = column.mask ? e.select(column.mask, sum, next[i]) : sum;
                             }
                             return next;
                           });
  return e.sumPairs(e.addF(e.addF(sums[0], sums[1]), e.addF(sums[2], sums[3])));
}

void RowsBuilder::emitNorm(Operation *op, function_ref<Normalize(Value, int64_t)> prepare) {
  Value input = memory(op->getOperand(0)), result = op->getResult(0);
  int64_t columns = shapeOf(result.getType()).back(), segments = rowColumns(result.getType()) / columns;
  if (segments == 1) {
    Normalize normalize = prepare(input, columns);
    defer(op, [this, input, normalize](const Column &column) {
      return normalize(column, loadColumn(input, column));
    });
    return;
  }
  Value target = destination(result);
  e.forRange(0, segments, 1, [&](Value segment) {
    Value from = e.at(input, e.mul(segment, columns * 4)), to = e.at(target, e.mul(segment, columns * 4));
    Normalize normalize = prepare(from, columns);
    forColumns(columns, 1, {}, [&](ArrayRef<Column> at, ValueRange) {
      for (const Column &column : at)
        storeColumn(normalize(column, loadColumn(from, column)), to, column);
      return Values();
    });
  });
}

void RowsBuilder::emitRmsNorm(RmsNormOp op) {
  emitNorm(op, [&](Value address, int64_t columns) -> Normalize {
    Value squares = sumColumns(address, columns, [&](Value x, Value sum) { return e.fma(x, x, sum); });
    Value mean = e.divF(squares, e.cF32(double(columns)));
    Value root = e.create<math::SqrtOp>(e.addF(mean, e.cF32(op.getEpsilon().convertToDouble())));
    Value factor = e.splat(e.divF(e.cF32(1), root), floats), weight = operandOf(op.getWeight());
    return [this, factor, weight](const Column &column, Value x) {
      return e.mulF(e.mulF(x, factor), loadColumn(weight, column));
    };
  });
}

void RowsBuilder::emitLayerNorm(LayerNormOp op) {
  emitNorm(op, [&](Value address, int64_t columns) -> Normalize {
    Value count = e.cF32(double(columns));
    Value total = sumColumns(address, columns, [&](Value x, Value sum) { return e.addF(sum, x); });
    Value mean = e.splat(e.divF(total, count), floats);
    Value squares = sumColumns(address, columns, [&](Value x, Value sum) {
      Value distance = e.subF(x, mean);
      return e.fma(distance, distance, sum);
    });
    Value variance = e.divF(squares, count);
    Value root = e.create<math::SqrtOp>(e.addF(variance, e.cF32(op.getEpsilon().convertToDouble())));
    Value factor = e.splat(e.divF(e.cF32(1), root), floats);
    Value weight = operandOf(op.getWeight()), bias = operandOf(op.getBias());
    return [this, mean, factor, weight, bias](const Column &column, Value x) {
      return e.fma(e.mulF(e.subF(x, mean), factor), loadColumn(weight, column), loadColumn(bias, column));
    };
  });
}

void RowsBuilder::emitL2Normalize(L2NormalizeOp op) {
  emitNorm(op, [&](Value address, int64_t columns) -> Normalize {
    Value squares = sumColumns(address, columns, [&](Value x, Value sum) { return e.fma(x, x, sum); });
    Value length = e.create<math::SqrtOp>(squares), epsilon = e.cF32(op.getEpsilon().convertToDouble());
    // A NaN length stays, since it is not below epsilon.
    Value isShort = e.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, length, epsilon);
    Value divisor = e.splat(e.select(isShort, epsilon, length), floats);
    return [this, divisor](const Column &, Value x) { return e.divF(x, divisor); };
  });
}

llvm::Error RowsBuilder::emitPoolRows(PoolRowsOp op) {
  // Items are sequences here, so the rows to pool must lie in memory as a whole.
  Value argument = withoutReshapes(op.getInput());
  if (!isa<BlockArgument>(argument) || !isa<BlockArgument>(op.getSequences()))
    return unsupportedOp(*op, "expected its input to be an argument of the kernel");
  Value input = operandOf(argument), sequences = operandOf(op.getSequences());
  Value count = rowCount(argument);
  int64_t columns = rowColumns(op.getType());
  Value number = e.truncate(row, e.i32());
  // Rows before the sequence, and rows of it; the sequence is contiguous.
  Values found =
      e.forRange(e.cI64(0), count, e.cI64(1), {e.cI64(0), e.cI64(0)}, [&](Value i, ValueRange carried) {
        Value same = e.equal(e.load(e.i32(), e.at(sequences, e.shiftLeft(i, 2))), number);
        Value none = e.equal(carried[1], e.cI64(0));
        Value length = e.add(carried[1], e.extendU(same, e.i64()));
        return Values{e.select(none, i, carried[0]), length};
      });
  // The loop above leaves the last row before the first hit advanced to the hit itself.
  Value first = found[0], length = found[1];
  Value last = e.sub(e.add(first, length), e.cI64(1));
  auto rowAt = [this, input, columns](Value i) { return e.at(input, e.mul(i, columns * 4)); };
  Value any = e.lessThan(e.cI64(0), length);
  if (op.getKind() == PoolKind::Mean) {
    Value divisor = e.splat(e.create<arith::SIToFPOp>(e.f32(), e.maxS(length, e.cI64(1))), floats);
    defer(op, [this, rowAt, first, length, divisor](const Column &column) {
      Values sum = e.forRange(first, e.add(first, length), e.cI64(1), {e.constant(floats, 0)},
                              [&](Value i, ValueRange carried) {
                                return Values{e.addF(carried[0], loadColumn(rowAt(i), column))};
                              });
      return e.divF(sum[0], divisor);
    });
    return llvm::Error::success();
  }
  Value index = e.select(any, op.getKind() == PoolKind::First ? first : last, e.cI64(0));
  defer(op, [this, rowAt, index, any](const Column &column) {
    return e.select(any, loadColumn(rowAt(index), column), e.constant(floats, 0));
  });
  return llvm::Error::success();
}

} // namespace heddle::cpu
