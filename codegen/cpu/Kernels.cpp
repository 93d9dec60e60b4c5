#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Attention.h"
#include "codegen/cpu/ContractionKernel.h"
#include "codegen/cpu/Rows.h"

using namespace mlir::heddle;

namespace heddle::cpu {

static llvm::Expected<KernelFacts> emitKernel(KernelOp kernel, const CpuLevel &level,
                                              const CpuKernelContext &context, mlir::ModuleOp out) {
  switch (kernel.getFamily()) {
  case Family::Contraction:
    return emitContractionKernel(kernel, level, context, out);
  case Family::Attention:
    return emitAttentionKernel(kernel, level, context, out);
  case Family::Rows:
    return emitRowsKernel(kernel, level, context, out);
  }
  llvm_unreachable("unknown kernel family");
}

llvm::Expected<std::vector<KernelFacts>> emitKernels(mlir::ModuleOp module, const CpuLevel &level,
                                                     const CpuKernelContext &context, mlir::ModuleOp out) {
  std::vector<KernelFacts> facts;
  for (auto kernel : module.getOps<KernelOp>()) {
    auto emitted = emitKernel(kernel, level, context, out);
    if (!emitted)
      return emitted.takeError();
    facts.push_back(*emitted);
  }
  return facts;
}

} // namespace heddle::cpu
