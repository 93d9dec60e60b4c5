#include "passes/HeadGating.h"

using namespace mlir;
using namespace mlir::heddle;

/// Whether `op` computes each head of its result from that head of its input.
static bool keepsHeadsApart(Operation *op) {
  if (isa<ReshapeOp, RopeOp, ScaleOp, UnaryOp>(op))
    return true;
  // A norm of [rows, heads, width] is one of each head.
  return isa<RmsNormOp, LayerNormOp, L2NormalizeOp>(op) && shapeOf(op->getResult(0).getType()).size() == 3;
}

LinearOp mlir::heddle::headProjection(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!op->hasOneUse())
      return {};
    if (auto linear = dyn_cast<LinearOp>(op))
      return linear;
    if (!keepsHeadsApart(op))
      return {};
    value = op->getOperand(0);
  }
  return {};
}

LinearOp mlir::heddle::outputProjection(AttentionOp attention) {
  Value value = attention.getResult();
  while (value.hasOneUse()) {
    Operation *user = *value.user_begin();
    if (auto linear = dyn_cast<LinearOp>(user))
      return linear.getInput() == value ? linear : LinearOp();
    if (!isa<ReshapeOp>(user))
      return {};
    value = user->getResult(0);
  }
  return {};
}
