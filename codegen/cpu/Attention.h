// Generator of the family `attention`.
#pragma once
#include "codegen/cpu/Kernel.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace heddle::cpu {

/// Operands of the code: docs/ir.md, "Kernel level". Items are (work record, KV head); what is computed:
/// docs/kernel-abi.md, "Attention".
llvm::Expected<KernelFacts> emitAttentionKernel(mlir::heddle::KernelOp kernel, const CpuLevel &level,
                                                const CpuKernelContext &context, mlir::ModuleOp out);

} // namespace heddle::cpu
