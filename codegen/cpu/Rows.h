// Generator of the family `rows`: everything that works on one row at a time.
#pragma once
#include "codegen/cpu/Kernel.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace heddle::cpu {

/// Operands of the code: docs/ir.md, "Kernel level". Items are rows; outputs must not overlap inputs.
llvm::Expected<KernelFacts> emitRowsKernel(mlir::heddle::KernelOp kernel, const CpuLevel &level,
                                           const CpuKernelContext &context, mlir::ModuleOp out);

} // namespace heddle::cpu
