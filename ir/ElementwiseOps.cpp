// What elementwise ops compute, emitted on scalars or vectors.
#include "ir/Heddle.h"

using namespace mlir;
using namespace mlir::heddle;

static Value constant(OpBuilder &b, Location loc, Type type, double value) {
  TypedAttr scalar = b.getF32FloatAttr(static_cast<float>(value));
  if (auto vector = dyn_cast<VectorType>(type))
    return b.create<arith::ConstantOp>(loc, DenseElementsAttr::get(vector, Attribute(scalar)));
  return b.create<arith::ConstantOp>(loc, scalar);
}

/// x / (1 + exp(-x)) shares its division with sigmoid: 1 / (1 + exp(-x)).
static Value sigmoid(OpBuilder &b, Location loc, Value x) {
  Value one = constant(b, loc, x.getType(), 1.0);
  Value e = b.create<math::ExpOp>(loc, b.create<arith::NegFOp>(loc, x));
  return b.create<arith::DivFOp>(loc, one, b.create<arith::AddFOp>(loc, one, e));
}

Value UnaryOp::emitElementwise(OpBuilder &b, Location loc, ValueRange operands) {
  Value x = operands[0];
  auto mul = [&](Value l, Value r) -> Value { return b.create<arith::MulFOp>(loc, l, r); };
  auto add = [&](Value l, Value r) -> Value { return b.create<arith::AddFOp>(loc, l, r); };
  auto c = [&](double value) { return constant(b, loc, x.getType(), value); };
  switch (getKind()) {
  case UnaryKind::Silu:
    return mul(x, sigmoid(b, loc, x));
  case UnaryKind::GeluTanh: {
    // 0.5 (1 + tanh u) = sigmoid(2u): one exp instead of a tanh.
    Value u = mul(c(0.7978845608028654), add(x, mul(c(0.044715), mul(x, mul(x, x)))));
    return mul(x, sigmoid(b, loc, add(u, u)));
  }
  case UnaryKind::GeluErf:
    return mul(mul(c(0.5), x), add(c(1.0), b.create<math::ErfOp>(loc, mul(x, c(0.7071067811865476)))));
  case UnaryKind::Tanh:
    return b.create<math::TanhOp>(loc, x);
  case UnaryKind::Sigmoid:
    return sigmoid(b, loc, x);
  case UnaryKind::Relu:
    return b.create<arith::MaximumFOp>(loc, x, c(0.0));
  case UnaryKind::Exp:
    return b.create<math::ExpOp>(loc, x);
  }
  llvm_unreachable("unknown unary kind");
}

Value BinaryOp::emitElementwise(OpBuilder &b, Location loc, ValueRange operands) {
  Value l = operands[0], r = operands[1];
  switch (getKind()) {
  case BinaryKind::Add:
    return b.create<arith::AddFOp>(loc, l, r);
  case BinaryKind::Sub:
    return b.create<arith::SubFOp>(loc, l, r);
  case BinaryKind::Mul:
    return b.create<arith::MulFOp>(loc, l, r);
  case BinaryKind::Div:
    return b.create<arith::DivFOp>(loc, l, r);
  case BinaryKind::Max:
    return b.create<arith::MaximumFOp>(loc, l, r);
  case BinaryKind::Min:
    return b.create<arith::MinimumFOp>(loc, l, r);
  }
  llvm_unreachable("unknown binary kind");
}

Value ScaleOp::emitElementwise(OpBuilder &b, Location loc, ValueRange operands) {
  return b.create<arith::MulFOp>(loc, operands[0],
                                 constant(b, loc, operands[0].getType(), getFactor().convertToFloat()));
}
