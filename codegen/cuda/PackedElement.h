// One element of packed weights (docs/kernel-abi.md, "Packed weights"), as code of one thread.
#pragma once
#include "codegen/cuda/Emit.h"
#include "ir/PackedLayout.h"

namespace heddle::cuda {

/// f32 number of row `row` (of 16) at column `column` (i32) of the row group at `group`.
Value packedElement(Emitter &e, const PackedLayout &layout, Value group, Value row, Value column);
/// Numbers of the dense formats as they are stored, FP8 ones as i8, and as f32 without their scales.
Value widen(Emitter &e, StorageFormat format, Value stored);
Type denseType(Emitter &e, StorageFormat format);
/// The format of a tensor's elements.
StorageFormat denseFormat(Type element);

} // namespace heddle::cuda
