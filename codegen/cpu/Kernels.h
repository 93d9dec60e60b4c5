// From a `heddle.kernel` to its function: picks the generator of the kernel's family.
#pragma once
#include "codegen/cpu/Kernel.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace heddle::cpu {

/// Emits the kernels of `module` that code of `level` calls, in order, into `out` (empty). A kernel that has
/// no generator is an error that names it. There are facts for all kernels, empty ones for those left out.
llvm::Expected<std::vector<KernelFacts>> emitKernels(mlir::ModuleOp module, const CpuLevel &level,
                                                     const CpuKernelContext &context, mlir::ModuleOp out);

} // namespace heddle::cpu
