// From kernels in MLIR to x86-64 machine code, in memory.
#pragma once
#include "codegen/cpu/Level.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include <functional>
#include <string>

namespace heddle::cpu {

/// A relocatable ELF object.
struct CompiledObject {
  llvm::SmallVector<char, 0> bytes;
};

struct CompileOptions {
  /// Adds the passes that replace transcendental math ops; they run first. The rest of the pipeline lowers
  /// only math ops that are one instruction, so what is left over fails to link by name rather than calling a
  /// library.
  std::function<void(mlir::OpPassManager &)> expandMath;
};

/// Compiles every function of `kernels` for `level`; the module itself is left as it is.
/// The same module gives the same bytes in any folder and at any time.
llvm::Expected<CompiledObject> compile(mlir::ModuleOp kernels, const CpuLevel &level,
                                       const CompileOptions &options = {});

enum class TextForm { Llvm, Assembly };

/// What `--emit llvm|asm` prints: optimized LLVM IR, or assembly of the very code that `compile` makes.
llvm::Expected<std::string> compileToText(mlir::ModuleOp kernels, const CpuLevel &level, TextForm form,
                                          const CompileOptions &options = {});

} // namespace heddle::cpu
