// From a `heddle.kernel` to its function: picks the generator of the kernel's family.
#pragma once
#include "codegen/cpu/Kernel.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace heddle::cpu {

/// Emits one kernel, which launches call with `rows` (see launchRows), into `out`.
llvm::Expected<KernelFacts> emitKernel(mlir::heddle::KernelOp kernel, llvm::StringRef rows,
                                       const CpuLevel &level, const CpuKernelContext &context,
                                       mlir::ModuleOp out);

/// The kernels that code of `level` does not call.
llvm::StringSet<> kernelsLeftOut(mlir::ModuleOp module, const CpuLevel &level);

/// Emits the kernels of `module` that code of `level` calls, in order, into `out` (empty). A kernel that has
/// no generator is an error that names it. There are facts for all kernels, empty ones for those left out.
llvm::Expected<std::vector<KernelFacts>> emitKernels(mlir::ModuleOp module, const CpuLevel &level,
                                                     const CpuKernelContext &context, mlir::ModuleOp out);

} // namespace heddle::cpu
