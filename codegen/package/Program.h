// program.bin from a module at kernel level.
#pragma once
#include "heddle/program.h"
#include "ir/Heddle.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace heddle {

/// What a generator says of a kernel that it made.
struct KernelInfo {
  std::string symbol;
  uint64_t scratchBytes = 0;
  uint32_t workRows = 0; // rows that a heddle_work may hold; attention only
  uint32_t grain = 1;
  // Of blocks, on devices that have them (docs/cuda.md); 0 threads: a CPU's.
  uint32_t threads = 0, blockRows = 1, gridY = 1;
};

/// Where a level's code went: its member and the offset of each kernel, in the order of `kernels` below.
struct CodeMember {
  std::string member;
  uint32_t features;
  std::vector<uint64_t> offsets;
};

/// A program's weights: byte offset of each parameter, by symbol, the size of it all, and the members that
/// hold it.
struct WeightLayout {
  llvm::StringMap<uint64_t> offsets;
  std::vector<std::string> members;
  uint64_t size = 0;
};

/// A target's name as names of members have it: "npu-mobile" for "npu:mobile".
std::string memberWord(llvm::StringRef target);

/// Bytes of a value whose dynamic rows are at most `rows`.
uint64_t valueBytes(mlir::Type type, int64_t rows);

/// Serializes entries, variants and launches. Kernels are numbered in the order of `kernels`; every one that
/// is launched must be there.
llvm::Expected<std::string> buildProgram(mlir::ModuleOp module, llvm::ArrayRef<KernelInfo> kernels,
                                         llvm::ArrayRef<CodeMember> codes, const WeightLayout &weights);

} // namespace heddle
