#include "ir/Heddle.h"
#include "passes/Decisions.h"
#include "passes/Parameters.h"
#include "passes/Passes.h"
#include "passes/TargetDescription.h"
#include "llvm/ADT/StringSet.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_PACKPARAMETERSPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

/// Where the target has a matrix unit of so many columns: panels for products, rows for lookups.
static Layout layoutFor(OpOperand &use, int64_t arrayColumns) {
  if (arrayColumns == 0)
    return Layout::W16;
  if (!isa<LinearOp>(use.getOwner()))
    return Layout::Gather;
  return arrayColumns == 16 ? Layout::Panel16 : Layout::Panel32;
}

namespace {
struct PackParameters : mlir::heddle::impl::PackParametersPassBase<PackParameters> {
  using PackParametersPassBase::PackParametersPassBase;

  void runOnOperation() override {
    const TargetDescription *description = findTarget(target);
    if (!description) {
      getOperation().emitError() << "unknown target '" << target << "'; known targets: " << targetNames();
      return signalPassFailure();
    }
    arrayColumns = description->arrayColumns;
    Decisions decisions(getOperation(), getArgument());
    SymbolTable symbols(getOperation());
    Packed packed;
    for (auto function : getOperation().getOps<func::FuncOp>())
      function.walk([&](GetParamOp get) { packUses(get, symbols, packed, decisions); });
    removeDead(symbols, decisions);
  }

  using Packed = DenseMap<std::pair<Operation *, unsigned>, ParamOp>; // by source and layout
  int64_t arrayColumns = 0;

  /// Points the uses of `get` that read rows of packed numbers to a derived parameter.
  void packUses(GetParamOp get, SymbolTable &symbols, Packed &packed, Decisions &decisions) {
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
    OpBuilder builder(get);
    DenseMap<unsigned, Value> values; // by layout
    for (OpOperand *use : uses) {
      Layout layout = layoutFor(*use, arrayColumns);
      Value &value = values[unsigned(layout)];
      if (!value) {
        ParamOp &derived = packed[{source, unsigned(layout)}];
        if (!derived) {
          derived = derive(source, type, layout, symbols);
          decisions.record(source, "layout",
                           "'" + source.getSymName() + "' packed as " + stringifyLayout(layout) +
                               ", the order in which " + (arrayColumns ? "NPU" : "CPU") + " kernels read it");
        }
        value = builder.create<GetParamOp>(get.getLoc(), derived.getType(), derived.getSymName());
      }
      use->set(value);
    }
    if (get.use_empty())
      get.erase();
  }

  ParamOp derive(ParamOp source, StoredType type, Layout layout, SymbolTable &symbols) {
    auto to = StoredType::get(&getContext(), type.getShape(), type.getElementType(),
                              EncAttr::get(&getContext(), type.getEncoding().getFormat(), layout));
    return deriveParameter(source, ("." + stringifyLayout(layout)).str(), to, symbols,
                           [&](OpBuilder &builder, Value from) -> Value {
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
