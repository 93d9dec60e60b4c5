// What a target has no code for.
#pragma once
#include "codegen/Compiler.h"

namespace heddle {

/// A kernel without code.
struct Gap {
  std::string kernel, why;
  std::vector<std::string> sources; // of its launches
};

/// Runs the passes of `options.target` on `module` and tries every kernel. What no kernel is to blame for is
/// an error.
llvm::Expected<std::vector<Gap>> findGaps(mlir::ModuleOp module, const CompileOptions &options);

} // namespace heddle
