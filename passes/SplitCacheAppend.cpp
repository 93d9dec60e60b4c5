#include "ir/Heddle.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_SPLITCACHEAPPENDPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct SplitCacheAppend : mlir::heddle::impl::SplitCacheAppendPassBase<SplitCacheAppend> {
  void runOnOperation() override {
    getOperation().walk([](AttentionOp attention) {
      // Without a cache the keys and values are what is attended to.
      if (!attention.getCache() || !attention.getKeys())
        return;
      OpBuilder builder(attention);
      builder.create<CacheAppendOp>(attention.getLoc(), attention.getCache(), attention.getKeys(),
                                    attention.getValues(), attention.getSlots(), attention.getPositions());
      attention.getKeysMutable().clear();
      attention.getValuesMutable().clear();
    });
  }
};
} // namespace
