// Emits the body of a rows kernel for one row.
//
// A value of the kernel's body is a row in memory (an argument's, an output's or scratch) or pending: known
// by how its columns are computed. Pending values of one width are computed together in one loop over the
// columns, and only those that something outside of the loop reads are stored. All levels use the same 16
// lanes, so all compute the same bits.
#pragma once
#include "codegen/RowValues.h"
#include "codegen/cpu/Emit.h"
#include "codegen/cpu/Kernel.h"
#include "ir/ActivationLayout.h"
#include "llvm/Support/Error.h"
#include <functional>

namespace heddle::cpu {

class RowsBuilder {
public:
  RowsBuilder(Emitter &e, mlir::heddle::KernelOp kernel, const CpuKernelContext &context);

  /// Loads the operand table; then emitRow may be called inside the loop over rows.
  void begin(const KernelArguments &arguments);
  llvm::Error emitRow(Value row);
  int64_t scratchBytes() const { return scratchSize; }

private:
  static constexpr int kLanes = 16;

  /// Up to 16 columns from `index` (i64) on. Where fewer are left in the row, the others are off in `mask`,
  /// else null.
  struct Column {
    Value index;
    int64_t more = 0; // added to index
    int lanes = kLanes;
    Value mask;
  };

  /// A value that a loop over columns will compute. `quantize` consumes instead, two blocks at a time.
  struct Pending {
    mlir::Operation *op;
    std::function<Value(const Column &)> compute;
  };

  // RowsBuilder.cpp: memory, pending values and loops.
  llvm::Error emitOp(mlir::Operation &op);
  llvm::Error unsupportedOp(mlir::Operation &op, const llvm::Twine &expectation);
  Value operandOf(Value argument) { return operands.lookup(argument); }
  /// Address of a value's row; computes it first if it is pending.
  Value memory(Value value);
  /// Where the row of a result that is stored goes.
  Value destination(Value result);
  Value scratch(int64_t bytes);
  /// i64 value of an index tensor at this row, clamped to [0, count).
  Value clampedIndex(Value indices, Value count);
  /// Rows of an argument as i64.
  Value rowCount(Value argument);
  void defer(mlir::Operation *op, std::function<Value(const Column &)> compute) {
    pending.push_back({op, std::move(compute)});
  }
  void flush();
  void flushWidth(int64_t columns, llvm::ArrayRef<Pending> group);
  Value columnOf(Value value, const Column &column);
  Value loadColumn(Value address, const Column &column);
  void storeColumn(Value value, Value address, const Column &column);
  /// Calls `body` for all columns, `count` (1, 2 or 4) vectors at a time where the row has them.
  Values forColumns(int64_t columns, int count, ValueRange initial,
                    llvm::function_ref<Values(llvm::ArrayRef<Column>, ValueRange)> body);
  void copyRow(Value from, Value to, int64_t columns);
  /// Calls `body` for pieces of at most 16 elements with their offset and width.
  void forPieces(int64_t count, llvm::function_ref<void(Value offset, int width)> body);

  // RowsNorms.cpp
  void emitRmsNorm(mlir::heddle::RmsNormOp op);
  void emitLayerNorm(mlir::heddle::LayerNormOp op);
  void emitL2Normalize(mlir::heddle::L2NormalizeOp op);
  llvm::Error emitPoolRows(mlir::heddle::PoolRowsOp op);
  using Normalize = std::function<Value(const Column &, Value x)>;
  /// Normalizes every innermost row: `prepare` reduces the one at an address, its result maps columns.
  void emitNorm(mlir::Operation *op, llvm::function_ref<Normalize(Value address, int64_t columns)> prepare);
  /// Sum over a row of `term(x)` in the fixed order: element i in partial sum i mod 64, those added in pairs.
  Value sumColumns(Value address, int64_t columns, llvm::function_ref<Value(Value x, Value sum)> accumulate);

  // RowsEmbedding.cpp
  llvm::Error emitEmbedding(mlir::heddle::EmbeddingOp op);
  llvm::Error emitGatherRows(mlir::heddle::GatherRowsOp op);
  void emitPackedF8(mlir::heddle::EmbeddingOp op, StorageFormat format, Value index);
  void emitPackedBlocks(mlir::heddle::EmbeddingOp op, const BlockScheme &scheme, Value index);
  Value widen(Value stored); // f32, f16 or bf16 -> f32

  // RowsPositions.cpp: rope and the cache.
  void emitRope(mlir::heddle::RopeOp op);
  void emitCacheAppend(mlir::heddle::CacheAppendOp op);

  // RowsMerge.cpp
  void emitMergeChunks(mlir::heddle::MergeChunksOp op);

  // RowsSelection.cpp
  void emitSelectBlocks(mlir::heddle::SelectBlocksOp op);

  // RowsGating.cpp
  void emitHeadGate(mlir::heddle::HeadGateOp op);
  void emitMaskHeads(mlir::heddle::MaskHeadsOp op);
  void emitSkippedSum(mlir::heddle::SkippedSumOp op);
  /// i1: the row at address `selection` selects `head`.
  Value isSelected(Value selection, Value head);

  // RowsQuantize.cpp
  /// One or two blocks of 32 columns from `index` on, given as vectors.
  void emitQuantizeBlocks(mlir::heddle::QuantizeOp op, llvm::ArrayRef<Value> columns, Value index);
  void emitDequantize(mlir::heddle::DequantizeOp op);

  Emitter &e;
  mlir::heddle::KernelOp kernel;
  const CpuKernelContext &context;
  mlir::VectorType floats, ints; // of kLanes
  Value row, rowsOfCall, scratchBase;
  int64_t scratchSize = 0;
  llvm::DenseMap<Value, Value> operands;   // block arguments to the address of their operand
  llvm::DenseMap<Value, Value> pageTables; // caches to the address of theirs
  llvm::DenseMap<Value, Value> rows;       // values in memory to the address of this row
  llvm::SmallVector<Value> outputs;        // addresses of outputs
  llvm::SmallVector<Pending> pending;
  llvm::DenseMap<Value, Value> columnValues; // computed so far for the columns that a loop is at
};

} // namespace heddle::cpu
