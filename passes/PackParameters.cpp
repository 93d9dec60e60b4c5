#include "ir/Heddle.h"
#include "passes/Decisions.h"
#include "passes/Passes.h"
#include "llvm/ADT/StringSet.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_PACKPARAMETERSPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

/// Whether the kernel that `use` becomes reads this operand packed.
static bool readsPacked(OpOperand &use) {
  if (auto linear = dyn_cast<LinearOp>(use.getOwner()))
    return use.get() == linear.getWeight();
  if (auto embedding = dyn_cast<EmbeddingOp>(use.getOwner()))
    return use.get() == embedding.getTable();
  return false;
}

namespace {
struct PackParameters : mlir::heddle::impl::PackParametersPassBase<PackParameters> {
  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    SymbolTable symbols(getOperation());
    DenseMap<Operation *, ParamOp> packed; // by source
    for (auto function : getOperation().getOps<func::FuncOp>())
      function.walk([&](GetParamOp get) { packUses(get, symbols, packed, decisions); });
    removeDead(symbols, decisions);
  }

  /// Points the uses of `get` that read rows of packed numbers to a derived parameter.
  void packUses(GetParamOp get, SymbolTable &symbols, DenseMap<Operation *, ParamOp> &packed,
                Decisions &decisions) {
    auto type = dyn_cast<StoredType>(get.getType());
    if (!type || type.getEncoding().getLayout() != Layout::Rows || type.getShape().size() != 2)
      return;
    SmallVector<OpOperand *> uses;
    for (OpOperand &use : get->getUses())
      if (readsPacked(use))
        uses.push_back(&use);
    if (uses.empty())
      return;
    auto source = symbols.lookup<ParamOp>(get.getParam());
    ParamOp &derived = packed[source];
    if (!derived) {
      derived = derive(source, type, symbols);
      decisions.record(source, "layout",
                       "'" + source.getSymName() + "' packed as w16, the order in which CPU kernels read it");
    }
    OpBuilder builder(get);
    auto fresh = builder.create<GetParamOp>(get.getLoc(), derived.getType(), derived.getSymName());
    for (OpOperand *use : uses)
      use->set(fresh);
    if (get.use_empty())
      get.erase();
  }

  ParamOp derive(ParamOp source, StoredType type, SymbolTable &symbols) {
    MLIRContext *context = &getContext();
    OpBuilder builder(context);
    builder.setInsertionPointAfter(source);
    auto to = StoredType::get(context, type.getShape(), type.getElementType(),
                              EncAttr::get(context, type.getEncoding().getFormat(), Layout::W16));
    auto from = builder.getArrayAttr(FlatSymbolRefAttr::get(source.getSymNameAttr()));
    auto param = builder.create<ParamOp>(source.getLoc(), (source.getSymName() + ".w16").str(), to,
                                         /*file=*/IntegerAttr(),
                                         /*offset=*/IntegerAttr(), /*value=*/ElementsAttr(), from);
    Block *recipe = builder.createBlock(&param.getRecipe(), {}, type, source.getLoc());
    Value result = builder.create<PackOp>(source.getLoc(), to, recipe->getArgument(0));
    builder.create<YieldOp>(source.getLoc(), result);
    // Renames it if a parameter of the file has that name already.
    symbols.insert(param, Block::iterator(param));
    return param;
  }

  /// A parameter stays if code reads it or a parameter that stays derives from it.
  void removeDead(SymbolTable &symbols, Decisions &decisions) {
    DenseSet<Operation *> live;
    SmallVector<ParamOp> worklist;
    auto keep = [&](StringRef name) {
      if (auto param = symbols.lookup<ParamOp>(name); param && live.insert(param).second)
        worklist.push_back(param);
    };
    getOperation().walk([&](GetParamOp get) { keep(get.getParam()); });
    while (!worklist.empty()) {
      ParamOp param = worklist.pop_back_val();
      if (param.getFrom())
        for (auto source : param.getFrom()->getAsRange<FlatSymbolRefAttr>())
          keep(source.getValue());
    }
    for (auto param : llvm::make_early_inc_range(getOperation().getOps<ParamOp>()))
      if (!live.contains(param)) {
        decisions.record(param, "remove", "nothing reads parameter '" + param.getSymName() + "'");
        symbols.erase(param);
      }
  }
};
} // namespace
