// All that must hold for a module with executable examples, from its text to compiled code.
#pragma once
#include "codegen/Compiler.h"
#include "mlir/IR/OwningOpRef.h"

namespace heddle::random_modules {

struct CheckOptions {
  std::string activations = "mixed", rowBounds = "4";
  const cpu::CpuLevel *level = nullptr; // to compile for; null: interpreter only
};

struct Finding {
  std::string stage;   // "text", "f32", "after heddle-fuse-for-target", "code for x86-64-v3"
  std::string message; // what differs or failed
};

/// Runs every example of `module`, whose calls need inputs only, and compares, by the tolerance policy:
///   text     the module, and what each pass makes of it, survive printing and parsing
///   f32      f32 arithmetic with f64
///   passes   after each pass of the CPU target, in f64 with the module before it, to the last bits; where a
///            pass adds `quantize` ops, both without them
///   kernels  what all passes make, in f32, with f64
///   code     compiled for the level, with f64 arithmetic of the kernels
std::optional<Finding> checkModule(mlir::ModuleOp module, const CheckOptions &options);

/// Writes the reference's results into the examples, as f32: with them a module is a test by itself.
llvm::Error setExpected(mlir::ModuleOp module);

} // namespace heddle::random_modules
