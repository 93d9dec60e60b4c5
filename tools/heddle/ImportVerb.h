// What `compile` and `explain` share: options of importing, messages of the compiler, targets.
#ifndef HEDDLE_TOOLS_IMPORT_VERB_H
#define HEDDLE_TOOLS_IMPORT_VERB_H

#include "codegen/Compiler.h"
#include "frontends/Import.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "tools/heddle/Common.h"

namespace heddle::cli {

struct ImportVerb {
  std::vector<std::string> targets = {"cpu"};
  std::string model, activations = "mixed", maxMemory, attention, gates;
  int64_t maxContext = 0, maxSequences = 4, maxChunk = 512;
  std::vector<std::string> externalFolders, observe, plugins;
  bool precise = false, denseGates = false, noSamples = false;
  std::string tensorCores = "on", cacheType = "f16";
};
void addImportOptions(CLI::App &app, ImportVerb &verb);
// Those of `--plugin`; an importer does it too.
void loadPlugins(const ImportVerb &verb);

// A context that collects the compiler's diagnostics; a model imported into it.
class Importer {
public:
  explicit Importer(const ImportVerb &verb);

  mlir::ModuleOp module() { return *imported.module; }
  const ImportedModel &model() const { return imported; }
  // Levels and precision as asked for.
  CompileOptions compileOptions() const;
  // Throws what `error` says together with the diagnostics so far; an internal error writes a reproducer
  // first.
  [[noreturn]] void raise(llvm::Error error);

private:
  const ImportVerb &verb;
  mlir::MLIRContext context;
  std::string diagnostics;
  ImportedModel imported;
  std::string original; // the module as imported, for a reproducer: no weights, no prompt
};

// What `--target` names.
struct Targets {
  std::vector<std::string> names; // "cpu", "cuda", "npu:edge", "npu:mobile", in this order; at least one
  std::vector<const cpu::CpuLevel *> levels; // of the CPU; none means all
};
Targets parseTargets(const std::vector<std::string> &targets);
// `verb` for each of its targets alone.
std::vector<ImportVerb> eachTarget(const ImportVerb &verb);

} // namespace heddle::cli

#endif
