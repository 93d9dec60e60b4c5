// Ops on one element at a time, and the rounding of activations to integers.
#include "ir/ActivationLayout.h"
#include "ir/Bfloat16.h"
#include "ir/interpreter/Context.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

static double silu(double x) { return x / (1 + std::exp(-x)); }
static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
static double geluTanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double geluErf(double x) { return 0.5 * x * (1 + std::erf(x / M_SQRT2)); }

static Real unary(UnaryKind kind, Real x, const Arithmetics &arithmetic) {
  switch (kind) {
  case UnaryKind::Silu:
    return arithmetic.apply(silu, x);
  case UnaryKind::GeluTanh: // 0.5 x + 0.5 x tanh(...): the terms cancel for negative x
    return arithmetic.apply(geluTanh, x, std::abs(x.value));
  case UnaryKind::GeluErf:
    return arithmetic.apply(geluErf, x, std::abs(x.value));
  case UnaryKind::Tanh:
    return arithmetic.apply([](double v) { return std::tanh(v); }, x);
  case UnaryKind::Sigmoid:
    return arithmetic.apply(sigmoid, x);
  case UnaryKind::Relu:
    return arithmetic.maximum(x, Real{0, 0});
  case UnaryKind::Exp:
    return arithmetic.apply([](double v) { return std::exp(v); }, x);
  }
  llvm_unreachable("unknown unary kind");
}

static Real binary(BinaryKind kind, Real a, Real b, const Arithmetics &arithmetic) {
  switch (kind) {
  case BinaryKind::Add:
    return arithmetic.add(a, b);
  case BinaryKind::Sub:
    return arithmetic.subtract(a, b);
  case BinaryKind::Mul:
    return arithmetic.multiply(a, b);
  case BinaryKind::Div:
    return arithmetic.divide(a, b);
  case BinaryKind::Max:
    return arithmetic.maximum(a, b);
  case BinaryKind::Min:
    return arithmetic.minimum(a, b);
  }
  llvm_unreachable("unknown binary kind");
}

/// result[i] = function(i), of the shape of `like`.
template <typename Function>
static Result mapElements(Operation *op, const Numbers &like, Context &context, Function function) {
  auto result = context.numbers(op, like.shape);
  if (!result)
    return result.takeError();
  if (llvm::Error error = context.spend(op, {like.data.size()}))
    return std::move(error);
  for (size_t i = 0; i < like.data.size(); ++i) {
    Real y = function(i);
    result->data[i] = y.value;
    if (context.tracks())
      result->tolerance[i] = y.tolerance;
  }
  return std::move(*result);
}

Result interpreter::evaluateUnary(UnaryOp op, const Numbers &input, Context &context) {
  return mapElements(op, input, context, [&](size_t i) {
    return unary(op.getKind(), {input.data[i], input.toleranceAt(i)}, context.arithmetic);
  });
}

Result interpreter::evaluateBinary(BinaryOp op, const Numbers &lhs, const Numbers &rhs, Context &context) {
  if (lhs.shape != rhs.shape)
    return fail(op, "expected 'lhs' and 'rhs' to have one shape, but found " + Datum(lhs).describe() +
                        " and " + Datum(rhs).describe());
  return mapElements(op, lhs, context, [&](size_t i) {
    return binary(op.getKind(), {lhs.data[i], lhs.toleranceAt(i)}, {rhs.data[i], rhs.toleranceAt(i)},
                  context.arithmetic);
  });
}

Result interpreter::evaluateScale(ScaleOp op, const Numbers &input, Context &context) {
  double factor = op.getFactor().convertToFloat();
  return mapElements(op, input, context, [&](size_t i) {
    return context.arithmetic.multiply({input.data[i], input.toleranceAt(i)}, {factor, 0});
  });
}

Result interpreter::evaluateReshape(ReshapeOp op, const Numbers &input, Context &context) {
  Shape shape(shapeOf(op.getType()));
  if (ShapedType::isDynamic(shape[0]))
    shape[0] = input.shape[0];
  auto result = context.numbers(op, shape);
  if (!result)
    return result.takeError();
  if (result->data.size() != input.data.size())
    return fail(op, "expected the number of elements to stay, but found " + Datum(input).describe());
  result->data = input.data;
  result->tolerance = input.tolerance;
  return std::move(*result);
}

