#include "ir/interpreter/Datum.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

std::optional<int64_t> interpreter::elementCount(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count))
      return std::nullopt;
  return count;
}

ArrayRef<int64_t> Datum::shape() const {
  if (auto *value = numbers())
    return value->shape;
  if (auto *value = integers())
    return value->shape;
  if (auto *value = weights())
    return value->shape;
  if (auto *value = activations())
    return value->shape;
  return {};
}

bool Datum::fits(Type type) const {
  if (auto cacheType = dyn_cast<KvCacheType>(type))
    return cache() && cache()->type == cacheType;
  ArrayRef<int64_t> expected;
  if (auto stored = dyn_cast<StoredType>(type)) {
    EncAttr encoding = stored.getEncoding();
    if (encoding.isActivation()) {
      if (!activations() || activations()->planes != activationLayout(stored).planes)
        return false;
    } else if (!weights() || weights()->format != storageFormat(encoding)) {
      return false;
    }
    expected = stored.getShape();
  } else if (auto selection = dyn_cast<SelectionType>(type)) {
    if (!integers())
      return false;
    expected = selection.getShape();
  } else {
    Type element = getElementTypeOrSelf(type);
    if (isa<FloatType>(element) ? !numbers() : !integers())
      return false;
    if (auto tensor = dyn_cast<RankedTensorType>(type))
      expected = tensor.getShape();
    else if (isa<ShapedType>(type))
      return false;
  }
  if (shape().size() != expected.size())
    return false;
  for (auto [found, size] : llvm::zip(shape(), expected))
    if (!ShapedType::isDynamic(size) && size != found)
      return false;
  return true;
}

std::string Datum::describe() const {
  if (!content)
    return "nothing";
  if (cache())
    return "a KV cache";
  std::string sizes;
  for (int64_t size : shape())
    sizes += (sizes.empty() ? "" : "x") + std::to_string(size);
  if (sizes.empty())
    return numbers() ? "a number" : "an integer";
  if (auto *stored = weights())
    return sizes + " weights in '" + std::string(::heddle::formatInfo(stored->format).name) + "'";
  if (auto *quantized = activations())
    return sizes + (quantized->planes == 1   ? " activations in 'act_i8'"
                    : quantized->planes == 2 ? " activations in 'act_i16'"
                                             : " activations in 'act_bf16'");
  return sizes + (numbers() ? " numbers" : " integers");
}

std::optional<Datum> interpreter::datumOf(ElementsAttr attribute) {
  Shape shape(attribute.getShapedType().getShape());
  Type element = attribute.getElementType();
  if (isa<FloatType>(element)) {
    auto values = attribute.tryGetValues<APFloat>();
    if (!values)
      return std::nullopt;
    Numbers numbers{shape, {}, {}, {}};
    for (APFloat value : *values) {
      bool lost;
      value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
      numbers.data.push_back(value.convertToDouble());
    }
    return numbers;
  }
  auto values = attribute.tryGetValues<APInt>();
  if (!isa<IntegerType>(element) || element.getIntOrFloatBitWidth() > 64 || !values)
    return std::nullopt;
  Integers integers{shape, {}, {}};
  for (const APInt &value : *values)
    integers.data.push_back(element.isInteger(1) || element.isUnsignedInteger()
                                ? int64_t(value.getZExtValue())
                                : value.getSExtValue());
  return integers;
}
