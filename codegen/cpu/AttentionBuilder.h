// Emits one attention item: a work record's rows against the keys of one KV head.
//
// A tile (AttentionScores.h) goes over the keys chunk by chunk: scores, softmax of the chunk, weighted values
// (elements of the head on the lanes), merge. With a selection of heads, tiles take the pairs of rows and
// heads that are selected; with one of keys, a chunk lists the groups of 16 keys and the keys that any of the
// tile's rows wants, and works on those alone.
#pragma once
#include "codegen/cpu/AttentionScores.h"

namespace heddle::cpu {

class AttentionBuilder : ScoreBuilder {
public:
  AttentionBuilder(Emitter &e, mlir::heddle::AttentionOp op, const CpuKernelContext &context);

  /// `workCount` is the number of all work records.
  void emitItem(const AttentionOperands &operands, Value workCount, Value scratch, Value item);
  int64_t scratchBytes() const { return scratchSize; }
  /// Most rows of a work record: whole tiles.
  int64_t workRows() const;

private:
  // AttentionBuilder.cpp
  /// All rows of the item with tiles of the largest of `sizes` rows that it fills.
  void emitTiles(llvm::ArrayRef<int> sizes, Value head);
  void gatherValues();
  void emitDenseTile(int rows, Value row, Value head);
  void emitTile(Tile &tile);
  void resetState(const Tile &tile);
  Range ownChunks();
  void storeChunk(const Tile &tile, Value number);
  void copyFloats(Value from, Value to, int64_t count);
  void emitChunk(const Tile &tile, Chunk &chunk);
  void emitSoftmax(const Tile &tile, const Chunk &chunk);
  void mergeStates();
  void emitValues(const Tile &tile, const Chunk &chunk);
  void emitValueSlice(const Tile &tile, const Chunk &chunk, Value element, int vectors, int width);
  void finishTile(const Tile &tile);

  // AttentionSelection.cpp
  /// Lists the selected pairs of rows and heads; the others yield their skip value. Returns how many there
  /// are.
  Value listPairs();
  void emitListedTiles(Value count);
  /// Lists the chunk's groups and keys that some row of the tile selects.
  void listKeys(const Tile &tile, Chunk &chunk);
  /// Lists group `g` and its keys in `lanes`, an i16, behind those that are listed. Returns the new counts.
  Values listGroup(const Chunk &chunk, Value lanes, Value g, ValueRange counts);
  Value bitsBetween(Value begin, Value end);
  /// Which of the 16 keys of group `group` of the chunk a row of the item selects; i16.
  Value selectedLanes(Value row, const Chunk &chunk, Value group);

  /// Calls `body` for the chunk's groups of 16 keys.
  Values forGroups(const Chunk &chunk, ValueRange initial,
                   llvm::function_ref<Values(Value group, ValueRange carried)> body);
  /// Address of the result of a row and a head of the group.
  Value resultAddress(Value row, Value head);
  /// Address of a head's values at key 0, or in page 0.
  Value valueBase();
  Value seen(Value weight);

  mlir::heddle::AttentionOp attention;
  int64_t valueDim, valueRowBytes, resultBytes; // the last of a row's head
  int tileHeads, tileRows;
  std::optional<mlir::heddle::SelectionType> heads, keys; // selections
  bool storesMasks; // lanes that are seen do not follow from the spans alone

  int64_t maximaOffset, sumsOffset, oldFactorsOffset, newFactorsOffset, chunkMaximaOffset, chunkSumsOffset,
      visibleOffset, masksOffset, outputsOffset, valuesOffset = 0, pairsOffset = 0, queriesOffset = 0,
                                                 groupListOffset = 0, keyListOffset = 0;
  Value keyCount;  // of the list
  Value seenByAll; // i1: every row of the tile sees every listed key
  Value split;     // number of the item among those that share out a work record's context
};

} // namespace heddle::cpu
