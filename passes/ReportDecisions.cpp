#include "passes/Decisions.h"
#include "passes/Passes.h"
#include "llvm/Support/raw_ostream.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_REPORTDECISIONSPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct ReportDecisions : mlir::heddle::impl::ReportDecisionsPassBase<ReportDecisions> {
  using ReportDecisionsPassBase::ReportDecisionsPassBase;

  void runOnOperation() override {
    if (format == "json") {
      llvm::json::OStream json(llvm::errs());
      printDecisions(getOperation(), json);
      json.flush();
      llvm::errs() << "\n";
    } else if (format == "remarks") {
      for (const Decision &decision : decisionsOf(getOperation()))
        emitRemark(decision.at) << decision.pass << ": " << decision.kind << ": " << decision.reason;
    } else {
      getOperation().emitError() << "unknown format '" << format << "' of '" << getArgument()
                                 << "'; expected remarks or json";
      return signalPassFailure();
    }
    getOperation()->removeAttr(kDecisionsAttr);
  }
};
} // namespace
