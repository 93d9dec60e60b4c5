// weights.bin: the parameters that launches use, in order of first use, packed as kernels read them.
#pragma once
#include "codegen/package/ArtifactWriter.h"
#include "codegen/package/Program.h"
#include "ir/ParameterSource.h"
#include "mlir/IR/SymbolTable.h"
#include <map>

namespace heddle {

class WeightPacker {
public:
  WeightPacker(mlir::ModuleOp module, const ParameterSource &source)
      : module(module), symbols(module), source(source) {}

  /// Finds the parameters in use and gives each a place, 64-byte aligned. Those that are made of the same
  /// bytes in the same way share one.
  llvm::Expected<WeightLayout> plan();
  /// Writes all of weights.bin. Memory stays at a few row groups, however large the model. `progress` gets
  /// bytes written.
  llvm::Error write(ByteSink sink, llvm::function_ref<void(uint64_t)> progress);

private:
  /// What a parameter is made of, without names and locations; equal keys mean equal bytes.
  using Key = std::vector<const void *>;

  /// The first parameter seen that has the bytes of `param`.
  mlir::heddle::ParamOp sameBytes(mlir::heddle::ParamOp param);
  llvm::Error writeParam(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writeRecipe(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writePacked(mlir::heddle::ParamOp from, ByteSink sink);
  void release(mlir::heddle::ParamOp param, uint64_t start, uint64_t size);

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  const ParameterSource &source;
  std::map<Key, mlir::heddle::ParamOp> byKey;
  llvm::DenseMap<mlir::Operation *, mlir::heddle::ParamOp> same;
  std::vector<mlir::heddle::ParamOp> order;
  WeightLayout layout;
};

} // namespace heddle
