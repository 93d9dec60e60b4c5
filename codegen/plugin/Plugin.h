// Plug-ins: shared libraries that add ops, passes, attention variants, weight schemes and targets to the
// compiler. docs/plugins.md is the tutorial.
#pragma once
#include "codegen/Target.h"
#include "ir/WeightEncoding.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassRegistry.h"
#include "passes/AttentionVariants.h"
#include "passes/TargetDescription.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <string>

namespace heddle {

/// Counts changes of what plug-ins see. One built for another number, or with another LLVM, is refused.
inline constexpr uint32_t kPluginApi = 2;

/// What a plug-in's function of registration gets.
class PluginRegistry {
public:
  explicit PluginRegistry(mlir::DialectRegistry &dialects) : dialects(dialects) {}
  PluginRegistry(const PluginRegistry &) = delete;

  /// A dialect: its ops, and the patterns that its canonicalizers bring. Ops that no pass of a target knows
  /// must be gone after `canonicalize`, the first pass, or after a pass given to addToPipeline.
  template <typename Dialect> void addDialect() { dialects.insert<Dialect>(); }
  /// A pass, known by its argument to heddle-opt and to addToPipeline.
  template <typename PassType> void addPass() {
    mlir::registerPass([]() -> std::unique_ptr<mlir::Pass> { return std::make_unique<PassType>(); });
  }
  /// Passes ("example-merge-relus,canonicalize") that every compilation runs at model level, after those of
  /// plug-ins loaded before.
  void addToPipeline(llvm::StringRef passes);
  /// A variant for `--attention NAME`. Taken names are refused when the plug-in is loaded.
  void addAttention(std::unique_ptr<mlir::heddle::BaseAttention> variant);
  /// A scheme for `--quantize NAME`, the same.
  void addWeightScheme(const WeightScheme &scheme);
  /// A target for `--target NAME`, the same; `description` is what passes know of it, and gets the target's
  /// name. A name is of a-z, 0-9 and -, at most 15 of them: members of artifacts are called so.
  void addTarget(std::unique_ptr<Target> target, mlir::heddle::TargetDescription description);

private:
  friend llvm::Error loadPlugin(llvm::StringRef);
  mlir::DialectRegistry &dialects;
  std::string passes, refused;
};

/// What a plug-in says of itself. HEDDLE_PLUGIN fills it in.
struct PluginInfo {
  uint32_t structSize;
  uint32_t api;
  const char *llvm; // version that it was built with
  const char *name, *version;
  void (*load)(PluginRegistry &registry);
};

/// Loads the shared library at `path`, which must contain a slash: no search path decides whose code runs.
/// Plug-ins stay loaded; the same file again does nothing.
llvm::Error loadPlugin(llvm::StringRef path);

/// Loads what `--plugin PATH` and `--plugin=PATH` name and removes them from the arguments: passes must be
/// known before a tool of MLIR parses the others.
llvm::Error loadPlugins(int &argc, char **argv);

/// What plug-ins add: for every context that reads or makes their ops.
const mlir::DialectRegistry &pluginDialects();
/// For the manifest: {name, version, sha256} of each, in order of loading.
llvm::json::Array pluginsJson();
/// The passes that they add, comma-separated.
std::string pluginPasses();

} // namespace heddle

/// Once in a plug-in: `HEDDLE_PLUGIN("example", "1.0", load)` with `void load(heddle::PluginRegistry &)`.
#define HEDDLE_PLUGIN(NAME, VERSION, LOAD)                                                                   \
  extern "C" __attribute__((visibility("default"))) const ::heddle::PluginInfo heddle_plugin = {             \
      sizeof(::heddle::PluginInfo), ::heddle::kPluginApi, LLVM_VERSION_STRING, NAME, VERSION, LOAD}
