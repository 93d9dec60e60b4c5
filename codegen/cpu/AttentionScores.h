// Scores of a piece of attention work: a work record's rows against the keys of one KV head. What attention
// and top-k share.
//
// Rows times the query heads of the group are stacked into tiles, so that keys are read once for all of them.
// A tile goes over the keys in chunks of 256 absolute positions, 16 keys on the lanes. What a row computes
// never depends on its tile: every sum runs in the order of docs/kernel-abi.md, and keys that a row cannot
// see are left out by selection, so that not even NaN in them matters.
#pragma once
#include "codegen/cpu/AttentionRegion.h"
#include "codegen/cpu/Kernel.h"

namespace heddle::cpu {

/// Addresses of the kernel's operands.
struct AttentionOperands {
  Value query, result, work;
  Value cache, pageTable;           // with a cache
  Value keys, values, keySequences; // without
  Value heads, selectedKeys, skip;  // selections, and what heads that are not selected yield
  CapturedTensors captured;
};

class ScoreBuilder {
protected:
  static constexpr int kLanes = 16;
  static constexpr int64_t kScoreRow = 1024; // bytes of a tile row's scores in one chunk

  struct Range {
    Value begin, end;
  };

  /// What is known of the current item; i64 unless said otherwise.
  struct Item {
    Value head, rowBegin, rowCount, position, slot, firstRow;
    Value query;              // address of the first row's first head of the group
    Value pages;              // address of the slot's row of the page table
    Value keyBase;            // address of this head's part of page 0, or of the transposed keys
    Value keyStart, keyCount; // position of key 0 and number of keys, without a cache
  };

  /// `count` pairs of a row and a head of the group. A dense tile stacks `rows` by `heads` neighbours: tile
  /// row v is row v / heads, head v % heads. A listed one takes pairs of the item's list, and its queries lie
  /// together.
  struct Tile {
    int count, rows, heads;
    bool listed = false;
    Value row, head;                                // of the item, where a dense tile begins
    Value pairs;                                    // address of a listed tile's pairs
    Value query;                                    // address of tile row 0
    llvm::SmallVector<Range, 2> spans, commonSpans; // keys of each span that some row sees, and that all do
    Value begin, end;                               // around the spans
  };

  /// The keys of a tile in one chunk.
  struct Chunk {
    Value begin;              // multiple of 256
    Range keys, common;       // that some row sees, and that all do; common lies inside keys
    Value groups, groupCount; // with a selection of keys: address and number of listed groups of 16 keys
  };

  ScoreBuilder(Emitter &e, mlir::heddle::ScoringOpInterface op, const CpuKernelContext &context);

  int64_t reserve(int64_t bytes) {
    int64_t offset = scratchSize;
    scratchSize += llvm::alignTo(bytes, 64);
    return offset;
  }

  /// The work record of number `index` of `workCount`, taken from both ends in turn.
  void beginRecord(const AttentionOperands &operands, Value workCount, Value index);
  /// Points the item at a KV head (i64). Without a cache its keys are transposed.
  void beginHead(Value head);

  Value rowOf(const Tile &tile, Value v);  // of the item
  Value headOf(const Tile &tile, Value v); // of the group
  RegionRow regionRow(const Tile &tile, Value v);
  /// Finds which keys each tile row can see, and the tile's spans.
  void emitSpans(Tile &tile);
  Range spanOf(Value v, int span);
  /// Calls `body` for the chunks that hold a key of the tile.
  void forChunks(const Tile &tile, llvm::function_ref<void(Chunk &)> body);
  /// Calls `body` with chunk `number` (i64) if it holds a key of the tile.
  void atChunk(const Tile &tile, Value number, llvm::function_ref<void(Chunk &)> body);
  /// Plain products of queries and keys; lanes past the tile's keys hold whatever the page holds.
  void emitScores(const Tile &tile, const Chunk &chunk);

  /// Address of 16 keys from `key` on, a multiple of 16.
  Value keyAddress(Value key);
  /// Of a page of the slot, past page 0.
  Value pageOffset(Value page);
  /// How far it is from a page to the tile's next, or 0: keys and values are read ahead by that much, since
  /// hardware stops at 4 KiB. Null without a cache.
  Value bytesToNextPage(const Tile &tile, Value page);
  void prefetchLines(Value address, int64_t bytes);
  /// Elements as numbers, codes without their scale.
  Value loadF32(mlir::VectorType type, Value address, Type from);
  /// What loaded codes of 16 keys, or of their values, are multiplied by.
  Value scalesAt(Value address);
  /// Where that is, past the address of the keys.
  int64_t keyScales() const { return keyDim * 16 * elementBytes; }
  int64_t valueScales() const { return keyScales() + 16 * 4; }
  int64_t queryOffset(const Tile &tile, int row) const;
  Value clamp(Value x, Range range) { return e.minS(e.maxS(x, range.begin), range.end); }
  Value both(Value a, Value b) { return e.create<mlir::arith::AndIOp>(a, b); }
  Value either(Value a, Value b) { return e.create<mlir::arith::OrIOp>(a, b); }
  Value i32(Value x) { return e.truncate(x, e.i32()); }

  Emitter &e;
  mlir::heddle::ScoringOpInterface op;
  const CpuKernelContext &context;
  KeySpans mask;
  bool cached;
  int64_t queryHeads, kvHeads, group, keyDim;
  Type element;                                  // of keys and values in memory
  int64_t elementBytes, keyBytes, pageBytes = 0; // keyBytes: of a key, with the scales of its codes
  bool hasScales = false;                        // elements are codes
  int64_t maxKeys;                               // of a slot or sequence, rounded up to whole pages
  int accumulators;                              // vectors that a tile's products may keep in registers
  int mostRows;                                  // of a tile
  int64_t keyLimit = 0;                          // positions from here on are not selected; 0: none such
  mlir::VectorType floats, ints;

  // Scratch: byte offsets, then addresses.
  int64_t scratchSize = 0, spansOffset = 0, keysOffset = 0, keyRowsOffset = 0;
  Value scratch;
  const AttentionOperands *operands = nullptr;
  Item item;

private:
  void transposeKeys();
  void listKeyRows();
};

/// Weights of some keys: their sum, and the score that they are relative to; f32, or vectors of it.
struct ChunkSum {
  Value sum, maximum;
};
/// Two of them together, and what each side's weighted values are multiplied by. `newFactor` has no sign.
struct MergedSum {
  ChunkSum total;
  Value oldFactor, newFactor;
};
MergedSum mergeChunk(Emitter &e, ChunkSum old, ChunkSum next);
/// 1 / sum, or 0 where no key was seen.
Value inverseSum(Emitter &e, Value sum);
/// e^x for x <= 0, scalar or vector.
Value expOfNegative(Emitter &e, Value x);
/// Whether an integer, or each of a vector, is not 0.
Value isSet(Emitter &e, Value integer);
/// `x` where it is greater than `best`, which stays where one of the two is NaN.
Value maxKeepingFirst(Emitter &e, Value x, Value best);

/// Calls `use` for all pairs of `rows` splats and `columns` vectors. The fewer of the two stay in registers
/// while the others pass.
void multiplyAll(int rows, int columns, llvm::function_ref<Value(int)> splat,
                 llvm::function_ref<Value(int)> vector, llvm::function_ref<void(int, int, Value, Value)> use);

} // namespace heddle::cpu
