// What generators of rows kernels know of a kernel's values, whatever the target.
#pragma once
#include "ir/Heddle.h"

namespace heddle {

/// The value that reshapes of it stand for.
mlir::Value withoutReshapes(mlir::Value value);
/// Numbers in one row.
int64_t rowColumns(mlir::Type type);
/// Bytes of one row of a tensor of f32 or i32, of quantized activations or of a selection.
int64_t rowBytes(mlir::Type type);
/// All that read `value`, past reshapes.
llvm::SmallVector<mlir::Operation *> readersOf(mlir::Value value);

} // namespace heddle
