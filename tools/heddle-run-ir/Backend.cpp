#include "tools/heddle-run-ir/Backend.h"

using namespace heddle::run_ir;
using namespace mlir::heddle::interpreter;

namespace {
class InterpreterBackend : public Backend {
public:
  InterpreterBackend(mlir::ModuleOp module, const Options &options, const heddle::ParameterSource &parameters)
      : interpreter(module, options, &parameters) {}
  llvm::Expected<llvm::SmallVector<Datum>> run(llvm::StringRef function,
                                               llvm::ArrayRef<Datum> inputs) override {
    return interpreter.run(function, inputs);
  }
  void reset() override { interpreter.clearState(); }

private:
  Interpreter interpreter;
};
} // namespace

std::unique_ptr<Backend> heddle::run_ir::interpreterBackend(mlir::ModuleOp module, const Options &options,
                                                            const ParameterSource &parameters) {
  return std::make_unique<InterpreterBackend>(module, options, parameters);
}
