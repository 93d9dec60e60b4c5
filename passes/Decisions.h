// What passes decided and why: collected while a pass runs, kept on the module, shown as remarks or JSON.
#pragma once
#include "ir/SourceNames.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/JSON.h"

namespace mlir::heddle {

/// Module attribute with every decision so far, in order: an array of {pass, kind, reason, cost, at}.
inline constexpr llvm::StringLiteral kDecisionsAttr = "heddle.decisions";

/// The decisions of one run of one pass. They join the module's attribute when the object dies, so a pass
/// makes one at the start of runOnOperation().
class Decisions {
public:
  Decisions(ModuleOp module, StringRef pass);
  ~Decisions();
  Decisions(const Decisions &) = delete;

  /// `kind` is a word ("fuse", "precision"), `reason` a sentence without a full stop, `cost` a number in the
  /// unit that the pass's manual states (bytes for all of today's passes).
  void record(Location at, StringRef kind, const Twine &reason, int64_t cost = 0);
  void record(Operation *op, StringRef kind, const Twine &reason, int64_t cost = 0) {
    record(op->getLoc(), kind, reason, cost);
  }

private:
  ModuleOp module;
  StringAttr pass;
  SmallVector<Attribute> records;
};

struct Decision {
  StringRef pass, kind, reason;
  int64_t cost;
  Location at;
};

/// The module's decisions, in order.
SmallVector<Decision> decisionsOf(ModuleOp module);

/// Prints the same as an array of objects {"cost", "kind", "pass", "reason", "source"}. A stream, as a deep
/// model has tens of thousands.
void printDecisions(ModuleOp module, llvm::json::OStream &json);

} // namespace mlir::heddle
