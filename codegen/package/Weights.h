// weights.bin: the parameters that launches use, in order of first use, packed as kernels read them.
#pragma once
#include "codegen/package/ArtifactWriter.h"
#include "codegen/package/Program.h"
#include "ir/ParameterSource.h"

namespace heddle {

class WeightPacker {
public:
  WeightPacker(mlir::ModuleOp module, const ParameterSource &source) : module(module), source(source) {}

  /// Finds the parameters in use and gives each a place, 64-byte aligned.
  llvm::Expected<WeightLayout> plan();
  /// Writes all of weights.bin. Memory stays at a few row groups, however large the model. `progress` gets bytes written.
  llvm::Error write(ByteSink sink, llvm::function_ref<void(uint64_t)> progress);

private:
  llvm::Error writeParam(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writeRecipe(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writePacked(mlir::heddle::PackOp pack, mlir::heddle::ParamOp from, ByteSink sink);

  mlir::ModuleOp module;
  const ParameterSource &source;
  std::vector<mlir::heddle::ParamOp> order;
  WeightLayout layout;
};

} // namespace heddle
