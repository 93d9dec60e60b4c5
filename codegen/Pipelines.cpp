#include "codegen/Pipelines.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "llvm/Support/raw_ostream.h"

namespace heddle {

void addCpuPipeline(mlir::OpPassManager &passes, const CompileOptions &options) {
  static const bool registered = [] {
    mlir::registerCanonicalizerPass();
    mlir::heddle::registerPasses();
    return true;
  }();
  (void)registered;
  std::string list = "canonicalize,"
                     "heddle-infer-shapes,"
                     "heddle-specialize-rows{bounds=" +
                     options.rowBounds +
                     "},"
                     "heddle-split-cache-append,"
                     "heddle-choose-precision{activations=" +
                     options.activations +
                     "},"
                     "heddle-pack-parameters,"
                     "heddle-fuse-for-target{target=cpu},"
                     "heddle-share-kernels,"
                     "heddle-plan-memory";
  // The list is ours: a failure to parse it is a mistake in this file.
  if (mlir::failed(mlir::parsePassPipeline(list, passes, llvm::errs())))
    llvm::report_fatal_error("the CPU pipeline does not parse");
}

} // namespace heddle
