// What follows the products of a contraction kernel, whatever the target.
#pragma once
#include "codegen/Emitter.h"
#include "ir/Heddle.h"

namespace heddle {

/// Emits the ops after the products on one element or one vector; `sums[i]` is what `linears[i]` adds up.
/// `load` reads an argument of the kernel there, where it is first used, which keeps live ranges short in a
/// tile.
Value emitEpilogue(KernelEmitter &e, mlir::heddle::KernelOp kernel,
                   llvm::ArrayRef<mlir::heddle::LinearOp> linears, ValueRange sums,
                   llvm::function_ref<Value(Value argument)> load);

} // namespace heddle
