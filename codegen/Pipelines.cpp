#include "codegen/Pipelines.h"
#include "codegen/plugin/Plugin.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "llvm/Support/raw_ostream.h"

namespace heddle {

/// Integers that the user asks for stay integers. From 32 rows on, the rows that tiles take at a time, they
/// gain.
static bool usesTiles(const CompileOptions &options) {
  auto hasTiles = [](const cpu::CpuLevel &level) { return level.tiles; };
  return options.target == "cpu" && options.activations == "mixed" &&
         (options.levels.empty()
              ? llvm::any_of(cpu::cpuLevels(), hasTiles)
              : llvm::any_of(options.levels, [&](auto *level) { return hasTiles(*level); }));
}

void addPipeline(mlir::OpPassManager &passes, const CompileOptions &options) {
  static const bool registered = [] {
    mlir::registerCanonicalizerPass();
    mlir::heddle::registerPasses();
    return true;
  }();
  (void)registered;
  std::string list = "canonicalize,";
  if (std::string added = pluginPasses(); !added.empty())
    list += added + ",";
  if (auto [variant, parameters] = llvm::StringRef(options.attention).split(':'); !variant.empty())
    list += ("heddle-apply-attention{variant=" + variant +
             (parameters.empty() ? "" : " parameters=" + parameters.str()) + "},")
                .str();
  if (options.cacheType != "f16")
    list += "heddle-set-cache-type{type=" + options.cacheType + " target=" + options.target + "},";
  list += "heddle-insert-head-gating,heddle-specialize-head-mask,heddle-lower-head-gating";
  list += options.denseGates ? "{dense}," : ",";
  if (!options.observe.empty())
    list += "heddle-insert-observers{observe=" + options.observe + "},";
  list += "heddle-insert-quantization";
  if (!options.quantize.empty())
    list += "{schemes=" + options.quantize + (options.search ? " search" : "") + "}";
  list += ",heddle-fold-quantization,";
  list += "heddle-infer-shapes,"
          "heddle-specialize-rows{" +
          (options.rowBounds.empty() ? "" : "bounds=" + options.rowBounds + " ") +
          (usesTiles(options) ? "tiles-from=32" : "") +
          "},"
          "heddle-split-cache-append,";
  if (!llvm::StringRef(options.target).starts_with("npu")) // one unit, with which nothing shares a context
    list += "heddle-split-attention,";
  list += "heddle-choose-precision{activations=" + options.activations + " target=" + options.target +
          "},"
          "heddle-pack-parameters{target=" +
          options.target +
          "},"
          "heddle-fuse-for-target{target=" +
          options.target +
          "},"
          "heddle-share-kernels,"
          "heddle-plan-memory";
  // The list is ours: a failure to parse it is a mistake in this file.
  if (mlir::failed(mlir::parsePassPipeline(list, passes, llvm::errs())))
    llvm::report_fatal_error("the pipeline does not parse");
}

} // namespace heddle
