// Emits a rows kernel: tiles of rows, each computed op by op in the scratchpad.
//
// A value of the kernel's body is a tile [rows][columns] of numbers with kFraction fraction bits. Rows of
// arguments are loaded before anything is computed, results are stored after everything is, so that a tile
// costs few meetings of the DMA queue and the vector unit.
#pragma once
#include "codegen/RowValues.h"
#include "codegen/npu/Kernel.h"
#include "codegen/npu/Scratch.h"
#include <map>

namespace heddle::npu {

class RowsBuilder {
public:
  /// Code that does `rowTile` rows at a time.
  RowsBuilder(Emitter &e, mlir::heddle::KernelOp kernel, const KernelContext &context, int64_t rowTile)
      : e(e), kernel(kernel), context(context), rowTile(rowTile), body(kernel.getBody().front()) {}

  llvm::Error emit(Field rows);
  /// Whether all tiles had room.
  bool fits() const { return highest <= int64_t(e.machine.bank_bytes) * e.machine.scratchpad_banks; }

private:
  using Value = mlir::Value;

  // RowsBuilder.cpp
  void findArguments();
  llvm::Error emitTile();
  llvm::Error emitOp(mlir::Operation &op);
  llvm::Error elementwise(mlir::Operation &op);
  llvm::Error quantize(mlir::heddle::QuantizeOp op);
  void loadRows(Value argument);
  void storeRows(Value value, Field operand);
  bool isRowArgument(Value value) const { return rowArguments.contains(value); }
  bool isYielded(Value value) const;
  /// The tile of a value past reshapes.
  Tile tileOf(Value value);
  Extent extentOf(Value value) { return {m, rowColumns(value.getType())}; }
  /// The same tile as rows of the innermost dimension.
  Extent innermost(Value value);
  /// A tile for a result, over an operand's that nothing else reads if there is one.
  Tile resultTile(mlir::Operation &op);
  Tile resultTile(mlir::Operation &op, bool mayOverwrite);
  void release(mlir::Operation &op);
  /// Numbers of a parameter of one dimension, with `exponent` fraction bits; loaded once for all tiles.
  Tile parameter(Value value, int exponent);

  // Places in the scratchpad, all tiles' life long or for one tile of rows.
  int64_t take(int64_t bytes);
  void give(int64_t place, int64_t bytes);
  Tile takeTile(int64_t columns) { return {take(rowTile * columns * 4), columns * 4, S32}; }
  void giveTile(Tile tile, int64_t columns) { give(tile.at.number, rowTile * columns * 4); }

  // RowsNorms.cpp
  /// dst = x scaled to root mean square 1 (or length 1), times `weight` where there is one.
  void normalize(Value input, Tile dst, Tile x, std::optional<Value> weight, double epsilon, bool isLength);
  llvm::Error rmsNorm(mlir::heddle::RmsNormOp op);
  llvm::Error layerNorm(mlir::heddle::LayerNormOp op);
  llvm::Error l2Normalize(mlir::heddle::L2NormalizeOp op);

  // RowsTables.cpp
  llvm::Error embedding(mlir::heddle::EmbeddingOp op);
  llvm::Error gatherRows(mlir::heddle::GatherRowsOp op);
  llvm::Error poolRows(mlir::heddle::PoolRowsOp op);
  llvm::Error rope(mlir::heddle::RopeOp op);
  llvm::Error cacheAppend(mlir::heddle::CacheAppendOp op);

  Emitter &e;
  mlir::heddle::KernelOp kernel;
  const KernelContext &context;
  const int64_t rowTile;
  mlir::Block &body;

  llvm::SmallPtrSet<Value, 8> rowArguments; // whose rows are loaded with each tile
  llvm::DenseMap<Value, Field> operands;    // of arguments: where they are
  llvm::DenseMap<Value, Field> pageTables;  // of caches: where theirs are
  llvm::SmallVector<Field> outputs;         // of yielded values
  llvm::DenseMap<Value, Tile> tiles;
  std::map<std::pair<void *, int>, Tile> parameters; // by value and fraction bits
  std::map<int64_t, int64_t> freePlaces;             // place to bytes
  int64_t highest = 0;
  Field m;     // rows of this tile
  Field first; // number of its first row
};

} // namespace heddle::npu
