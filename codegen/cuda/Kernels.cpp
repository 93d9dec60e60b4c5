#include "codegen/KernelOperands.h"
#include "codegen/cuda/Emit.h"
#include "codegen/cuda/Kernel.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir::heddle;

namespace heddle::cuda {

void loadKernelDialects(mlir::MLIRContext &context) {
  heddle::loadKernelDialects(context);
  context.loadDialect<mlir::NVVM::NVVMDialect>();
}

llvm::Error unsupported(KernelOp kernel, const llvm::Twine &why) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "kernel '" +
                                                                     llvm::Twine(kernel.getSymName()) +
                                                                     "' for target 'cuda': " + why);
}

static llvm::Expected<KernelFacts> emitKernel(KernelOp kernel, llvm::StringRef rows,
                                              const KernelContext &context, mlir::ModuleOp out) {
  switch (kernel.getFamily()) {
  case Family::Contraction:
    return emitContractionKernel(kernel, rows, context, out);
  case Family::Attention:
    return emitAttentionKernel(kernel, rows, context, out);
  case Family::Rows:
    return emitRowsKernel(kernel, rows, context, out);
  }
  llvm_unreachable("unknown kernel family");
}

llvm::Expected<std::vector<KernelFacts>> emitKernels(mlir::ModuleOp module, const KernelContext &context,
                                                     mlir::ModuleOp out) {
  std::vector<KernelFacts> facts;
  llvm::StringMap<llvm::StringRef> rows = launchRows(module);
  for (auto kernel : module.getOps<KernelOp>()) {
    auto emitted = emitKernel(kernel, rows.lookup(kernel.getSymName()), context, out);
    if (!emitted)
      return emitted.takeError();
    if (emitted->sharedBytes > uint64_t(kMostSharedBytes))
      return unsupported(kernel, "expected at most " + llvm::Twine(kMostSharedBytes) +
                                     " bytes of shared memory, but found " +
                                     llvm::Twine(emitted->sharedBytes));
    facts.push_back(*emitted);
  }
  return facts;
}

} // namespace heddle::cuda
