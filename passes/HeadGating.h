// What the passes of head gating share: names of a gate's parameters, and where an attention's heads come
// from.
#pragma once
#include "ir/Heddle.h"

namespace mlir::heddle {

// The gate of the attention at source node N has its parameters under N + these (docs/head-gating.md).
inline constexpr llvm::StringLiteral kGateWeight = ".gate.weight"; // f32 [heads, width of the layer's input]
inline constexpr llvm::StringLiteral kGateBias = ".gate.bias";     // f32 [heads]; optional
inline constexpr llvm::StringLiteral kGateSkip = ".gate.skip"; // f32 [heads, width of a value head]; optional
inline constexpr llvm::StringLiteral kGateKeep = ".gate.keep"; // i1 [heads]: heads that any row may need

/// The product from which `heads` ([rows, heads, width]) come and nothing else does, one head at a time after
/// it; null if there is none.
LinearOp headProjection(Value heads);

/// That of the queries of `attention`.
inline LinearOp queryProjection(AttentionOp attention) { return headProjection(attention.getQuery()); }

/// The product that reads the result of `attention`, which nothing else reads; null if there is none.
LinearOp outputProjection(AttentionOp attention);

} // namespace mlir::heddle
