// From kernels as emitted to LLVM IR, as far as all targets go the same way.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Error.h"
#include <functional>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace heddle {

/// Leaves ops of the LLVM dialect and of NVVM alone in `kernels`; the first diagnostic is the error.
/// `expandMath` adds the passes that replace transcendental math ops; they run first. The rest lowers only
/// math ops that are one instruction, so what is left over fails by name rather than calling a library.
llvm::Error lowerToLlvmDialect(mlir::ModuleOp kernels,
                               const std::function<void(mlir::OpPassManager &)> &expandMath);

/// Scalar clean-up by LLVM: kernels come vectorized and unrolled.
void optimize(llvm::Module &module, llvm::TargetMachine &machine);

} // namespace heddle
