// The score and mask regions of an attention op in code: as vectors over key positions, and what they rule
// out.
#pragma once
#include "codegen/cpu/Emit.h"
#include "ir/Heddle.h"
#include <optional>

namespace heddle::cpu {

/// What a mask region says about ranges of positions.
struct MaskSummary {
  bool causal = false;           // kv_pos <= q_pos
  std::optional<int64_t> window; // q_pos - kv_pos < window
  bool exact = true;             // the two above are all that it says
};

/// Reads comparisons joined by `arith.andi`; an empty region masks nothing.
MaskSummary summarizeMask(mlir::Region &mask);

/// An op of `region` that uses what is neither inside nor a constant, or null.
mlir::Operation *findCapture(mlir::Region &region);

/// Emits `region` on vectors: `arguments` are its six arguments, each of as many lanes. Returns what it
/// yields.
Value vectorizeRegion(Emitter &e, mlir::Region &region, ValueRange arguments);

} // namespace heddle::cpu
