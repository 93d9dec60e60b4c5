// The order of passes, as readable lists.
#pragma once
#include "codegen/Compiler.h"
#include "mlir/Pass/PassManager.h"

namespace heddle {
/// From model level to kernels with planned memory.
void addPipeline(mlir::OpPassManager &passes, const CompileOptions &options);
} // namespace heddle
