#include "codegen/cpu/Attention.h"
namespace heddle::cpu {
llvm::Expected<KernelFacts> emitAttentionKernel(mlir::heddle::KernelOp kernel, const CpuLevel &level,
                                                const CpuKernelContext &context, mlir::ModuleOp out) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "not yet");
}
} // namespace heddle::cpu
