// What executes an example: the interpreter or a compiled target, behind one interface.
#pragma once
#include "ir/interpreter/Example.h"

namespace heddle::run_ir {

using mlir::heddle::interpreter::Datum;

class Backend {
public:
  virtual ~Backend() = default;
  /// One call of `function`. Caches persist between calls until reset().
  virtual llvm::Expected<llvm::SmallVector<Datum>> run(llvm::StringRef function, llvm::ArrayRef<Datum> inputs) = 0;
  virtual void reset() = 0;
};

std::unique_ptr<Backend> interpreterBackend(mlir::ModuleOp module, const mlir::heddle::interpreter::Options &options,
                                            const ParameterSource &parameters);

/// The backend that `--target` names: "interpreter" in f32 arithmetic, "cpu" or "cpu:LEVEL".
llvm::Expected<std::unique_ptr<Backend>> targetBackend(llvm::StringRef target, mlir::ModuleOp module, const ParameterSource &parameters);

} // namespace heddle::run_ir
