#include "ir/Heddle.h"
#include "passes/Decisions.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_SPLITATTENTIONPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct SplitAttention : mlir::heddle::impl::SplitAttentionPassBase<SplitAttention> {
  using SplitAttentionPassBase::SplitAttentionPassBase;

  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    auto facts = getOperation()->getAttrOfType<DictionaryAttr>(kModelAttr);
    auto context = facts ? facts.getAs<IntegerAttr>("max_context") : IntegerAttr();
    int64_t chunks = context ? llvm::divideCeil(context.getInt(), chunkTokens) : 0;
    if (chunks < 2)
      return;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      auto rows = function->getAttrOfType<DenseI64ArrayAttr>("heddle.rows");
      if (!rows || rows[1] > maxRows)
        continue;
      for (AttentionOp attention : llvm::make_early_inc_range(function.getOps<AttentionOp>()))
        if (attention.getCache() && !attention.getKeys() && !attention.isSplit())
          split(attention, chunks, decisions);
    }
  }

  void split(AttentionOp attention, int64_t chunks, Decisions &decisions) {
    auto whole = attention.getType();
    auto type = RankedTensorType::get(
        {whole.getDimSize(0), whole.getDimSize(1), chunks, attention.valueDim() + 2}, whole.getElementType());
    decisions.record(attention, "split",
                     "few rows: workers share out the " + Twine(chunks) + " chunks of keys of a KV head");
    OpBuilder builder(attention);
    builder.setInsertionPointAfter(attention);
    auto merged = builder.create<MergeChunksOp>(attention.getLoc(), whole, attention.getResult(),
                                                attention.getPositions());
    attention.getResult().setType(type);
    attention.getResult().replaceAllUsesExcept(merged.getResult(), merged);
  }
};
} // namespace
