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

/// One or two products of one input, and the elementwise ops that follow them, done a step of columns at a
/// time.
struct Product {
  /// An argument that the epilogue reads, in f32.
  struct Extra {
    mlir::Value argument;
    bool isBias;   // one row for all
    int64_t place; // among biases or among rows of a step
  };
  llvm::SmallVector<mlir::heddle::LinearOp, 2> linears;
  llvm::SmallVector<mlir::Operation *> ops; // linears and what follows, in order
  mlir::Value result;
  int64_t groups = 1;             // of columns whose codes share a scale; many: sums are added up
  bool streams = false;           // results go to memory step by step
  mlir::heddle::QuantizeOp feeds; // makes codes of the result for the next product, group by group
  bool isFed = false;             // by the product before
  bool isLoaded = false;          // its first step is on its way
  llvm::SmallVector<Extra> extras;
  int64_t rowExtras = 0, area = 0; // bytes

  int64_t out();
  int64_t in();
};

/// How many rows and columns of products are done at a time.
struct RowsTiling {
  int64_t rows, columns;
  bool separateBanks = true; // what two units work on at once shares no bank
};

class RowsBuilder {
public:
  RowsBuilder(Emitter &e, mlir::heddle::KernelOp kernel, const KernelContext &context, RowsTiling tiling)
      : e(e), kernel(kernel), context(context), rowTile(tiling.rows), stepColumns(tiling.columns),
        separateBanks(tiling.separateBanks), body(kernel.getBody().front()) {}

  llvm::Error emit(Field rows);
  /// Whether all tiles had room.
  bool fits() const {
    return hasSums && highest <= int64_t(e.machine.bank_bytes) * e.machine.scratchpad_banks;
  }

private:
  using Value = mlir::Value;

  // RowsBuilder.cpp
  void findArguments();
  llvm::Error emitTile();
  llvm::Error emitOp(mlir::Operation &op);
  llvm::Error elementwise(mlir::Operation &op);
  llvm::Error quantize(mlir::heddle::QuantizeOp op);
  /// Codes of numbers that share a scale a row, and the row's amax.
  void makeCodes(Tile codes, Tile amax, Tile x, Extent extent);
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
  /// Gives back the tiles that `op`, or ops that were done with it, read last.
  void release(mlir::Operation *op, mlir::Operation *last);
  void giveValue(Value value, Tile tile);
  void storeYielded(mlir::Operation *op);
  llvm::Error emitProductOps(size_t number);
  /// Numbers of a parameter of one dimension, with `exponent` fraction bits; loaded once for all tiles.
  Tile parameter(Value value, int exponent);

  // Places in the scratchpad, all tiles' life long or for one tile of rows.
  int64_t take(int64_t bytes, int64_t alignment = 64);
  void give(int64_t place, int64_t bytes);
  /// Codes that the array reads lie in banks of their own.
  int64_t codesAlignment() const { return products.empty() || !separateBanks ? 64 : e.machine.bank_bytes; }
  Tile takeTile(int64_t columns) { return {take(rowTile * columns * 4), columns * 4, S32}; }
  void giveTile(Tile tile, int64_t columns) { give(tile.at.number, rowTile * columns * 4); }

  // RowsNorms.cpp
  /// dst = x scaled to root mean square 1 (or length 1), times `weight` where there is one.
  void normalize(Value input, Tile dst, Tile x, std::optional<Value> weight, double epsilon, bool isLength);
  llvm::Error rmsNorm(mlir::heddle::RmsNormOp op);
  llvm::Error layerNorm(mlir::heddle::LayerNormOp op);
  llvm::Error l2Normalize(mlir::heddle::L2NormalizeOp op);

  // RowsProducts.cpp
  void findProducts();
  void growProduct(Product &product);
  llvm::Error checkProducts();
  void placeProducts();
  void useArea(Product *product);
  void other(Field half, int64_t distance);
  Field halfOf(Field which, int64_t bytes);
  Field columnsOf(Product &product, Field number);
  Field panelsOf(Product &product, Field number);
  void loadWeights(Product &product, Field number, Field group);
  void loadStep(Product &product, Field number);
  Tile extraTile(Product &product, const Product::Extra &extra, Field half);
  Tile sumsTile(size_t linear);
  Tile outTile(Field half);
  Tile columnsAt(Tile tile, Field bytes);
  void multiply(Product &product, Tile codes);
  llvm::Error finishStep(Product &product, std::optional<Tile> to);
  void storeStep(Product &product, Field number);
  void flushStore();
  void steps(int64_t count, llvm::function_ref<void(Field)> load, llvm::function_ref<void()> work,
             llvm::function_ref<void()> following);
  void prefetch(size_t number);
  llvm::Error emitProduct(size_t number);
  Tile startSums(Product &product);
  int64_t loadRecords(Product &product);
  void addStep(Product &product, Tile amax, int64_t records, Tile sums);
  llvm::Error accumulate(size_t number);
  llvm::Error emitPair(size_t number);

  // RowsTables.cpp
  llvm::Error embedding(mlir::heddle::EmbeddingOp op);
  llvm::Error gatherRows(mlir::heddle::GatherRowsOp op);
  llvm::Error poolRows(mlir::heddle::PoolRowsOp op);
  llvm::Error rope(mlir::heddle::RopeOp op);
  llvm::Error cacheAppend(mlir::heddle::CacheAppendOp op);

  Emitter &e;
  mlir::heddle::KernelOp kernel;
  const KernelContext &context;
  const int64_t rowTile, stepColumns;
  const bool separateBanks;
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

  // Products. Buffers with two halves: the first, and the distance to the second. Registers hold which half
  // is filled next and which is read next.
  std::vector<Product> products;
  llvm::DenseMap<mlir::Operation *, size_t> productOf;
  llvm::SmallPtrSet<mlir::Operation *, 8> done; // with a product
  llvm::SmallPtrSet<mlir::Value, 8> stored;     // yielded values that are in memory
  int64_t panels = 0, panelHalf = 0, smalls = 0, smallHalf = 0, area = 0, sumsHalf = 0;
  bool hasSums = true; // room in the accumulators
  Field panelIn, panelNow, extrasIn, extrasNow, outNow, outStored, sumsNow, step;
  Product *areaUser = nullptr, *unstored = nullptr;
};

} // namespace heddle::npu
