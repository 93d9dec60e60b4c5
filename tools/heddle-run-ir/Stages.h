// A module between the passes of its target, and its examples' results at each: for random modules and
// bisect.
#pragma once
#include "codegen/Compiler.h"
#include "mlir/IR/OwningOpRef.h"
#include "tools/heddle-run-ir/Backend.h"

namespace heddle::run_ir {

/// The inputs of a function's calls, made one after the other on the same caches.
struct Calls {
  std::string function;
  std::vector<llvm::SmallVector<Datum>> inputs;
};

/// Results of all calls of all functions, in order.
using Results = std::vector<llvm::SmallVector<Datum>>;

/// Of every function with examples; what they expect is not read.
llvm::Expected<std::vector<Calls>> readCalls(mlir::ModuleOp module);

llvm::Expected<Results> runAll(Backend &backend, llvm::ArrayRef<Calls> calls);

/// Where `found` leaves the tolerances of both; empty when it does not. `others` are results that would be
/// right as well: twice what they differ by is allowed too. `call` is set to the number of the call.
std::string disagreement(const Results &found, const Results &expected, llvm::ArrayRef<Results> others = {},
                         size_t *call = nullptr);

/// Writes results into the examples of the functions, as f32 and i32.
void setExpected(mlir::ModuleOp module, llvm::ArrayRef<Calls> calls, const Results &results);

struct Stage {
  std::string pass; // that was run last
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

/// Copies of the module after each pass of the CPU target that changes it, without examples and files; the
/// first has no pass. `failed` names the pass that failed, or is empty; `beforePass` is told each as it
/// begins.
std::vector<Stage> stagesOf(mlir::ModuleOp module, const CompileOptions &options, std::string &failed,
                            llvm::function_ref<void(llvm::StringRef)> beforePass = nullptr);

/// Whether `after` rounds activations that `before` did not.
bool addsRounding(mlir::ModuleOp before, mlir::ModuleOp after);

/// A copy without `quantize` and what undoes it: all in f32. What rounding alone moves has a statistical
/// bound; without it the rest of a pass can be held to the last bits.
mlir::OwningOpRef<mlir::ModuleOp> withoutRounding(mlir::ModuleOp module);

} // namespace heddle::run_ir