/// `act_bf16`: a number may land a step further where the tolerance of its input reaches across a tie.
static void roundToBfloat16(const Numbers &input, Context &context, Activations &result) {
  result.values.resize(input.data.size());
  for (size_t i = 0; i < input.data.size(); ++i) {
    double x = static_cast<float>(input.data[i]), y = ::heddle::roundToBfloat16(x);
    result.values[i] = y;
    if (!context.tracks())
      continue;
    double moved = input.toleranceAt(i), step = std::abs(x) * ::heddle::kBfloat16Epsilon;
    bool flips = moved > 0 && std::abs(x - y) + moved >= step / 4; // steps are step / 2 at the least
    if (flips && context.takesOther())
      result.values[i] = ::heddle::roundToBfloat16(static_cast<float>(y + std::copysign(step / 2, x - y)));
    if (flips || context.options.quantizationBound)
      moved = std::hypot(moved, ::heddle::kStepFactor * step);
    result.tolerance[i] = moved;
  }
}

Result interpreter::evaluateQuantize(QuantizeOp op, const Numbers &input, Context &context) {
  ::heddle::ActivationLayout layout = activationLayout(cast<StoredType>(op.getType()));
  const int64_t block = layout.perGroup() ? layout.group : 32;
  float limit = layout.limit();
  auto charge = context.charge(op, input.data.size(), context.tracks() ? 16 : 8);
  if (!charge)
    return charge.takeError();
  if (llvm::Error error = context.spend(op, {input.data.size()}))
    return std::move(error);
  Activations result{input.shape, layout.planes, {}, {}, {}, std::move(*charge)};
  if (context.tracks())
    result.tolerance.resize(input.data.size());
  if (layout.planes == 0) {
    roundToBfloat16(input, context, result);
    return std::move(result);
  }
  result.codes.resize(input.data.size());
  result.scales.resize(input.data.size() / 32);
  std::vector<float> x(block);

  for (size_t b = 0; b < input.data.size() / block; ++b) {
    // Exactly the f32 operations of docs/kernel-abi.md, in both arithmetics: these decide which integers come
    // out.
    float amax = 0;
    double widest = 0; // tolerance in the block
    bool finite = true;
    for (int64_t j = 0; j < block; ++j) {
      x[j] = static_cast<float>(input.data[b * block + j]);
      finite &= std::isfinite(x[j]);
      amax = std::max(amax, std::abs(x[j]));
      widest = std::max(widest, input.toleranceAt(b * block + j));
    }
    const std::optional<APFloat> fixed = op.getScale();
    float scale = fixed ? fixed->convertToFloat() : finite ? amax / limit : 0, inverse = 1 / scale;
    if (scale == 0 || !std::isfinite(inverse))
      continue; // codes and scale stay zero
    std::fill_n(result.scales.begin() + b * block / 32, block / 32, scale);
    for (int64_t j = 0; j < block; ++j) {
      float scaled = x[j] * inverse;
      if (fixed)
        scaled = std::isfinite(x[j]) ? std::clamp(scaled, -limit, limit) : 0;
      int32_t code = static_cast<int32_t>(std::nearbyint(scaled));
      result.codes[b * block + j] = code;
      if (!context.tracks())
        continue;
      // The scale moves with the block's largest element, a code when its number may lie on the other side of
      // a tie.
      double moved = input.toleranceAt(b * block + j), tolerance = fixed ? 0 : std::abs(x[j]) * widest / amax;
      double reach = (moved + tolerance) / scale;
      bool flips =
          reach > 0 && std::abs(scaled - code) + reach + std::abs(scaled) * ::heddle::kF32Epsilon >= 0.5;
      if (flips && context.takesOther())
        result.codes[b * block + j] += scaled < code ? -1 : 1;
      if (flips || context.options.quantizationBound)
        tolerance = std::max(tolerance, std::hypot(moved, ::heddle::kStepFactor * scale));
      result.tolerance[b * block + j] = tolerance;
    }
  }
  return std::move(result);
}

Result interpreter::evaluateDequantize(DequantizeOp op, const Datum &input, Context &context) {
  auto result = context.numbers(op, input.shape());
  if (!result)
    return result.takeError();
  if (llvm::Error error = context.spend(op, {result->data.size()}))
    return std::move(error);
  if (const Weights *weights = input.weights()) {
    std::vector<float> row(weights->columns());
    for (int64_t r = 0; r < weights->rows(); ++r) {
      ::heddle::decode(weights->format, weights->row(r), row);
      llvm::copy(row, result->data.begin() + r * weights->columns());
    }
    return std::move(*result);
  }
  const Activations &activations = *input.activations();
  if (activations.planes == 0) {
    result->data = activations.values;
    result->tolerance = activations.tolerance;
    return std::move(*result);
  }
  for (size_t i = 0; i < result->data.size(); ++i) {
    Real y = context.arithmetic.multiply({activations.scales[i / 32], 0}, {double(activations.codes[i]), 0});
    result->data[i] = y.value;
    if (context.tracks())
      result->tolerance[i] = y.tolerance + activations.tolerance[i];
  }
  return std::move(*result);
}
