// Heddle's passes: creation, registration, and the sink of their decisions.
#pragma once
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"

namespace mlir::heddle {

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

/// Registers every pass with the global registry.
inline void registerPasses() { registerHeddlePasses(); }

} // namespace mlir::heddle
