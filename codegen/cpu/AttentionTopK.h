// Emits one item of top-k: for every row of a work record, which keys score highest over all heads.
#pragma once
#include "codegen/cpu/AttentionScores.h"

namespace heddle::cpu {

class TopKBuilder : ScoreBuilder {
public:
  TopKBuilder(Emitter &e, mlir::heddle::TopKOp op, const CpuKernelContext &context);

  void emitItem(const AttentionOperands &operands, Value workCount, Value scratch, Value item);
  int64_t scratchBytes() const { return scratchSize; }
  int64_t workRows() const { return mostWorkRows; }

private:
  void addScores(Value row, Value head);
  void select(Value row);
  /// Where the sums of a row lie; they become their order as integers.
  Value sumsOf(Value row);

  mlir::heddle::TopKOp topK;
  int64_t tokens, sumBytes, sumsOffset, mostWorkRows;
  int tileHeads;
};

} // namespace heddle::cpu
