// Parameters, caches, recipes.
#include "ir/Heddle.h"
#include "ir/WeightEncoding.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::heddle;

static constexpr size_t kMaxRecipeDepth = 64;

ParamOp mlir::heddle::lookupParam(Operation *op, FlatSymbolRefAttr name) {
  return SymbolTable::lookupNearestSymbolFrom<ParamOp>(op, name);
}

LogicalResult ParamOp::verify() {
  int origins =
      (getFile().has_value() ? 1 : 0) + (getValue().has_value() ? 1 : 0) + (getRecipe().empty() ? 0 : 1);
  if (origins != 1)
    return emitOpError() << "expected parameter '" << getSymName()
                         << "' to have one origin ('file', 'value' or a recipe), but found " << origins;
  if (getFrom() && getRecipe().empty())
    return emitOpError() << "expected parameter '" << getSymName() << "' with 'derived' to have a recipe";
  if (getFile() && (getFileAttr().getInt() < 0 || getOffsetAttr().getInt() < 0))
    return emitOpError() << "expected parameter '" << getSymName()
                         << "' to name a file and an offset of at least 0, but found file "
                         << getFileAttr().getInt() << " at " << getOffsetAttr().getInt();
  if (getValue() && cast<ElementsAttr>(*getValue()).getShapedType() != getType())
    return emitOpError() << "expected the value of parameter '" << getSymName() << "' to have type "
                         << getType() << ", but found " << cast<ElementsAttr>(*getValue()).getShapedType();
  return success();
}

LogicalResult ParamOp::verifyRegions() {
  if (getRecipe().empty())
    return success();
  if (!getRecipe().hasOneBlock())
    return emitOpError() << "expected the recipe of parameter '" << getSymName() << "' to have one block";
  Block &block = getRecipe().front();
  size_t sources = getFrom() ? getFrom()->size() : 0;
  if (block.getNumArguments() != sources)
    return emitOpError() << "expected the recipe of parameter '" << getSymName() << "' to take its "
                         << sources << " source parameters, but found " << block.getNumArguments()
                         << " arguments";
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield || yield.getNumOperands() != 1 || yield.getOperand(0).getType() != getType())
    return emitOpError() << "expected the recipe of parameter '" << getSymName()
                         << "' to yield one value of type " << getType();
  return success();
}

template <typename SymbolOp>
static LogicalResult verifyUse(Operation *op, FlatSymbolRefAttr name, Type type, StringRef what,
                               SymbolTableCollection &tables) {
  auto symbol = tables.lookupNearestSymbolFrom<SymbolOp>(op, name);
  if (!symbol)
    return op->emitOpError() << "expected " << what << " '" << name.getValue() << "' to exist in the module";
  if (symbol.getType() != type)
    return op->emitOpError() << "expected the type of " << what << " '" << name.getValue() << "', "
                             << symbol.getType() << ", but found " << type;
  return success();
}

namespace {
/// Checks that what a parameter derives from exists, has the types that recipes take, and leads to no
/// parameter twice on one way.
struct SourceVerifier {
  SymbolTableCollection &tables;
  SetVector<Operation *> path = {};
  DenseSet<Operation *> verified = {}; // many ways may lead to a parameter; one look is enough

  LogicalResult verify(ParamOp param) {
    if (!param.getFrom() || !verified.insert(param).second)
      return success();
    if (path.size() == kMaxRecipeDepth)
      return param.emitOpError() << "expected parameter '" << param.getSymName()
                                 << "' to derive through at most " << kMaxRecipeDepth << " recipes";
    path.insert(param);
    for (auto [name, argument] : llvm::zip_equal(param.getFrom()->getAsRange<FlatSymbolRefAttr>(),
                                                 param.getRecipe().getArguments())) {
      if (failed(verifyUse<ParamOp>(param, name, argument.getType(), "parameter", tables)))
        return failure();
      auto source = tables.lookupNearestSymbolFrom<ParamOp>(param, name);
      if (path.contains(source))
        return param.emitOpError() << "expected parameter '" << source.getSymName()
                                   << "' not to derive from itself, but '" << param.getSymName()
                                   << "' leads back to it";
      if (failed(verify(source)))
        return failure();
    }
    path.pop_back();
    return success();
  }
};
} // namespace

// Here and not at the parameter: a parameter that nothing reads harms nobody.
LogicalResult GetParamOp::verifySymbolUses(SymbolTableCollection &tables) {
  if (failed(verifyUse<ParamOp>(*this, getParamAttr(), getType(), "parameter", tables)))
    return failure();
  return SourceVerifier{tables}.verify(tables.lookupNearestSymbolFrom<ParamOp>(*this, getParamAttr()));
}

LogicalResult GetCacheOp::verifySymbolUses(SymbolTableCollection &tables) {
  return verifyUse<CacheOp>(*this, getCacheAttr(), getType(), "cache", tables);
}

LogicalResult PackOp::verify() {
  auto from = cast<StoredType>(getInput().getType()), to = cast<StoredType>(getType());
  if (from.getShape() != to.getShape() || from.getEncoding().getFormat() != to.getEncoding().getFormat())
    return emitOpError() << "expected shape and format to stay " << from << ", but found " << to;
  return success();
}

LogicalResult QuantizeWeightsOp::verify() {
  const ::heddle::WeightScheme *scheme = ::heddle::weightSchemeByName(getScheme());
  if (!scheme) {
    InFlightDiagnostic error = emitOpError() << "unknown scheme '" << getScheme() << "'; known schemes:";
    for (const ::heddle::WeightScheme &known : ::heddle::weightSchemes())
      error << " " << known.name;
    return error;
  }
  auto from = cast<StoredType>(getInput().getType()), to = cast<StoredType>(getType());
  if (from.getEncoding().isActivation() || from.getEncoding().getLayout() != Layout::Rows)
    return emitOpError() << "expected weights in the order of rows, but found " << from;
  auto expected =
      StoredType::get(getContext(), from.getShape(), from.getElementType(),
                      EncAttr::get(getContext(), static_cast<Format>(scheme->format), Layout::Rows));
  if (to != expected)
    return emitOpError() << "expected scheme '" << getScheme() << "' to give " << expected << ", but found "
                         << to;
  return success();
}

LogicalResult RopeTableOp::verify() {
  auto table = cast<RankedTensorType>(getType());
  if (!table.hasStaticShape() || table.getDimSize(1) % 2 != 0)
    return emitOpError() << "expected a static table with an even number of columns, but found " << table;
  if (getFactors() && getFactors().getType().getDimSize(0) != table.getDimSize(1) / 2)
    return emitOpError() << "expected 'factors' to have " << table.getDimSize(1) / 2
                         << " elements, half the columns of the table, but found "
                         << getFactors().getType().getDimSize(0);
  return success();
}
