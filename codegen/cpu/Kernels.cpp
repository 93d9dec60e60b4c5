#include "codegen/cpu/Kernels.h"
#include "codegen/KernelOperands.h"
#include "codegen/cpu/Attention.h"
#include "codegen/cpu/ContractionKernel.h"
#include "codegen/cpu/Rows.h"

using namespace mlir::heddle;

namespace heddle::cpu {

llvm::Error unsupported(KernelOp kernel, const llvm::Twine &why) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                 "kernel '" + kernel.getSymName() + "': " + why);
}

llvm::Expected<KernelFacts> emitKernel(KernelOp kernel, llvm::StringRef rows, const CpuLevel &level,
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

llvm::StringSet<> kernelsLeftOut(mlir::ModuleOp module, const CpuLevel &level) {
  if (level.tiles)
    return {};
  // Those that only variants for processors with tiles launch.
  llvm::StringSet<> tiled, others;
  for (auto function : module.getOps<mlir::func::FuncOp>()) {
    auto &called = function->hasAttr(kTilesAttr) ? tiled : others;
    function.walk([&](LaunchOp launch) { called.insert(launch.getKernel()); });
  }
  for (const auto &name : others)
    tiled.erase(name.getKey());
  return tiled;
}

llvm::Expected<std::vector<KernelFacts>> emitKernels(mlir::ModuleOp module, const CpuLevel &level,
                                                     const CpuKernelContext &context, mlir::ModuleOp out) {
  std::vector<KernelFacts> facts;
  llvm::StringMap<llvm::StringRef> rows = launchRows(module);
  llvm::StringSet<> leftOut = kernelsLeftOut(module, level);
  for (auto kernel : module.getOps<KernelOp>()) {
    if (leftOut.contains(kernel.getSymName())) {
      facts.emplace_back();
      continue;
    }
    auto emitted = emitKernel(kernel, rows.lookup(kernel.getSymName()), level, context, out);
    if (!emitted)
      return emitted.takeError();
    facts.push_back(*emitted);
  }
  return facts;
}

} // namespace heddle::cpu
