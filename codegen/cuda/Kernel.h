// What all kernel generators of CUDA share.
#pragma once
#include "codegen/KernelContext.h"
#include "ir/Heddle.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace heddle::cuda {

/// Shared memory of a block on sm_80.
inline constexpr int64_t kMostSharedBytes = 163 * 1024;

/// How a kernel is launched (docs/cuda.md); generators return it.
struct KernelFacts {
  uint32_t threads = 0;     // of a block
  uint64_t sharedBytes = 0; // of a block
  uint32_t blockRows = 1;   // grid x: rows (or work records) over this
  uint32_t gridY = 1;
  uint32_t workRows = 0; // most rows of one heddle_work; attention only
};

// A generator appends one function named after the kernel to `out`. `rows` is the dimension that its launches
// run over ("n", "m", "s" or a number).
llvm::Expected<KernelFacts> emitRowsKernel(mlir::heddle::KernelOp kernel, llvm::StringRef rows,
                                           const KernelContext &context, mlir::ModuleOp out);
llvm::Expected<KernelFacts> emitContractionKernel(mlir::heddle::KernelOp kernel, llvm::StringRef rows,
                                                  const KernelContext &context, mlir::ModuleOp out);
llvm::Expected<KernelFacts> emitAttentionKernel(mlir::heddle::KernelOp kernel, llvm::StringRef rows,
                                                const KernelContext &context, mlir::ModuleOp out);

/// Emits all kernels of `module`, in order, into `out` (empty). A kernel that has no generator is an error
/// that names it.
llvm::Expected<std::vector<KernelFacts>> emitKernels(mlir::ModuleOp module, const KernelContext &context,
                                                     mlir::ModuleOp out);

/// Loads the dialects that kernels use.
void loadKernelDialects(mlir::MLIRContext &context);

llvm::Error unsupported(mlir::heddle::KernelOp kernel, const llvm::Twine &why);

} // namespace heddle::cuda
