// All that must hold for a module and calls of it, from its text to compiled code: behind random modules and
// bisect.
#pragma once
#include "tools/heddle-run-ir/Stages.h"
#include <functional>

namespace heddle::run_ir {

struct CheckOptions {
  std::string activations = "mixed", rowBounds = "4";
  const cpu::CpuLevel *level = nullptr;              // to compile for; null: interpreter only
  std::function<void(llvm::StringRef)> atStage = {}; // told each stage as it begins, passes by "pass NAME"
};

struct Finding {
  std::string stage;   // "text", "f32", "after heddle-fuse-for-target", "code for x86-64-v3"
  std::string op;      // "'heddle.linear' of blk.3.attn_q": the first whose result is another; may be unknown
  std::string message; // what differs or failed

  /// Whether numbers left their tolerance, rather than something failing.
  bool numbers() const { return message.find("(tolerance ") != std::string::npos; }
};

/// Runs `calls` and compares, by the tolerance policy:
///   text     the module, and what each pass makes of it, survive printing and parsing
///   f32      f32 arithmetic with f64
///   passes   after each pass of the CPU target, in f64 with the module before it, to the last bits; where a
///            pass adds `quantize` ops, both without them
///   kernels  what all passes make, in f32, with f64
///   code     compiled for the level, with f64 arithmetic of the kernels; not where an example forbids it
/// The first that does not hold is the finding.
std::optional<Finding> checkModule(mlir::ModuleOp module, const ParameterSource &parameters,
                                   llvm::ArrayRef<Calls> calls, const CheckOptions &options);

/// The same for a module that carries its files and calls.
std::optional<Finding> checkModule(mlir::ModuleOp module, const CheckOptions &options);

/// Writes the reference's results into the examples, as f32: with them a module is a test by itself.
llvm::Error setExpected(mlir::ModuleOp module);

} // namespace heddle::run_ir
