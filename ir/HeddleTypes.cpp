// !heddle.stored, !heddle.kv_cache and !heddle.selection.
#include "ir/Heddle.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::heddle;

#define GET_TYPEDEF_CLASSES
#include "ir/HeddleTypes.cpp.inc"

void HeddleDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "ir/HeddleTypes.cpp.inc"
      >();
}

Type StoredType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type element;
  EncAttr encoding;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseDimensionList(shape) || parser.parseType(element) ||
      parser.parseComma() || parser.parseAttribute(encoding) || parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), shape, element, encoding);
}

void StoredType::print(AsmPrinter &printer) const {
  printer << "<";
  for (int64_t size : getShape())
    ShapedType::isDynamic(size) ? printer << "?x" : printer << size << "x";
  printer << getElementType() << ", " << getEncoding() << ">";
}

LogicalResult StoredType::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<int64_t> shape,
                                 Type element, EncAttr encoding) {
  if (!element.isF32())
    return emitError() << "expected stored numbers to have element type 'f32', but found " << element;
  if (shape.empty() || shape.size() > 2)
    return emitError() << "expected stored numbers to have rank 1 or 2, but found rank " << shape.size();
  int64_t columns = shape.back();
  if (ShapedType::isDynamic(columns))
    return emitError() << "expected the innermost dimension of stored numbers to be static";
  int64_t block = encoding.getFormat() == Format::ACT_I8_128 ? ::heddle::ActivationLayout::kGroup
                  : encoding.isActivation()                  ? 32
                                            : ::heddle::formatInfo(storageFormat(encoding)).blockElements;
  if (columns % block != 0)
    return emitError() << "expected the innermost dimension to be a multiple of the " << block
                       << " elements of a '" << stringifyFormat(encoding.getFormat()) << "' block, but found "
                       << columns;
  for (int64_t size : shape)
    if (ShapedType::isDynamic(size) && !encoding.isActivation())
      return emitError() << "expected a static shape for weights in '"
                         << stringifyFormat(encoding.getFormat()) << "'";
  return success();
}

Type KvCacheType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseDimensionList(shape, /*allowDynamic=*/false) ||
      parser.parseType(element) || parser.parseGreater())
    return {};
  if (shape.size() != 3) {
    parser.emitError(loc) << "expected 'heads x key width x value width x type', but found " << shape.size()
                          << " dimensions";
    return {};
  }
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), shape[0], shape[1], shape[2],
                    element);
}

void KvCacheType::print(AsmPrinter &printer) const {
  printer << "<" << getHeads() << "x" << getKeyDim() << "x" << getValueDim() << "x" << getElementType()
          << ">";
}

LogicalResult KvCacheType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t heads, int64_t keyDim,
                                  int64_t valueDim, Type element) {
  if (heads < 1 || keyDim < 1 || valueDim < 1)
    return emitError() << "expected heads and widths of a KV cache to be positive, but found " << heads << "x"
                       << keyDim << "x" << valueDim;
  if (!element.isF16() && !element.isF32() && !element.isSignlessInteger(8) &&
      !mlir::isa<Float8E4M3FNType>(element))
    return emitError() << "expected a KV cache to hold 'f16', 'f32', 'i8' or 'f8E4M3FN', but found "
                       << element;
  return success();
}

KvCacheType KvCacheType::withElements(StringRef name) const {
  Type element = name == "f16"    ? Float16Type::get(getContext())
                 : name == "int8" ? Type(IntegerType::get(getContext(), 8))
                 : name == "fp8"  ? Float8E4M3FNType::get(getContext())
                                  : Type();
  return element ? get(getContext(), getHeads(), getKeyDim(), getValueDim(), element) : KvCacheType();
}

Type SelectionType::parse(AsmParser &parser) {
  FailureOr<SelectionKind> kind;
  SmallVector<int64_t> shape;
  int64_t block = 1;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || failed(kind = FieldParser<SelectionKind>::parse(parser)) || parser.parseComma() ||
      parser.parseDimensionList(shape, /*allowDynamic=*/true, /*withTrailingX=*/false))
    return {};
  if (*kind == SelectionKind::Blocks && (parser.parseComma() || parser.parseInteger(block)))
    return {};
  if (parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), *kind, shape, block);
}

void SelectionType::print(AsmPrinter &printer) const {
  printer << "<" << stringifySelectionKind(getKind()) << ", ";
  llvm::interleave(
      getShape(), [&](int64_t size) { ShapedType::isDynamic(size) ? printer << "?" : printer << size; },
      [&] { printer << "x"; });
  if (getKind() == SelectionKind::Blocks)
    printer << ", " << getBlockTokens();
  printer << ">";
}

LogicalResult SelectionType::verify(function_ref<InFlightDiagnostic()> emitError, SelectionKind kind,
                                    ArrayRef<int64_t> shape, int64_t blockTokens) {
  StringRef name = stringifySelectionKind(kind);
  if (shape.size() != 2)
    return emitError() << "expected a selection of " << name << " to be 'rows x " << name << "', but found "
                       << shape.size() << " dimensions";
  if (ShapedType::isDynamic(shape[1]) || shape[1] < 1)
    return emitError() << "expected a selection to choose among a fixed positive number of " << name;
  // 16 keys are what a vector holds and what layouts of caches keep together.
  if (kind == SelectionKind::Blocks && (blockTokens < 16 || blockTokens % 16 != 0))
    return emitError() << "expected blocks of a multiple of 16 tokens, but found " << blockTokens;
  if (kind == SelectionKind::Tokens && shape[1] % 16 != 0)
    return emitError() << "expected a selection among a multiple of 16 tokens, but found " << shape[1];
  if (kind != SelectionKind::Blocks && blockTokens != 1)
    return emitError() << "expected a selection of " << name << " to have no block size, but found "
                       << blockTokens;
  return success();
}

::heddle::ActivationLayout mlir::heddle::activationLayout(StoredType type) {
  Format format = type.getEncoding().getFormat();
  assert(type.getEncoding().isActivation() && "weights have formats of their own");
  int planes = format == Format::ACT_BF16 ? 0 : format == Format::ACT_I16 ? 2 : 1;
  int64_t columns = type.getShape().back();
  int64_t group = format == Format::ACT_I8_ROW   ? columns
                  : format == Format::ACT_I8_128 ? ::heddle::ActivationLayout::kGroup
                                                 : 0;
  return {columns, planes, group};
}

ArrayRef<int64_t> mlir::heddle::shapeOf(Type type) {
  if (auto selection = dyn_cast<SelectionType>(type))
    return selection.getShape();
  if (auto stored = dyn_cast<StoredType>(type))
    return stored.getShape();
  return cast<ShapedType>(type).getShape();
}
