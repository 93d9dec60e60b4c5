// Emits one attention item: a work record's rows against the keys of one KV head.
//
// Rows times the query heads of the group are stacked into tiles, so that keys and values are read once for
// all of them. A tile goes over the keys in chunks of 256 absolute positions: scores (16 keys on the lanes),
// softmax of the chunk, weighted values (elements of the head on the lanes), merge. What a row computes never
// depends on its tile: every sum runs in the order of docs/kernel-abi.md, and keys that a row cannot see are
// left out by selection, so that not even NaN in them matters.
#pragma once
#include "codegen/cpu/AttentionRegion.h"
#include "codegen/cpu/Kernel.h"

namespace heddle::cpu {

/// Addresses of the kernel's operands.
struct AttentionOperands {
  Value query, result, work;
  Value cache, pageTable; // with a cache
  Value keys, values;     // without
};

class AttentionBuilder {
public:
  AttentionBuilder(Emitter &e, mlir::heddle::AttentionOp op, const CpuKernelContext &context);

  /// `items` is the number of all work records.
  void emitItem(const AttentionOperands &operands, Value workCount, Value scratch, Value item);
  int64_t scratchBytes() const { return scratchSize; }
  /// Most rows of a work record: whole tiles.
  int64_t workRows() const;

private:
  static constexpr int kLanes = 16;
  static constexpr int64_t kScoreRow = 1024; // bytes of a tile row's scores in one chunk

  /// What is known of the current item; i64 unless said otherwise.
  struct Item {
    Value head, rowCount, position, slot;
    Value query, result;      // addresses of the first row's first head of the group
    Value pages;              // address of the slot's row of the page table
    Value keyBase, valueBase; // addresses of this head's part of page 0, or of the transposed keys and the
                              // sequence's values
    Value keyStart, keyCount; // position of key 0 and number of keys, without a cache
  };

  /// `rows` rows by `heads` heads of the group, stacked: tile row v is row v / heads, head v % heads.
  struct Tile {
    int rows, heads;
    Value row, head;              // of the item, where the tile begins
    Value query;                  // address of tile row 0
    Value position;               // of its first row
    Value begin, end;             // keys that some row sees ...
    Value commonBegin, commonEnd; // ... and that all do; [commonBegin, commonEnd) lies inside [begin, end)
    int count() const { return rows * heads; }
  };

  struct Range {
    Value begin, end;
  };
  /// Keys that the row at `position` can see by causality and window.
  Range visibleKeys(Value position);

  /// All rows of the item with tiles of the largest of `sizes` rows that it fills.
  void emitTiles(llvm::ArrayRef<int> sizes, Value head);
  void emitTile(int rows, Value row, Value head);
  void emitChunk(const Tile &tile, Value chunk);
  void emitScores(const Tile &tile, Value chunkBegin, Range keys);
  void emitSoftmax(const Tile &tile, Value chunkBegin, Range keys);
  void emitValues(const Tile &tile, Value chunkBegin, Range keys);
  void emitValueSlice(const Tile &tile, Value chunkBegin, Range keys, Value element, int vectors, int width);
  void finishTile(const Tile &tile);
  void transposeKeys(const AttentionOperands &operands, Value firstRow);

  /// Address of 16 keys from `key` on, a multiple of 16.
  Value keyAddress(Value key);
  Value loadF32(mlir::VectorType type, Value address, Type element);
  int64_t queryOffset(const Tile &tile, int row) const;
  /// e^x for x <= 0.
  Value exp(Value x);
  Value greater(Value a, Value b) {
    return e.create<mlir::arith::CmpFOp>(mlir::arith::CmpFPredicate::OGT, a, b);
  }
  Value maxKeepingFirst(Value x, Value best) { return e.select(greater(x, best), x, best); }
  Value clamp(Value x, Range range) { return e.minS(e.maxS(x, range.begin), range.end); }

  Emitter &e;
  mlir::heddle::AttentionOp op;
  const CpuKernelContext &context;
  MaskSummary mask;
  bool cached;
  int64_t queryHeads, kvHeads, group, keyDim, valueDim;
  Type element; // of keys and values in memory
  int64_t elementBytes, pageBytes = 0, valueRowBytes;
  int tileHeads, tileRows, accumulators; // vectors that a tile's products may keep in registers
  mlir::VectorType floats, ints;

  // Scratch: byte offsets, then addresses.
  int64_t scratchSize = 0, maximaOffset, sumsOffset, oldFactorsOffset, newFactorsOffset, masksOffset,
          outputsOffset, keysOffset;
  Value scratch;
  Item item;
};

} // namespace heddle::cpu
