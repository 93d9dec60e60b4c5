#include "ir/Heddle.h"
#include "passes/Decisions.h"
#include "passes/Parameters.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_FOLDQUANTIZATIONPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct FoldQuantization : mlir::heddle::impl::FoldQuantizationPassBase<FoldQuantization> {
  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    SymbolTable symbols(getOperation());
    DenseMap<std::pair<Operation *, Attribute>, ParamOp> derived; // by source and attributes
    SmallVector<QuantizeWeightsOp> ops;
    for (auto function : getOperation().getOps<func::FuncOp>())
      llvm::append_range(ops, function.getOps<QuantizeWeightsOp>());
    for (QuantizeWeightsOp op : ops) {
      auto get = op.getInput().getDefiningOp<GetParamOp>();
      if (!get)
        continue; // weights that the caller passes are rounded at run time
      auto source = symbols.lookup<ParamOp>(get.getParam());
      ParamOp &param = derived[{source, op->getAttrDictionary()}];
      if (!param) {
        param = deriveParameter(source, "." + op.getScheme().str(), op.getType(), symbols,
                                [&](OpBuilder &builder, Value from) -> Value {
                                  return builder.create<QuantizeWeightsOp>(source.getLoc(), op.getType(),
                                                                           from, op.getSchemeAttr(),
                                                                           op.getSearchAttr());
                                });
        decisions.record(source, "fold",
                         "'" + source.getSymName() + "' is rounded when the model is packaged");
      }
      OpBuilder builder(op);
      op.replaceAllUsesWith(
          builder.create<GetParamOp>(op.getLoc(), param.getType(), param.getSymName()).getResult());
      op.erase();
      if (get.use_empty())
        get.erase();
    }
  }
};
} // namespace
