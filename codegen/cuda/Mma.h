// Tensor-core products of f16 fragments and the loads that make them (ldmatrix). Fragments are i32 registers
// of two numbers each.
#pragma once
#include "codegen/cuda/Emit.h"

namespace heddle::cuda {

/// Four 8 x 8 matrices of 16-bit numbers; lane i gives the address of row i % 8 of matrix i / 8.
/// `transposed`: lanes get columns.
Values loadMatrices(Emitter &e, Value row, bool transposed);
/// c + a * b for a 16 x 16 and b 16 x 8 of `element` (f16 or bf16): four f32.
Values mma16816(Emitter &e, Type element, ValueRange a, ValueRange b, ValueRange c);
/// Two f32 rounded to f16, the first in the low half.
Value packHalves(Emitter &e, Value low, Value high);

} // namespace heddle::cuda
