// The passes and their manual.
#ifndef HEDDLE_PASSES_TD
#define HEDDLE_PASSES_TD
include "mlir/Pass/PassBase.td"

def SplitCacheAppendPass : Pass<"heddle-split-cache-append", "mlir::ModuleOp"> {
  let summary = "Separate storing keys and values from attending to them";
  let description = [{
    Attention that is given keys, values and a cache becomes `cache_append` followed by attention on the cache alone, so that the append
    can join the rows kernel that makes the keys.
    ```mlir
    %o = heddle.attention %q keys %k values %v cache %c at %s, %p ...    // before
    heddle.cache_append %c, %k, %v at %s, %p                             // after
    %o = heddle.attention %q cache %c at %s, %p ...
    ```
  }];
}

#endif
