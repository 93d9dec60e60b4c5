// Sample inputs of a compiled model with what the reference interpreter computes for them: what `heddle
// verify` compares compiled code with. Inputs are synthetic, drawn from a recorded seed; no user's data is in
// them.
#pragma once
#include "codegen/package/Weights.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <cmath>
#include <string>

namespace heddle {

struct Samples {
  llvm::json::Object manifest; // the manifest's "samples"; docs/artifact.md has its keys
  std::string data;            // the member samples.bin: the expected outputs, f32; empty: none
};

/// Runs the interpreter on `source` (the model as imported) and on `compiled` (what passes for a target
/// made).
///
/// Every variant of an entry is called once, from the largest to the smallest, so that small ones continue
/// sequences that large ones began. Each output is expected twice: as the source weights have it, and as the
/// program has it, with its quantized activations. Bounds are of the size of what quantization moves, as a
/// code that rounds to its neighbour moves all that follows (docs/artifact.md).
/// Code that multiplies tiles of bf16 runs other variants and has expectations of its own.
/// A model that would take more than `workLimit` multiply-adds gets fewer samples or none, and the manifest
/// says so.
/// Targets have variants of their own, hence calls of their own.
llvm::Expected<Samples> makeSamples(mlir::ModuleOp source, llvm::ArrayRef<CompiledModule> compiled,
                                    const ParameterSource &parameters, double workLimit = 2e11);

/// |y - r| / |r| of one row, in f64. Infinite where either has a number that is not finite: such rows agree
/// with nothing.
template <typename Value, typename Reference>
double relativeL2(const Value *value, const Reference *reference, size_t count) {
  double error = 0, size = 0;
  for (size_t i = 0; i < count; ++i) {
    double difference = double(value[i]) - double(reference[i]);
    error += difference * difference;
    size += double(reference[i]) * double(reference[i]);
  }
  double distance = std::sqrt(error / size);
  return error == 0 && std::isfinite(size) ? 0 : std::isfinite(distance) ? distance : HUGE_VAL;
}

} // namespace heddle
