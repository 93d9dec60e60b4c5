#include "ir/Heddle.h"
#include "passes/Decisions.h"
#include "passes/Parameters.h"
#include "passes/Passes.h"
#include "llvm/ADT/StringSet.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_PACKPARAMETERSPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

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
      if (readsStoredRows(use))
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
    auto to = StoredType::get(&getContext(), type.getShape(), type.getElementType(),
                              EncAttr::get(&getContext(), type.getEncoding().getFormat(), Layout::W16));
    return deriveParameter(source, ".w16", to, symbols, [&](OpBuilder &builder, Value from) -> Value {
      return builder.create<PackOp>(source.getLoc(), to, from);
    });
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
