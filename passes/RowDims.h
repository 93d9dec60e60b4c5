// Which dimension of the call a value's rows are: the analysis behind shape inference, fusion and memory
// planning.
#pragma once
#include "ir/Heddle.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::heddle {

/// The rows of every value of one function. Rows have a name: that of a named dimension ("n", "m", "s"), or
/// the size in digits where the first dimension is static ("4").
class RowDims {
public:
  struct Bounds {
    int64_t min, max;
  };

  /// Walks the function once. Fails with a diagnostic where rows of different names meet in one op, where a
  /// `?` of an argument has no name, or where one name has two bounds.
  static FailureOr<RowDims> compute(func::FuncOp function);

  /// Name of the value's rows; empty for values without rows (parameters, caches, scalars).
  StringRef of(Value value) const {
    StringAttr name = names.lookup(value);
    return name ? name.getValue() : StringRef();
  }

  /// Name of the rows that `op` works on, one result row from each (of its operands for an op without
  /// results).
  StringRef of(Operation *op) const;

  /// Whether `name` is a declared dimension or a number.
  bool knows(StringRef name) const;

  /// Bounds of a name that `of` returned and that `knows` confirms.
  Bounds bounds(StringRef name) const;

  /// The declared and inferred dimensions, in order of appearance.
  ArrayRef<DimAttr> dims() const { return declared; }

private:
  LogicalResult declare(func::FuncOp function);
  LogicalResult infer(Operation *op);
  void declareSequences(MLIRContext *context, int64_t atMost);

  llvm::DenseMap<Value, StringAttr> names;
  SmallVector<DimAttr> declared;
};

/// The operands of `op` whose rows are the rows that it works on; all of them must agree.
SmallVector<Value> rowOperands(Operation *op);

/// Bytes of a value with `rows` rows: tensors densely, activations as ir/ActivationLayout.h has them. At most
/// kMaxBytes, which is what sizes past it count as.
int64_t bytesOf(Type type, int64_t rows);
inline constexpr int64_t kMaxBytes = int64_t(1) << 48;

} // namespace mlir::heddle
