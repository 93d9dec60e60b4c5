// weights.bin: the parameters that launches use, in order of first use, packed as kernels read them.
#pragma once
#include "codegen/package/ArtifactWriter.h"
#include "codegen/package/Program.h"
#include "ir/ParameterSource.h"
#include "mlir/IR/SymbolTable.h"
#include <map>

namespace heddle {

/// What a parameter is made of, without names and locations; equal keys mean equal bytes, within a context.
using ParameterKey = std::vector<const void *>;

/// Packed parameters, kept for compilations of clones of one module with the same files.
using PackedParameters = std::map<ParameterKey, std::vector<uint8_t>>;

class WeightPacker {
public:
  /// `kept` may be null.
  WeightPacker(mlir::ModuleOp module, const ParameterSource &source, PackedParameters *kept = nullptr)
      : module(module), symbols(module), source(source), kept(kept) {}

  /// Finds the parameters in use and gives each a place, 64-byte aligned. Those that are made of the same
  /// bytes in the same way share one.
  llvm::Expected<WeightLayout> plan();
  /// Writes all of weights.bin. Memory stays at a few row groups, however large the model. `progress` gets
  /// bytes written.
  llvm::Error write(ByteSink sink, llvm::function_ref<void(uint64_t)> progress);

private:
  /// The first parameter seen that has the bytes of `param`.
  mlir::heddle::ParamOp sameBytes(mlir::heddle::ParamOp param);
  llvm::Error writeKept(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writeParam(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writeRecipe(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writePacked(mlir::heddle::ParamOp from, mlir::heddle::Layout layout, ByteSink sink);
  void release(mlir::heddle::ParamOp param, uint64_t start, uint64_t size);

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  const ParameterSource &source;
  PackedParameters *kept;
  std::map<ParameterKey, mlir::heddle::ParamOp> byKey;
  std::map<mlir::Operation *, ParameterKey> keys; // of the parameters that others are the same as
  llvm::DenseMap<mlir::Operation *, mlir::heddle::ParamOp> same;
  std::vector<mlir::heddle::ParamOp> order;
  WeightLayout layout;
};

} // namespace heddle
