// What executes an example: the interpreter or a compiled target, behind one interface.
#pragma once
#include "codegen/Compiler.h"
#include "heddle/driver.h"
#include "ir/interpreter/Example.h"

namespace heddle::run_ir {

using mlir::heddle::interpreter::Datum;

class Backend {
public:
  virtual ~Backend() = default;
  /// One call of `function`. Caches persist between calls until reset().
  virtual llvm::Expected<llvm::SmallVector<Datum>> run(llvm::StringRef function,
                                                       llvm::ArrayRef<Datum> inputs) = 0;
  virtual void reset() = 0;
};

std::unique_ptr<Backend> interpreterBackend(mlir::ModuleOp module,
                                            const mlir::heddle::interpreter::Options &options,
                                            const ParameterSource &parameters);

/// Compiles a function when it is first run. `module` is at model level: the pipeline of the CPU target runs
/// on a copy. Without a `driver`, the target's simulator or the CPU runs it.
std::unique_ptr<Backend> cpuBackend(mlir::ModuleOp module, const CompileOptions &options,
                                    const ParameterSource &parameters, const heddle_driver *driver = nullptr);

} // namespace heddle::run_ir
