// Executable examples: functions that carry inputs and expected outputs (docs/interpreter.md has the
// convention).
#pragma once
#include "ir/interpreter/Interpreter.h"

namespace mlir::heddle::interpreter {

/// Function attribute: an array of calls, each `{inputs = [...], expected = [...]}` with dense constants.
inline constexpr llvm::StringLiteral kExampleAttr = "heddle.example";
/// Module attribute: an array of byte constants, the contents of the files that parameters name.
inline constexpr llvm::StringLiteral kFilesAttr = "heddle.files";

/// Function attribute: why the example cannot run as compiled code.
inline constexpr llvm::StringLiteral kSkipCompiledAttr = "heddle.skip_compiled";

struct ExampleCall {
  SmallVector<Datum> inputs, expected;
};

/// A function's calls, made one after the other on the same caches, which are empty at first.
struct Example {
  std::string function;
  std::string skipCompiled; // the reason; empty: it can
  std::vector<ExampleCall> calls;
};

/// Reads and checks all examples of a module.
llvm::Expected<std::vector<Example>> readExamples(ModuleOp module);

/// The files that the module carries.
class ExampleFiles : public ::heddle::ParameterSource {
public:
  static llvm::Expected<ExampleFiles> read(ModuleOp module);
  llvm::Expected<ArrayRef<uint8_t>> bytes(int64_t file, uint64_t offset, uint64_t size) const override;

private:
  std::vector<std::vector<uint8_t>> files;
};

/// How far two results lie apart, the worst element first found.
struct Agreement {
  size_t compared = 0;
  double worst = 0; // largest |found - expected| / tolerance of what agrees
  std::string
      disagreement; // "result 0 [1, 3]: expected 0.5, but found 0.25 (tolerance 1e-7)"; empty when all agree
};

/// Compares with the tolerance policy. `tolerance(index of result, element)` is the allowed deviation;
/// integers are compared exactly.
Agreement compare(ArrayRef<Datum> found, ArrayRef<Datum> expected,
                  llvm::function_ref<double(size_t, size_t)> tolerance);

} // namespace mlir::heddle::interpreter
