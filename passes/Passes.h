// Heddle's passes: creation, registration, and the attributes by which they talk to each other.
#pragma once
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"

namespace mlir::heddle {

/// Function attribute: bytes of the activation arena that its launches share.
inline constexpr llvm::StringLiteral kArenaBytesAttr = "heddle.arena_bytes";

/// Module attribute: what calibration found, a dictionary of weights: {scheme = "int4"} or, rounded already,
/// {scheme = "int4", file = 1 : i64, offset = 0 : i64}.
inline constexpr llvm::StringLiteral kQuantizationAttr = "heddle.quantization";
/// Attribute of a module: a dictionary with the size up to which each source node's product reads its input,
/// for static activations.
inline constexpr llvm::StringLiteral kActivationRangesAttr = "heddle.activation_ranges";
/// Names of results that `insert-observers` adds begin with it.
inline constexpr llvm::StringLiteral kObserverPrefix = "observe.";

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

/// Registers every pass with the global registry.
inline void registerPasses() { registerHeddlePasses(); }

} // namespace mlir::heddle
