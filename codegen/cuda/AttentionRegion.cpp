#include "codegen/cuda/AttentionRegion.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

static Value loadElement(Emitter &e, ElementOp op, ValueRange indices, Value base, Value rows) {
  auto shape = shapeOf(op.getTensor().getType());
  Value place = e.constantInt(e.i64(), 0);
  for (auto [index, size] : llvm::zip(indices, shape)) {
    Value last = ShapedType::isDynamic(size) ? e.add(rows, -1) : e.cI32(size - 1);
    Value inside = e.maxS(e.minS(index, last), e.cI32(0));
    Value scale = ShapedType::isDynamic(size) ? e.wide(rows) : e.cI64(size);
    place = e.add(e.mul(place, scale), e.wide(inside));
  }
  return e.load(op.getType(), e.at(base, e.shiftLeft(place, 2)), 4);
}

Value emitRegion(Emitter &e, Region &region, ValueRange arguments, function_ref<Value(Value)> address,
                 Value rows) {
  Block &block = region.front();
  IRMapping mapping;
  mapping.map(block.getArguments(), arguments.take_front(block.getNumArguments()));
  auto bring = [&](Value value) {
    auto constant = value.getDefiningOp<arith::ConstantOp>();
    if (!mapping.contains(value) && constant && !isa<ShapedType>(constant.getType()))
      mapping.map(value, e.clone(*constant)->getResult(0));
  };
  for (Operation &op : block.without_terminator()) {
    if (auto element = dyn_cast<ElementOp>(op)) {
      Values indices;
      for (Value index : element.getIndices()) {
        bring(index);
        indices.push_back(mapping.lookup(index));
      }
      mapping.map(element.getResult(), loadElement(e, element, indices, address(element.getTensor()), rows));
      continue;
    }
    for (Value operand : op.getOperands())
      bring(operand);
    e.clone(op, mapping);
  }
  Value yielded = block.getTerminator()->getOperand(0);
  bring(yielded);
  return mapping.lookup(yielded);
}

} // namespace heddle::cuda
