#include "codegen/cpu/Kernels.h"
#include "codegen/KernelOperands.h"
#include "codegen/cpu/Attention.h"
#include "codegen/cpu/ContractionKernel.h"
#include "codegen/cpu/Rows.h"

using namespace mlir::heddle;

namespace heddle::cpu {

static llvm::Expected<KernelFacts> emitKernel(KernelOp kernel, llvm::StringRef rows, const CpuLevel &level,
                                              const CpuKernelContext &context, mlir::ModuleOp out) {
  switch (kernel.getFamily()) {
  case Family::Contraction:
    return emitContractionKernel(kernel, rows, level, context, out);
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
  llvm::StringMap<llvm::StringRef> rows = launchRows(module);
  for (auto kernel : module.getOps<KernelOp>()) {
    auto emitted = emitKernel(kernel, rows.lookup(kernel.getSymName()), level, context, out);
    if (!emitted)
      return emitted.takeError();
    facts.push_back(*emitted);
  }
  return facts;
}

} // namespace heddle::cpu
