// Writes model-level IR: parameters with their recipes, entries, and the ops that the architectures share.
#pragma once
#include "frontends/common/ParameterTable.h"
#include "ir/Heddle.h"
#include "mlir/IR/BuiltinOps.h"

namespace heddle {

/// What a compiled model is sized for.
struct ModelBounds {
  int64_t context; // positions of a sequence
  int64_t slots;   // sequences of a session
  int64_t rows;    // rows of one call
};

/// An argument of an entry: 32-bit indices, one for each row of a named dimension.
struct EntryInput {
  llvm::StringRef name, dimension;
  int64_t least, most;
};

class GraphBuilder {
public:
  using Value = mlir::Value;

  /// Declares a heddle.param for each of `specs` that `table` has.
  GraphBuilder(mlir::ModuleOp module, llvm::ArrayRef<ParameterSpec> specs, const ParameterTable &table);

  bool has(llvm::StringRef role) const { return parameterTypes.contains(role); }

  // At module level, before beginEntry().

  /// A table of cosines and sines of `rows` positions for the first `width` elements of a head, as parameter
  /// `name`. `factors` names a parameter that divides the frequencies; empty means none.
  void declareRopeTable(llvm::StringRef name, int64_t rows, int64_t width, double base, double scale,
                        llvm::StringRef factors);
  /// Parameter `name`: the rows of table `table`, each plus row 0 of `addend`.
  void declareTablePlusRow(llvm::StringRef name, llvm::StringRef table, llvm::StringRef addend);
  void declareCache(llvm::StringRef name, int64_t heads, int64_t keyDim, int64_t valueDim, int64_t window);

  // Inside an entry. `node` becomes the op's location: the stable id of the source node.

  /// Opens the entry `name` and gives its arguments. endEntry() sets the result.
  llvm::SmallVector<Value> beginEntry(llvm::StringRef name, llvm::ArrayRef<EntryInput> inputs);
  void endEntry(Value result, llvm::StringRef name, const EntryInput &rows);

  Value parameter(llvm::StringRef role);
  Value cache(llvm::StringRef name);
  Value embedding(llvm::StringRef role, Value indices, float scale, llvm::StringRef node);
  /// With the bias of role + ".bias" if there is one.
  Value linear(Value input, llvm::StringRef role, llvm::StringRef node);
  Value rmsNorm(Value input, llvm::StringRef role, float epsilon, llvm::StringRef node);
  Value layerNorm(Value input, llvm::StringRef role, float epsilon, llvm::StringRef node);
  Value rope(mlir::heddle::Pairing pairing, Value input, llvm::StringRef table, Value positions,
             llvm::StringRef node);
  Value unary(mlir::heddle::UnaryKind kind, Value input, llvm::StringRef node);
  Value binary(mlir::heddle::BinaryKind kind, Value lhs, Value rhs, llvm::StringRef node);
  Value add(Value lhs, Value rhs, llvm::StringRef node) {
    return binary(mlir::heddle::BinaryKind::Add, lhs, rhs, node);
  }
  Value scale(Value input, float factor, llvm::StringRef node);
  /// [rows, heads * width] -> [rows, heads, width].
  Value splitHeads(Value input, int64_t heads, llvm::StringRef node);
  /// The reverse.
  Value joinHeads(Value input, llvm::StringRef node);
  Value gatherRows(Value input, Value indices, llvm::StringRef node);
  Value poolRows(mlir::heddle::PoolKind kind, Value input, Value sequences, llvm::StringRef node);
  Value l2Normalize(Value input, llvm::StringRef node);

  struct AttentionOptions {
    float scale = 1;
    float softcap = 0; // c * tanh(score / c); 0: none
    bool causal = true;
    int64_t window = 0; // tokens that a row sees back, itself included; 0: all
  };
  /// `cache` may be null: then the keys are the rows of the call with the same slot.
  Value attention(Value query, Value keys, Value values, Value cache, Value slots, Value positions,
                  const AttentionOptions &options, llvm::StringRef node);

private:
  mlir::Location at(llvm::StringRef node) { return mlir::NameLoc::get(builder.getStringAttr(node)); }
  mlir::RankedTensorType f32Tensor(llvm::ArrayRef<int64_t> shape) {
    return mlir::RankedTensorType::get(shape, builder.getF32Type());
  }
  void declareSource(const ParameterSpec &spec, const StoredTensor &stored);
  mlir::heddle::ParamOp declareParam(llvm::StringRef name, mlir::Type type, llvm::StringRef source);
  void declareDerived(llvm::StringRef name, mlir::Type type, llvm::ArrayRef<llvm::StringRef> from,
                      llvm::function_ref<Value(mlir::OpBuilder &, mlir::ValueRange)> recipe);
  mlir::ArrayAttr dimension(const EntryInput &input);
  void fillScoreRegion(mlir::Region &region, float softcap, mlir::Location loc);
  void fillMaskRegion(mlir::Region &region, const AttentionOptions &options, mlir::Location loc);

  mlir::ModuleOp module;
  mlir::OpBuilder builder;
  mlir::func::FuncOp entry;
  llvm::StringMap<mlir::Type> parameterTypes;
  llvm::StringMap<Value> fetched; // get_param and get_cache of the open entry
  llvm::StringMap<mlir::Type> cacheTypes;
};

} // namespace heddle
