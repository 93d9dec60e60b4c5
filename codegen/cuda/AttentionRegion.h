// The score and mask regions of an attention op as code of one thread.
#pragma once
#include "codegen/cuda/Emit.h"
#include "ir/Heddle.h"

namespace heddle::cuda {

/// Emits `region` on scalars: `arguments` are its arguments (the seventh may be left unused). `address` gives
/// the place of a tensor that `heddle.element` reads, `rows` the size (i32) of its first dimension where
/// dynamic.
Value emitRegion(Emitter &e, mlir::Region &region, ValueRange arguments,
                 llvm::function_ref<Value(Value tensor)> address, Value rows);

} // namespace heddle::cuda
