// What all kernel generators of the CPU share.
#pragma once
#include "codegen/cpu/Level.h"
#include "ir/Heddle.h"
#include <cstdint>

namespace heddle::cpu {

/// Facts of the model that are built into code.
struct CpuKernelContext {
  int64_t maxContext = 0; // tokens a slot can hold, a multiple of HEDDLE_PAGE_TOKENS: the page table's row is
                          // maxContext / HEDDLE_PAGE_TOKENS long
  int64_t maxRows = 1;    // bound of HEDDLE_DIM_ROWS
  int64_t maxSlots = 0;   // rows of the page table; 0 without a cache
};

/// What the runtime must know of a kernel's code; generators return it.
struct KernelFacts {
  uint64_t scratchBytes = 0; // per worker
  uint32_t workRows = 0;     // most rows of one heddle_work; attention only
  uint32_t grain = 1;        // ranges of items are cut at multiples of it
};

// A generator appends one function named after the kernel to `out`:
//   llvm::Expected<KernelFacts> emitXKernel(mlir::heddle::KernelOp, const CpuLevel &, const CpuKernelContext
//   &, mlir::ModuleOp out);

} // namespace heddle::cpu
