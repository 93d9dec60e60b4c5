#include "passes/Parameters.h"
#include "llvm/Support/GlobPattern.h"

using namespace mlir;
using namespace mlir::heddle;

bool mlir::heddle::readsStoredRows(OpOperand &use) {
  if (auto linear = dyn_cast<LinearOp>(use.getOwner()))
    return use.get() == linear.getWeight();
  if (auto embedding = dyn_cast<EmbeddingOp>(use.getOwner()))
    return use.get() == embedding.getTable();
  return false;
}

SmallVector<ParamOp> mlir::heddle::storedMatrices(ModuleOp module) {
  DenseSet<StringRef> read;
  for (auto function : module.getOps<func::FuncOp>())
    for (auto get : function.getOps<GetParamOp>()) {
      auto type = dyn_cast<StoredType>(get.getType());
      if (type && type.getEncoding().getLayout() == Layout::Rows && type.getShape().size() == 2 &&
          llvm::any_of(get->getUses(), readsStoredRows))
        read.insert(get.getParam());
    }
  SmallVector<ParamOp> matrices;
  for (auto param : module.getOps<ParamOp>())
    if (read.contains(param.getSymName()))
      matrices.push_back(param);
  return matrices;
}

StringRef mlir::heddle::schemeFor(ArrayRef<std::string> rules, StringRef name) {
  StringRef byDefault;
  for (StringRef rule : rules) {
    auto [pattern, scheme] = rule.split('=');
    if (scheme.empty()) {
      byDefault = pattern;
      continue;
    }
    auto glob = llvm::GlobPattern::create(pattern);
    if (!glob)
      llvm::consumeError(glob.takeError()); // fits nothing; the command line refuses it
    else if (glob->match(name))
      return scheme;
  }
  return byDefault;
}

ParamOp mlir::heddle::deriveParameter(ParamOp source, StringRef suffix, Type type, SymbolTable &symbols,
                                      function_ref<Value(OpBuilder &, Value)> recipe) {
  OpBuilder builder(source->getContext());
  builder.setInsertionPointAfter(source);
  auto from = builder.getArrayAttr(FlatSymbolRefAttr::get(source.getSymNameAttr()));
  auto param = builder.create<ParamOp>(source.getLoc(), (source.getSymName() + suffix).str(), type,
                                       /*file=*/IntegerAttr(), /*offset=*/IntegerAttr(),
                                       /*value=*/ElementsAttr(), from);
  Block *block = builder.createBlock(&param.getRecipe(), {}, source.getType(), source.getLoc());
  Value result = recipe(builder, block->getArgument(0));
  builder.create<YieldOp>(source.getLoc(), result);
  // Renames it if another parameter has that name already.
  symbols.insert(param, Block::iterator(param));
  return param;
}
