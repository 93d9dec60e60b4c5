// Into how many items a kernel of the family `attention` cuts a work record.
#pragma once
#include "ir/Heddle.h"

namespace heddle {

/// Pieces of the context that items of split attention take: as many as workers could want, and not more than
/// there are chunks.
inline int64_t attentionSplits(mlir::heddle::AttentionOp op) {
  return op.isSplit() ? std::min<int64_t>(mlir::heddle::shapeOf(op.getType())[2], 64) : 1;
}

inline int64_t attentionItems(mlir::heddle::ScoringOpInterface op) {
  if (auto attention = llvm::dyn_cast<mlir::heddle::AttentionOp>(op.getOperation()))
    return op.kvHeads() * attentionSplits(attention);
  return 1; // top-k sums over heads
}

} // namespace heddle
