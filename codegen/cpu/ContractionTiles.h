// Contractions of bf16 activations on tiles (AMX; Intel SDM volume 1, chapter 18): TDPBF16PS multiplies
// sixteen rows by sixteen columns over 32 elements at once.
#pragma once
#include "codegen/cpu/Contraction.h"

namespace heddle::cpu {

/// Scratch of one worker.
uint64_t tiledContractionScratch(const ContractionSpec &spec);

/// Emits the body of the function. The input has room for kTiledRows rows at least.
void emitTiledContraction(Emitter &e, const ContractionSpec &spec, const KernelArguments &arguments);

/// Input rows that are multiplied together. Where fewer are left, rows before them are multiplied again,
/// which changes nothing: results of a row depend on no other.
inline constexpr int64_t kTiledRows = 32;

} // namespace heddle::cpu
