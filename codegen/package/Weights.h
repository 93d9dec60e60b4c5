// The parameters that launches use, in order of first use, packed as kernels read them. One member holds
// those of one target; with several targets, a member each for every set of targets that parameters are
// shared by.
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

/// What the passes for `target` made of a model.
struct CompiledModule {
  std::string target;
  mlir::ModuleOp module;
  /// Code computes what the program says but for rounding in f32: samples may compare with it.
  bool isExact = true;
};

struct WeightMember {
  std::string name;
  uint64_t size = 0;
  std::vector<mlir::heddle::ParamOp> parameters; // in this order
};

class WeightPacker {
public:
  /// The modules are of one context. `kept` may be null.
  WeightPacker(llvm::ArrayRef<CompiledModule> modules, const ParameterSource &source,
               PackedParameters *kept = nullptr);

  /// Finds the parameters in use and gives each a place, 64-byte aligned. Those that are made of the same
  /// bytes in the same way share one, between modules too. Returns the layout of each module's weights.
  llvm::Expected<std::vector<WeightLayout>> plan();
  llvm::ArrayRef<WeightMember> members() const { return planned; }
  /// Writes all of a member. Memory stays at a few row groups, however large the model. `progress` gets bytes
  /// written.
  llvm::Error write(size_t member, ByteSink sink, llvm::function_ref<void(uint64_t)> progress);

private:
  mlir::heddle::ParamOp lookup(mlir::heddle::ParamOp beside, mlir::Attribute symbol);
  /// The first parameter seen that has the bytes of `param`.
  mlir::heddle::ParamOp sameBytes(mlir::heddle::ParamOp param);
  llvm::Error writeKept(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writeParam(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writeRecipe(mlir::heddle::ParamOp param, ByteSink sink);
  llvm::Error writePacked(mlir::heddle::ParamOp from, mlir::heddle::Layout layout, ByteSink sink);
  void release(mlir::heddle::ParamOp param, uint64_t start, uint64_t size);

  std::vector<CompiledModule> modules;
  std::map<mlir::Operation *, mlir::SymbolTable> symbols; // of each module
  const ParameterSource &source;
  PackedParameters *kept;
  std::map<ParameterKey, mlir::heddle::ParamOp> byKey;
  std::map<mlir::Operation *, ParameterKey> keys; // of the parameters that others are the same as
  llvm::DenseMap<mlir::Operation *, mlir::heddle::ParamOp> same;
  std::vector<WeightMember> planned;
};

} // namespace heddle
