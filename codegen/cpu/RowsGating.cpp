// Gates of attention heads, and what rows get for the heads that they skip.
#include "codegen/cpu/RowsBuilder.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

Value RowsBuilder::isSelected(Value selection, Value head) {
  Value byte = e.load(e.i8(), e.at(selection, head));
  return e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, byte, e.constantInt(e.i8(), 0));
}

void RowsBuilder::emitHeadGate(HeadGateOp op) {
  constexpr int kSums = 4;
  Value input = memory(op.getInput()), weight = operandOf(op.getWeight()),
        result = destination(op.getResult());
  auto shape = shapeOf(op.getWeight().getType());
  int64_t columns = shape[1];
  e.forRange(0, shape[0], 1, [&](Value head) {
    Value weights = e.at(weight, e.mul(head, columns * 4));
    Values sums = forColumns(
        columns, kSums, Values(kSums, e.constant(floats, 0)), [&](ArrayRef<Column> at, ValueRange carried) {
          Values next(carried);
          // Lanes past the end are zeros on both sides.
          for (auto [i, column] : llvm::enumerate(at))
            next[i] = e.fma(loadColumn(input, column), loadColumn(weights, column), next[i]);
          return next;
        });
    Value sum = e.sumPairs(e.addF(e.addF(sums[0], sums[1]), e.addF(sums[2], sums[3])));
    if (op.getBias())
      sum = e.addF(sum, e.load(e.f32(), e.at(operandOf(op.getBias()), e.mul(head, 4))));
    Value opens = e.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, sum, e.cF32(0));
    e.store(e.extendU(opens, e.i8()), e.at(result, head));
  });
}

void RowsBuilder::emitMaskHeads(MaskHeadsOp op) {
  Value input = memory(op.getInput()), selection = memory(op.getSelection()),
        result = destination(op.getResult());
  auto shape = shapeOf(op.getType());
  int64_t width = shape[2];
  e.forRange(0, shape[1], 1, [&](Value head) {
    Value offset = e.mul(head, width * 4), to = e.at(result, offset);
    e.ifThenElse(
        isSelected(selection, head), [&] { copyRow(e.at(input, offset), to, width); },
        [&] {
          if (op.getSkip())
            return copyRow(e.at(operandOf(op.getSkip()), offset), to, width);
          forColumns(width, 1, {}, [&](ArrayRef<Column> at, ValueRange) {
            for (const Column &column : at)
              storeColumn(e.constant(floats, 0), to, column);
            return Values();
          });
        });
  });
}

void RowsBuilder::emitSkippedSum(SkippedSumOp op) {
  Value selection = memory(op.getSelection()), table = operandOf(op.getTable());
  auto shape = shapeOf(op.getTable().getType());
  defer(op, [this, selection, table, heads = shape[0], columns = shape[1]](const Column &column) {
    return e.forRange(e.cI64(0), e.cI64(heads), e.cI64(1), {e.constant(floats, 0)},
                      [&](Value head, ValueRange carried) {
                        return e.ifValues(
                            isSelected(selection, head), [&] { return Values{carried[0]}; },
                            [&] {
                              Value added = loadColumn(e.at(table, e.mul(head, columns * 4)), column);
                              return Values{e.addF(carried[0], added)};
                            });
                      })[0];
  });
}

} // namespace heddle::cpu
