// The order in which a kernel's code takes its operands: the contract between generators and the program.
#pragma once
#include "ir/Heddle.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"

namespace heddle {

/// One operand of a kernel's code.
struct KernelOperand {
  enum Kind { Argument, PageTable, Result, Work } kind;
  unsigned index = 0; // of the block argument (the cache, for PageTable) or of the yielded value
};

/// contraction: the result, the input, the weight matrices, then the other arguments in order (docs/ir.md).
/// rows, attention: the arguments in order, a KV cache being followed by its page table; the results; for
/// attention the work records.
llvm::SmallVector<KernelOperand> kernelOperands(mlir::heddle::KernelOp kernel);

/// The dimension that all launches of a kernel run over ("n", "m", "s"), by the kernel's name; empty where
/// they do not agree.
llvm::StringMap<llvm::StringRef> launchRows(mlir::ModuleOp module);

} // namespace heddle
