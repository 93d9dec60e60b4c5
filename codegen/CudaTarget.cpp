#include "codegen/Target.h"
#include "codegen/cuda/Assemble.h"
#include "codegen/cuda/Backend.h"
#include "codegen/cuda/Kernel.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {
namespace {

/// All kernels of `module` as IR of machine level.
llvm::Expected<OwningOpRef<ModuleOp>> emitCuda(ModuleOp module, const CompileOptions &options,
                                               std::vector<cuda::KernelFacts> &facts) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(module.getContext()));
  KernelContext context = kernelContext(module);
  context.tensorCores = options.tensorCores;
  auto emitted = cuda::emitKernels(module, context, *kernels);
  if (!emitted)
    return emitted.takeError();
  facts = std::move(*emitted);
  return kernels;
}

llvm::Expected<std::string> cudaText(ModuleOp kernels, cuda::TextForm form) {
  return cuda::compileToText(kernels, form,
                             {[](OpPassManager &passes) { passes.addPass(createExpandMathPass()); }});
}

class CudaTarget : public Target {
  llvm::StringRef name() const override { return "cuda"; }

  llvm::Expected<TargetCode> compile(ModuleOp module, const CompileOptions &options,
                                     llvm::ThreadPoolInterface &) const override {
    std::vector<cuda::KernelFacts> facts;
    auto kernels = emitCuda(module, options, facts);
    if (!kernels)
      return kernels.takeError();
    auto ptx = cudaText(**kernels, cuda::TextForm::Ptx);
    if (!ptx)
      return ptx.takeError();
    TargetCode result;
    for (auto [kernel, fact] : llvm::zip(module.getOps<KernelOp>(), facts)) {
      KernelInfo info{kernel.getSymName().str()};
      info.scratchBytes = fact.sharedBytes;
      info.workRows = fact.workRows;
      info.threads = fact.threads;
      info.blockRows = fact.blockRows;
      info.gridY = fact.gridY;
      result.kernels.push_back(info);
    }
    result.members.push_back({"code/sm_80.ptx", HEDDLE_CODE_PTX, std::vector<uint64_t>(facts.size())});
    result.contents.push_back(std::move(*ptx));
    if (!options.ptxas.empty()) { // a driver takes the last code that it can: later GPUs the PTX
      auto cubin = cuda::assemble(result.contents.front(), options.ptxas);
      if (!cubin)
        return cubin.takeError();
      result.members.push_back(
          {"code/sm_80.cubin", HEDDLE_CODE_CUBIN | 80u << 16, std::vector<uint64_t>(facts.size())});
      result.contents.push_back(std::move(*cubin));
    }
    result.manifest = llvm::json::Object{{"name", "cuda"}, {"ptx", "sm_80"}};
    return result;
  }

  llvm::Expected<std::string> text(ModuleOp module, const CompileOptions &options,
                                   llvm::StringRef form) const override {
    std::vector<cuda::KernelFacts> facts;
    auto kernels = emitCuda(module, options, facts);
    if (!kernels)
      return kernels.takeError();
    if (form != "kernels")
      return cudaText(**kernels, form == "llvm" ? cuda::TextForm::Llvm : cuda::TextForm::Ptx);
    std::string text;
    llvm::raw_string_ostream(text) << **kernels;
    return text;
  }
};
} // namespace

std::unique_ptr<Target> makeCudaTarget() { return std::make_unique<CudaTarget>(); }

} // namespace heddle
