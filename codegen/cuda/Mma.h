// Tensor-core products and the loads that make their fragments (ldmatrix). Fragments are i32 registers of two
// or four numbers each. Without tensor cores the same products are made by the lanes of a warp, which
// exchange their fragments.
#pragma once
#include "codegen/cuda/Emit.h"

namespace heddle::cuda {

/// Four 8 x 8 matrices of 16-bit numbers; lane i gives the address of row i % 8 of matrix i / 8.
/// `transposed`: lanes get columns.
Values loadMatrices(Emitter &e, Value row, bool transposed);
/// c + a * b for a 16 x 16 and b 16 x 8 of `element` (f16 or bf16): four f32.
Values mma16816(Emitter &e, Type element, ValueRange a, ValueRange b, ValueRange c);
/// The same for bytes, s8 or u8 by s8: a 16 x 32 in four registers, or 16 x 16 in two; four i32.
Values mmaBytes(Emitter &e, bool isSigned, ValueRange a, ValueRange b, ValueRange c);
/// Two f32 rounded to f16 or bf16, the first in the low half.
Value packHalves(Emitter &e, Value low, Value high);
Value packBfloats(Emitter &e, Value low, Value high);

} // namespace heddle::cuda
