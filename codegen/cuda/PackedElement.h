// One element of packed weights (docs/kernel-abi.md, "Packed weights"), as code of one thread.
#pragma once
#include "codegen/cuda/Emit.h"
#include "ir/PackedLayout.h"

namespace heddle::cuda {

/// Whether blocks of the scheme are what this and the fragments of mma know: 32 columns with a scale, or 256
/// with sub-scales.
inline bool isPackedScheme(const BlockScheme &scheme) { return scheme.super == 32 || scheme.super == 256; }

/// f32 number of row `row` (of 16) at column `column` (i32) of the row group at `group`.
Value packedElement(Emitter &e, const PackedLayout &layout, Value group, Value row, Value column);
/// Numbers of the dense formats.
Value widen(Emitter &e, Value stored); // f32, f16 or bf16 -> f32
Type denseType(Emitter &e, StorageFormat format);

} // namespace heddle::cuda
