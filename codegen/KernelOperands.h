// The order in which a kernel's code takes its operands: the contract between generators and the program.
#pragma once
#include "ir/Heddle.h"
#include "llvm/ADT/SmallVector.h"

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

/// The dimension that the launches of `kernel` run over ("n", "m", "s"); empty when they do not agree or
/// there are none.
llvm::StringRef launchRows(mlir::heddle::KernelOp kernel);

} // namespace heddle
