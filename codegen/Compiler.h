// From a module at model level to an artifact. What tools call after a frontend.
#pragma once
#include "codegen/cpu/Level.h"
#include "codegen/package/Weights.h"
#include "ir/Heddle.h"
#include "ir/ParameterSource.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace heddle {

namespace cpu {
class KernelCache;
}

struct CompileOptions {
  std::string target = "cpu";                // or "cuda", "npu:edge", "npu:mobile", or one of a plug-in
  std::vector<std::string> alternatives;     // more targets for one artifact, each with its own program
  std::vector<const cpu::CpuLevel *> levels; // of the CPU, ascending; empty: all
  /// Text activations (`--activations`, `--precise`): "mixed" (16 bits for up to four rows, and for QKV and
  /// head beyond), "i8", "i16".
  std::string activations = "mixed";
  std::string cacheType = "f16"; // of keys and values (`--kv-type`): "f16", "int8", "fp8"
  bool tensorCores = true;       // of CUDA: multiply on them, or without
  std::string ptxas;             // CUDA: assembles a cubin beside the PTX; empty: none
  std::string rowBounds =
      "4"; // upper row bounds of the variants below the largest; empty: one variant for all
  /// Weights: "SCHEME,PATTERN=SCHEME,..." of heddle-insert-quantization; empty: as the files have them.
  std::string quantize;
  bool search = false; // scales of least square error
  /// "NAME:PARAMETER=NUMBER,..." of heddle-apply-attention, for all attention; empty: the model's own.
  std::string attention;
  bool samples = true; // for `heddle verify`; a model that lives for a moment needs none
  bool durable = true; // the file survives a loss of power
  /// Code that earlier compilations made; nothing: a level's kernels are compiled as one.
  std::shared_ptr<cpu::KernelCache> kernelCache;
  /// Parameters that earlier compilations of clones of this module packed.
  std::shared_ptr<PackedParameters> packedParameters;
  /// For the manifest's "quantization": what calibration measured; empty: nothing.
  llvm::json::Object quantization;
  /// Heads that a gate turns off are computed and masked, not skipped (`--dense-gates`): to compare with.
  bool denseGates = false;
  /// What the entry returns besides its results ("linear,attention": see heddle-insert-observers); empty:
  /// nothing.
  std::string observe;
  /// Called with the name of a stage ("code x86-64-v3", "weights") and how much of it is done, 0 to 1. May be
  /// empty.
  std::function<void(llvm::StringRef, double)> progress;
  /// Called with the module before the first pass ("import") and after each pass with its name. May be empty.
  std::function<void(llvm::StringRef, mlir::ModuleOp)> afterPass;
  llvm::json::Object model;            // facts for the manifest's "model"
  llvm::json::Array sources;           // {name, size_bytes, sha256} of the model's files
  std::vector<std::string> inputPaths; // never overwritten
  std::string text;                    // the member text.bin; empty without a tokenizer
};

/// Runs the passes on `module`, makes code for every target and level and writes the artifact to `path`
/// (atomically).
/// Returns the SHA-256 of the manifest, on which trust decides. Errors are diagnostics of passes (on the
/// context's handler) or carry their message.
llvm::Expected<std::array<uint8_t, 32>> compileToArtifact(mlir::ModuleOp module,
                                                          const ParameterSource &parameters,
                                                          CompileOptions options, llvm::StringRef path);

/// The passes of `options.target` alone: `module` is at kernel level afterwards.
llvm::Error runPasses(mlir::ModuleOp module, const CompileOptions &options);

/// What `--emit mlir|llvm|asm|ptx|npu` prints, for one level; "kernels": the IR that generators make, for all
/// levels.
llvm::Expected<std::string> compileToText(mlir::ModuleOp module, const CompileOptions &options,
                                          llvm::StringRef form);

} // namespace heddle
