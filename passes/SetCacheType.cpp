#include "ir/Heddle.h"
#include "passes/Decisions.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_SETCACHETYPEPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct SetCacheType : mlir::heddle::impl::SetCacheTypePassBase<SetCacheType> {
  using SetCacheTypePassBase::SetCacheTypePassBase;

  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    for (auto cache : getOperation().getOps<CacheOp>()) {
      KvCacheType wanted = cast<KvCacheType>(cache.getType()).withElements(type);
      if (!wanted) {
        cache.emitError() << "unknown type '" << type << "' of KV caches; expected f16, int8 or fp8";
        return signalPassFailure();
      }
      if (wanted.hasScales() && target != "cpu") {
        cache.emitError() << "expected a KV cache of 'f16' for target '" << target << "', but found '" << type
                          << "'; caches of 8 bits are for target 'cpu'";
        return signalPassFailure();
      }
      cache.setType(wanted);
      decisions.record(cache, "cache", type + " as asked for", wanted.tokenBytes());
    }
    getOperation().walk(
        [&](GetCacheOp get) { get.getResult().setType(get.getResult().getType().withElements(type)); });
  }
};
} // namespace
