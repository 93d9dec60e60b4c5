// The score and mask regions of attention in code: what is the same for all keys once per row and head, the
// rest as vectors over key positions; and which ranges of keys a mask can let through.
#pragma once
#include "codegen/cpu/Emit.h"
#include "ir/Heddle.h"
#include "mlir/IR/IRMapping.h"

namespace heddle::cpu {

/// A place on the axis of key positions: the sum of `plus` less that of `minus`, i32 values of the region
/// that are the same for all keys, and `add`.
struct KeyBound {
  llvm::SmallVector<Value, 2> plus, minus;
  int64_t add = 0;
};

/// Keys from every `lower` up to but not including any `upper`, none where a condition is false.
struct KeySpan {
  llvm::SmallVector<KeyBound, 2> lower, upper;
  llvm::SmallVector<Value, 1> conditions;
};

/// The keys that a mask lets through lie in the union of the spans.
struct KeySpans {
  llvm::SmallVector<KeySpan, 2> spans;
  bool exact = true; // and all keys in them are let through
};

/// Reads comparisons of the key's position joined by `arith.andi` and `arith.ori`; an empty region lets all
/// keys through.
KeySpans spansOfMask(mlir::Region &mask);

/// An op of `region` that uses what is neither inside, nor a constant, nor the tensor of a `heddle.element`.
mlir::Operation *findCapture(mlir::Region &region);

/// What a row and a head fix of a region's arguments; i32.
struct RegionRow {
  Value queryHead, kvHead, position, slot, row;
};

/// Tensors that regions read.
struct CapturedTensors {
  llvm::DenseMap<Value, Value> addresses; // of the tensors as the region names them
  Value rows;                             // i64, of those whose first dimension is dynamic
};

/// One region; `begin` may be called again for another row.
class RegionCode {
public:
  static constexpr int kLanes = 16;

  RegionCode(Emitter &e, mlir::Region &region, const CapturedTensors &captured);
  /// Emits what does not depend on the key.
  void begin(const RegionRow &row);
  /// What the region yields for 16 keys from `firstKey` (i32) on.
  Value emit(Value score, Value firstKey);
  /// Where a bound of this region lies; i64.
  Value bound(const KeyBound &bound);
  /// A value that does not depend on the key.
  Value uniform(Value value) { return uniforms.lookup(value); }

private:
  Value vectorOf(Value value);
  Value emitElement(mlir::heddle::ElementOp op);
  Value contiguousStart(Value value);
  Value clampIndex(Value index, Value size);
  Value sizeOf(mlir::heddle::ElementOp op, unsigned dimension);
  Value addressOf(mlir::heddle::ElementOp op);

  Emitter &e;
  mlir::Block *block;
  const CapturedTensors &captured;
  llvm::DenseSet<Value> varying; // depend on the key
  mlir::IRMapping uniforms, vectors;
  Value firstKey;
};

} // namespace heddle::cpu
