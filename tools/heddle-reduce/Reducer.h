// Makes a module smaller while something about it stays true: behind heddle-reduce, random modules and
// bisect.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace heddle {

struct ReduceResult {
  size_t tests = 0; // candidates that were tried
  bool interesting; // whether the module was interesting to begin with; if not, it is left as it was
};

/// Replaces `module` by the smallest valid module found for which `interesting` holds. Every candidate passes
/// the verifier; diagnostics on the way are dropped. What it tries, in large pieces first: functions,
/// results, calls of examples and their rows, ops replaced by a value of their type, optional operands,
/// attention's regions; what nothing uses goes with it.
ReduceResult reduceModule(mlir::OwningOpRef<mlir::ModuleOp> &module,
                          llvm::function_ref<bool(mlir::ModuleOp)> interesting, size_t maxTests = 4000);

} // namespace heddle
