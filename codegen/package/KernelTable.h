// What each kernel reads, writes and computes, counted from its body: the member kernels.json, from which
// `heddle bench --per-kernel` and `heddle explain` tell how near a kernel comes to the machine's limit.
#pragma once
#include "ir/Heddle.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/JSON.h"

namespace heddle {

/// Counts that do not depend on a call. A call of `rows` rows that attend to `tokens` tokens each moves
/// weightBytes + rows * bytesPerRow (+ tokens * cacheBytesPerToken for each sequence) bytes and does
/// rows * (multiplyAdds + tokens * multiplyAddsPerToken) multiply-adds.
struct KernelCost {
  int64_t weightBytes = 0;          // parameters that are read in full
  int64_t bytesPerRow = 0;          // activations in and out, rows of tables, keys and values that are stored
  int64_t cacheBytesPerToken = 0;   // keys and values that attention reads
  int64_t multiplyAdds = 0;         // of a row
  int64_t multiplyAddsPerToken = 0; // of a row and a token that it sees (of every one: selections see fewer)
  int64_t elementOps = 0;           // of a row: all other arithmetic, counted as one each
  /// What multiplies: "f32"; "i8" and "i16" (two multiply-adds of 8 bits each); "bf16" (tiles).
  const char *arithmetic = "f32";
};

KernelCost kernelCost(mlir::heddle::KernelOp kernel);

/// All kernels of a module, in order.
llvm::json::Array kernelsJson(mlir::ModuleOp module);

} // namespace heddle
