// What all kernel generators of the NPU share.
//
// Numbers on the chip are s32 with kFraction fraction bits (docs/npu.md, "Numbers").
#pragma once
#include "codegen/KernelContext.h"
#include "codegen/npu/Emit.h"
#include "ir/Heddle.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace heddle::npu {

inline constexpr int kFraction = 16;

struct KernelFacts {
  uint32_t workRows = 0; // most rows of one heddle_work; attention only
};

// A generator appends one function named after the kernel. `rows` is the dimension that its launches run over
// ("n", "m", "s" or a number).
llvm::Expected<KernelFacts> emitRowsKernel(mlir::heddle::KernelOp kernel, llvm::StringRef rows,
                                           const KernelContext &context, Emitter &e);

llvm::Expected<KernelFacts> emitAttentionKernel(mlir::heddle::KernelOp kernel, const KernelContext &context,
                                                Emitter &e);

/// dst = op(operands), element by element; `dst` may be an operand.
llvm::Error emitElementwise(Emitter &e, mlir::heddle::KernelOp kernel, mlir::Operation *op, Tile dst,
                            llvm::ArrayRef<Tile> operands, Extent extent);

/// dst = factor * x.
void emitScale(Emitter &e, double factor, Tile dst, Tile x, Extent extent);

/// The rows that launches of a kernel run over; nothing where they do not agree.
std::optional<Field> rowsField(Emitter &e, llvm::StringRef rows);

/// Emits all kernels of `module`, in order, into `out` (empty). A kernel that has no generator is an error
/// that names it and the op.
llvm::Expected<std::vector<KernelFacts>> emitKernels(mlir::ModuleOp module, const Machine &machine,
                                                     const KernelContext &context, mlir::ModuleOp out);

/// The artifact's member (heddle/npu.h) that holds all functions of `out`.
std::string encode(mlir::ModuleOp out, const Machine &machine);

void loadKernelDialects(mlir::MLIRContext &context);

llvm::Error unsupported(mlir::heddle::KernelOp kernel, const llvm::Twine &why);
llvm::Error unsupportedOp(mlir::heddle::KernelOp kernel, mlir::Operation *op, const llvm::Twine &why);

} // namespace heddle::npu
