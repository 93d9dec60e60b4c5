// Reading packed weights in kernels: what turns the planes of docs/kernel-abi.md into vectors.
#pragma once
#include "codegen/cpu/Emit.h"
#include "ir/PackedLayout.h"

namespace heddle::cpu {

/// Row group vectors: with 8 lanes a group of 16 rows is two vectors, `half` 0 and 1, known when emitting or
/// not.
struct Half {
  int known = 0;
  Value index; // i64; overrides `known`
  /// `base` moved by `bytes` per half.
  Value offset(Emitter &e, Value base, int64_t bytes) const {
    return index ? e.at(base, e.mul(index, bytes)) : e.at(base, known * bytes);
  }
};

/// One native vector of rows over one chunk (32 or 64 elements) of a super-block. Loads as it is asked.
class PackedChunk {
public:
  /// `block` is the super-block's address; `chunk` (i64) counts chunks inside it, null where there is one.
  PackedChunk(Emitter &e, const PackedLayout &layout, Value block, Value chunk, Half half);

  /// The u8 codes of elements 4 * quad ... 4 * quad + 3 of the chunk, a dword per row.
  Value codes(int quad);
  /// Factor S of the chunk's sub-block number `sub`; `scale` is what superScale() gave.
  Value scale(int sub, Value superScale);
  /// -M of that sub-block.
  Value negativeMinimum(int sub, Value superMinimum);

private:
  Value lowCodes(int quad);
  Value addHighBits(int quad, Value low);
  Value plane(llvm::SmallVectorImpl<Value> &cache, Value base, int vector);

  Emitter &e;
  const PackedLayout &layout;
  Value low, high, subScales, subMinimums;
  llvm::SmallVector<Value> lowVectors, highVectors;
};

/// f32 of the f16 scales or minimums at `offset` of a super-block.
Value superFactor(Emitter &e, Value block, int64_t offset, Half half);

/// Elements k of dense rows at `address` (which has the group's base and half applied) as f32; of FP8 before
/// the scale.
Value loadDense(Emitter &e, StorageFormat format, Value address);

} // namespace heddle::cpu
