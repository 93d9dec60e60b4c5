// What all kernel generators of the CPU share.
#pragma once
#include "codegen/KernelContext.h"
#include "codegen/cpu/Level.h"
#include "ir/Heddle.h"
#include "llvm/Support/Error.h"
#include <cstdint>

namespace heddle::cpu {

using CpuKernelContext = KernelContext;

/// What the runtime must know of a kernel's code; generators return it.
struct KernelFacts {
  uint64_t scratchBytes = 0; // per worker
  uint32_t workRows = 0;     // most rows of one heddle_work; attention only
  uint32_t grain = 1;        // ranges of items are cut at multiples of it
};

/// Why `kernel` has no code.
llvm::Error unsupported(mlir::heddle::KernelOp kernel, const llvm::Twine &why);

// A generator appends one function named after the kernel to `out`:
//   llvm::Expected<KernelFacts> emitXKernel(mlir::heddle::KernelOp, const CpuLevel &, const CpuKernelContext
//   &, mlir::ModuleOp out);

} // namespace heddle::cpu
