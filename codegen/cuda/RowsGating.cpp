// Gates of attention heads, what rows get for the heads that they skip, and selections that a mask makes.
#include "codegen/cuda/RowsBuilder.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

Value RowsBuilder::isSelected(Value selection, Value number) {
  Value byte = e.load(e.i8(), e.at(selection, number));
  return e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, byte, e.constantInt(e.i8(), 0));
}

// A warp for each head.
void RowsBuilder::emitHeadGate(HeadGateOp op) {
  Value input = memory(op.getInput()), result = destination(op.getResult()), lane = e.lane();
  auto shape = shapeOf(op.getWeight().getType());
  int64_t columns = shape[1];
  e.forRange32(e.warp(), e.cI32(shape[0]), blockThreads / kWarp, [&](Value head) {
    Value weights = e.at(operandOf(op.getWeight()), e.mul(e.wide(head), columns * 4));
    Value sum =
        e.forRange(lane, e.cI32(columns), e.cI32(kWarp), {e.cF32(0)}, [&](Value column, ValueRange carried) {
          return Values{e.fma(loadColumn(input, column), loadColumn(weights, column), carried[0])};
        })[0];
    sum = e.warpSum(sum);
    if (op.getBias())
      sum = e.addF(sum, loadColumn(operandOf(op.getBias()), head));
    Value opens = e.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, sum, e.cF32(0));
    e.ifThen(e.equal(lane, e.cI32(0)), [&] { e.store(e.extendU(opens, e.i8()), e.at(result, head)); });
  });
}

void RowsBuilder::emitMaskHeads(MaskHeadsOp op) {
  Value selection = memory(op.getSelection()), skip = op.getSkip() ? operandOf(op.getSkip()) : Value();
  int64_t width = shapeOf(op.getType())[2];
  defer(op, [this, op, selection, skip, width](Value column) mutable {
    Value otherwise = skip ? loadColumn(skip, column) : e.cF32(0);
    return e.select(isSelected(selection, e.divU(column, width)), columnOf(op.getInput(), column), otherwise);
  });
}

void RowsBuilder::emitSkippedSum(SkippedSumOp op) {
  Value selection = memory(op.getSelection()), table = operandOf(op.getTable());
  auto shape = shapeOf(op.getTable().getType());
  defer(op, [this, selection, table, heads = shape[0], columns = shape[1]](Value column) {
    return e.forRange(e.cI32(0), e.cI32(heads), e.cI32(1), {e.cF32(0)}, [&](Value head, ValueRange carried) {
      Value added = loadColumn(e.at(table, e.mul(e.wide(head), columns * 4)), column);
      return Values{e.select(isSelected(selection, head), carried[0], e.addF(carried[0], added))};
    })[0];
  });
}

void RowsBuilder::emitSelectBlocks(SelectBlocksOp op) {
  auto shape = shapeOf(op.getMask().getType());
  Value mask;
  if (op.getPositions()) {
    Value position = e.maxS(e.load(e.i32(), memory(op.getPositions()), 4), e.cI32(0));
    Value block = e.divU(position, cast<SelectionType>(op.getType()).getBlockTokens());
    Value number = e.minS(block, e.cI32(shape[0] - 1));
    mask = e.at(operandOf(op.getMask()), e.mul(e.wide(number), shape[1] * 4));
  } else {
    mask = memory(op.getMask());
  }
  Value target = destination(op.getResult());
  forShare(shape[1], [&](Value block) {
    Value positive = e.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, loadColumn(mask, block), e.cF32(0));
    e.store(e.extendU(positive, e.i8()), e.at(target, block));
  });
}

} // namespace heddle::cuda
