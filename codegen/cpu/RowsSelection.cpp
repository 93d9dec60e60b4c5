// Selections that rows make of a mask.
#include "codegen/cpu/RowsBuilder.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

void RowsBuilder::emitSelectBlocks(SelectBlocksOp op) {
  int64_t blocks = shapeOf(op.getMask().getType())[1];
  Value mask, target = destination(op.getResult());
  if (op.getPositions()) {
    Value position = e.extendS(e.load(e.i32(), memory(op.getPositions())), e.i64());
    Value block = e.divU(e.maxS(position, e.cI64(0)), cast<SelectionType>(op.getType()).getBlockTokens());
    Value last = e.cI64(shapeOf(op.getMask().getType())[0] - 1);
    mask = e.at(operandOf(op.getMask()), e.mul(e.minS(block, last), blocks * 4));
  } else {
    mask = memory(op.getMask());
  }
  forPieces(blocks, [&](Value offset, int width) {
    VectorType type = e.vec(e.f32(), width);
    Value positive = e.create<arith::CmpFOp>(arith::CmpFPredicate::OGT,
                                             e.load(type, e.at(mask, e.mul(offset, 4))), e.constant(type, 0));
    e.store(e.extendU(positive, e.i8()), e.at(target, offset));
  });
}

} // namespace heddle::cpu
