// Code of single kernels, kept for compilations of models that differ in little.
#pragma once
#include "codegen/cpu/Backend.h"
#include "codegen/cpu/Kernel.h"
#include "llvm/ADT/StringMap.h"

namespace heddle::cpu {

/// A kernel's code by itself.
struct CachedKernel {
  std::string symbol; // its function's, unique in the cache
  CompiledObject object;
  KernelFacts facts;
};

/// For one thread at a time.
class KernelCache {
public:
  /// The code of `kernel`, which launches call with `rows` (see launchRows): made now unless that of an equal
  /// kernel is there. Valid as long as the cache.
  llvm::Expected<const CachedKernel *> get(mlir::heddle::KernelOp kernel, llvm::StringRef rows,
                                           const CpuLevel &level, const CpuKernelContext &context,
                                           const CompileOptions &options);

private:
  llvm::StringMap<CachedKernel> kernels; // by their text
};

} // namespace heddle::cpu
