#include "codegen/cpu/AttentionRegion.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

namespace {
enum RegionArgument { kScore, kQueryHead, kKvHead, kQueryPosition, kKvPosition, kSlot };

/// One comparison `left < right` or `left <= right`, whichever way it was written.
struct Order {
  Value left, right;
  bool strict;
};

std::optional<Order> readOrder(Value condition) {
  auto compare = condition.getDefiningOp<arith::CmpIOp>();
  if (!compare)
    return std::nullopt;
  Value l = compare.getLhs(), r = compare.getRhs();
  switch (compare.getPredicate()) {
  case arith::CmpIPredicate::slt:
    return Order{l, r, true};
  case arith::CmpIPredicate::sle:
    return Order{l, r, false};
  case arith::CmpIPredicate::sgt:
    return Order{r, l, true};
  case arith::CmpIPredicate::sge:
    return Order{r, l, false};
  default:
    return std::nullopt;
  }
}

void readConjunct(Value condition, Block &block, MaskSummary &summary) {
  if (auto both = condition.getDefiningOp<arith::AndIOp>()) {
    readConjunct(both.getLhs(), block, summary);
    readConjunct(both.getRhs(), block, summary);
    return;
  }
  if (getConstantIntValue(condition) == 1 || getConstantIntValue(condition) == -1) // i1 true
    return;
  Value query = block.getArgument(kQueryPosition), key = block.getArgument(kKvPosition);
  if (auto order = readOrder(condition)) {
    if (order->left == key && order->right == query && !order->strict) {
      summary.causal = true;
      return;
    }
    auto distance = order->left.getDefiningOp<arith::SubIOp>();
    auto limit = getConstantIntValue(order->right);
    if (distance && distance.getLhs() == query && distance.getRhs() == key && limit) {
      int64_t window = order->strict ? *limit : *limit + 1;
      summary.window = std::min(summary.window.value_or(window), window);
      return;
    }
  }
  summary.exact = false;
}
} // namespace

MaskSummary summarizeMask(Region &mask) {
  MaskSummary summary;
  if (!mask.empty())
    readConjunct(mask.front().getTerminator()->getOperand(0), mask.front(), summary);
  return summary;
}

Operation *findCapture(Region &region) {
  Operation *found = nullptr;
  region.walk([&](Operation *op) {
    for (Value operand : op->getOperands())
      if (operand.getParentRegion() != &region && !operand.getDefiningOp<arith::ConstantOp>())
        found = op;
  });
  return found;
}

Value vectorizeRegion(Emitter &e, Region &region, ValueRange arguments) {
  Block &block = region.front();
  int64_t lanes = cast<VectorType>(arguments[0].getType()).getNumElements();
  IRMapping mapping;
  mapping.map(block.getArguments(), arguments);
  auto splat = [&](arith::ConstantOp constant) {
    auto type = VectorType::get({lanes}, constant.getType());
    Value vector = e.create<arith::ConstantOp>(DenseElementsAttr::get(type, Attribute(constant.getValue())));
    mapping.map(constant.getResult(), vector);
  };
  auto map = [&](Value value) {
    if (!mapping.contains(value))
      splat(value.getDefiningOp<arith::ConstantOp>());
  };
  for (Operation &op : block.without_terminator()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      splat(constant);
      continue;
    }
    for (Value operand : op.getOperands())
      map(operand);
    // Arith and math ops are elementwise: the same op on vectors.
    Operation *vector = e.clone(op, mapping);
    for (Value result : vector->getResults())
      result.setType(VectorType::get({lanes}, result.getType()));
  }
  Value yielded = block.getTerminator()->getOperand(0);
  map(yielded);
  return mapping.lookup(yielded);
}

} // namespace heddle::cpu
