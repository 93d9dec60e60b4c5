// Contraction kernels: reads a `heddle.kernel` of that family into a ContractionSpec.
#pragma once
#include "codegen/cpu/Kernel.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace heddle::cpu {

llvm::Expected<KernelFacts> emitContractionKernel(mlir::heddle::KernelOp kernel, llvm::StringRef rows,
                                                  const CpuLevel &level, const CpuKernelContext &context,
                                                  mlir::ModuleOp out);

} // namespace heddle::cpu
