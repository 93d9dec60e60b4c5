// Heddle's passes: creation, registration, and the attributes by which they talk to each other.
#pragma once
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"

namespace mlir::heddle {

/// Function attribute of a variant: array<i64: lo, hi>, the rows that it serves.
inline constexpr llvm::StringLiteral kRowsAttr = "heddle.rows";
/// Function attribute: bytes of the activation arena that its launches share.
inline constexpr llvm::StringLiteral kArenaBytesAttr = "heddle.arena_bytes";

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

/// Registers every pass with the global registry.
inline void registerPasses() { registerHeddlePasses(); }

} // namespace mlir::heddle
