#include "ir/Heddle.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_EXPANDMATHPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {

/// f32 functions as arith and math.fma on `type`, an f32 or a vector of it. The polynomials are weighted
/// minimax fits whose coefficients were rounded to f32 one by one, each followed by a new fit of the rest.
/// Largest errors: Passes.td.
class Expansion {
public:
  Expansion(OpBuilder &builder, Location loc, Type type) : b(loc, builder), type(type) {
    intType = b.getI32Type();
    if (auto vector = dyn_cast<VectorType>(type))
      intType = vector.clone(b.getI32Type());
  }

  Value exp(Value x) {
    // Past these bounds the result is infinity or 0 anyway, and inside them the two factors of 2^n are normal
    // numbers.
    Split s = split(lowerBound(upperBound(x, 89.0f), -104.5f));
    Value p = fma(fma(remainder(s.r), s.r, c(1.0f)), s.r, c(1.0f));
    // Two factors, so that results above 2^127 and denormal ones need no case of their own; only the last
    // product rounds.
    Value half = b.create<arith::ShRSIOp>(s.n, ci(1));
    return mul(mul(p, powerOfTwo(half)), powerOfTwo(b.create<arith::SubIOp>(s.n, half)));
  }

  /// (e^y - 1) / (e^y + 1) with y = 2 |x|; e^y - 1 is computed without cancellation.
  Value tanh(Value x) {
    Value y = upperBound(mul(magnitude(x), c(2.0f)), 18.1f); // tanh is 1 from here
    Split s = split(y);
    Value q = remainder(s.r);
    Value scale = powerOfTwo(s.n);
    Value lower = fma(mul(s.r, s.r), q, s.r);
    Value minusOne = fma(scale, lower, sub(scale, c(1.0f)));
    return withSignOf(b.create<arith::DivFOp>(minusOne, add(minusOne, c(2.0f))), x);
  }

  /// Below 1: x + x P(x^2). From 1 on: 1 - exp(-Q(|x|)), where Q approximates -log(erfc).
  Value erf(Value x) {
    Value a = magnitude(x);
    Value small = fma(a,
                      polynomial(mul(a, a), {0.12837917f, -0.37612626f, 0.11283579f, -0.026853349f,
                                             0.0051871715f, -0.00079979957f, 7.807594e-05f}),
                      a);
    Value bounded = upperBound(a, 3.95f); // erf is 1 from here
    Value q = polynomial(bounded, {0.00034150935f, 1.1270893f, 0.6381447f, 0.103106946f, -0.021838188f,
                                   0.0029476993f, -0.00018638447f});
    Split s = split(b.create<arith::NegFOp>(q));
    Value tail = mul(fma(fma(remainder(s.r), s.r, c(1.0f)), s.r, c(1.0f)), powerOfTwo(s.n));
    Value isSmall = b.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, a, c(1.0f));
    return withSignOf(b.create<arith::SelectOp>(isSmall, small, sub(c(1.0f), tail)), x);
  }

private:
  /// x = n ln 2 + r, |r| <= ln 2 / 2, for |x| below 2^21.
  struct Split {
    Value n, r;
  };
  Split split(Value x) {
    // Adding 1.5 * 2^23 rounds to an integer, half to even, and leaves it in the low bits.
    Value shifted = fma(x, c(1.44269504f), c(12582912.0f));
    Value n = sub(shifted, c(12582912.0f));
    Value r = fma(n, c(-0x1.62e4p-1f), x); // 15 bits of ln 2: n times it is exact
    r = fma(n, c(-0x1.7f7d1cp-20f), r);
    Value bits = b.create<arith::BitcastOp>(intType, shifted);
    return {b.create<arith::SubIOp>(bits, ci(0x4b400000)), r};
  }
  /// (e^r - 1 - r) / r^2
  Value remainder(Value r) {
    return polynomial(r, {0.49999994f, 0.16666521f, 0.041668274f, 0.008368686f, 0.0013820136f});
  }
  Value powerOfTwo(Value n) {
    Value exponent = b.create<arith::ShLIOp>(b.create<arith::AddIOp>(n, ci(127)), ci(23));
    return b.create<arith::BitcastOp>(type, exponent);
  }
  Value polynomial(Value x, ArrayRef<float> coefficients) {
    Value sum = c(coefficients.back());
    for (float coefficient : llvm::reverse(coefficients.drop_back()))
      sum = fma(sum, x, c(coefficient));
    return sum;
  }

  // Written so that NaN stays, in the form that is one minps or maxps.
  Value upperBound(Value x, float bound) {
    Value above = b.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, c(bound), x);
    return b.create<arith::SelectOp>(above, c(bound), x);
  }
  Value lowerBound(Value x, float bound) {
    Value below = b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, c(bound), x);
    return b.create<arith::SelectOp>(below, c(bound), x);
  }

  Value magnitude(Value x) { return fromBits(b.create<arith::AndIOp>(toBits(x), ci(0x7fffffff))); }
  Value withSignOf(Value magnitude, Value x) {
    Value sign = b.create<arith::AndIOp>(toBits(x), ci(INT32_MIN));
    return fromBits(b.create<arith::OrIOp>(toBits(magnitude), sign));
  }
  Value toBits(Value x) { return b.create<arith::BitcastOp>(intType, x); }
  Value fromBits(Value x) { return b.create<arith::BitcastOp>(type, x); }
  Value add(Value l, Value r) { return b.create<arith::AddFOp>(l, r); }
  Value sub(Value l, Value r) { return b.create<arith::SubFOp>(l, r); }
  Value mul(Value l, Value r) { return b.create<arith::MulFOp>(l, r); }
  Value fma(Value l, Value r, Value to) { return b.create<math::FmaOp>(l, r, to); }
  Value c(float value) { return constant(type, b.getF32FloatAttr(value)); }
  Value ci(int32_t value) { return constant(intType, b.getI32IntegerAttr(value)); }
  Value constant(Type of, TypedAttr value) {
    if (auto vector = dyn_cast<VectorType>(of))
      value = DenseElementsAttr::get(vector, Attribute(value));
    return b.create<arith::ConstantOp>(value);
  }

  ImplicitLocOpBuilder b;
  Type type, intType;
};

struct ExpandMath : mlir::heddle::impl::ExpandMathPassBase<ExpandMath> {
  void runOnOperation() override {
    getOperation()->walk([](Operation *op) {
      if (!isa<math::ExpOp, math::TanhOp, math::ErfOp>(op) ||
          !getElementTypeOrSelf(op->getResult(0)).isF32() || isa<TensorType>(op->getResult(0).getType()))
        return;
      OpBuilder builder(op);
      Expansion expansion(builder, op->getLoc(), op->getResult(0).getType());
      Value x = op->getOperand(0);
      Value result = isa<math::ExpOp>(op)    ? expansion.exp(x)
                     : isa<math::TanhOp>(op) ? expansion.tanh(x)
                                             : expansion.erf(x);
      op->getResult(0).replaceAllUsesWith(result);
      op->erase();
    });
  }
};
} // namespace
