// From kernels in MLIR to PTX text.
#pragma once
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Error.h"
#include <functional>
#include <string>

namespace heddle::cuda {

struct CompileOptions {
  std::function<void(mlir::OpPassManager &)> expandMath; // as in codegen/Lowering.h
};

enum class TextForm { Llvm, Ptx };

/// PTX for sm_80, or the optimized LLVM IR that it is made of, of all functions of `kernels`; the module
/// itself is left as it is. The same module gives the same bytes in any folder and at any time.
llvm::Expected<std::string> compileToText(mlir::ModuleOp kernels, TextForm form,
                                          const CompileOptions &options);

} // namespace heddle::cuda
