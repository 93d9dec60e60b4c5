#include "ir/Heddle.h"
#include "ir/SourceNames.h"
#include "passes/Decisions.h"
#include "passes/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_INSERTOBSERVERSPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct InsertObservers : mlir::heddle::impl::InsertObserversPassBase<InsertObservers> {
  using InsertObserversPassBase::InsertObserversPassBase;

  void runOnOperation() override {
    for (const std::string &kind : observe)
      if (kind != "linear" && kind != "attention") {
        getOperation().emitError() << "unknown observation '" << kind << "'; expected linear or attention";
        return signalPassFailure();
      }
    Decisions decisions(getOperation(), getArgument());
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr(kEntryAttr) && !function.isExternal())
        addResults(function, decisions);
  }

  bool observes(StringRef kind) const { return llvm::is_contained(observe, kind); }

  void addResults(func::FuncOp function, Decisions &decisions) {
    // One result for each value, named after all that is known of it.
    llvm::MapVector<Value, std::string> observed;
    auto note = [&](Value value, StringRef kind, Location reader) {
      if (isa<BlockArgument>(value) || isa<StoredType>(value.getType()))
        return; // the caller has it already, or it is no f32 tensor
      std::string &name = observed[value];
      std::string part = (kind + ":").str(), node = sourceNames(reader);
      if (name.empty())
        name = (kObserverPrefix + part + node).str();
      else
        name += (StringRef(name).contains(part) ? "," : ";" + part) + node;
    };
    function.walk([&](Operation *op) {
      if (auto attention = dyn_cast<AttentionOp>(op); attention && observes("attention")) {
        // A reshape costs nothing where its result is stored; a second copy under another shape would.
        Value value = attention.getResult();
        if (value.hasOneUse())
          if (auto reshape = dyn_cast<ReshapeOp>(*value.user_begin()))
            value = reshape.getResult();
        note(value, "attention", op->getLoc());
      }
      if (auto linear = dyn_cast<LinearOp>(op); linear && observes("linear"))
        note(linear.getInput(), "input", op->getLoc());
    });
    Operation *end = function.getBody().front().getTerminator();
    for (auto &[value, name] : observed) {
      auto attributes =
          DictionaryAttr::get(&getContext(), NamedAttribute(StringAttr::get(&getContext(), kNameAttr),
                                                            StringAttr::get(&getContext(), name)));
      function.insertResult(function.getNumResults(), value.getType(), attributes);
      end->insertOperands(end->getNumOperands(), value);
      decisions.record(value.getLoc(), "observe", "result '" + name + "' shows this value");
    }
  }
};
} // namespace
