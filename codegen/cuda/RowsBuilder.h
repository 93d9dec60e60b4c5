// Emits the body of a rows kernel for one row, which a block of threads computes together.
//
// As on CPU, a value of the kernel's body is a row in memory (an argument's, an output's, or shared memory)
// or pending: known by how its columns are computed. Pending values of one width are computed together in one
// loop over the columns, dealt out to the threads in turn, and only those that something outside of the loop
// reads are stored. Before a thread reads columns that others wrote, the block meets.
#pragma once
#include "codegen/RowValues.h"
#include "codegen/cuda/Emit.h"
#include "codegen/cuda/Kernel.h"
#include "ir/ActivationLayout.h"
#include <functional>

namespace heddle::cuda {

class RowsBuilder {
public:
  RowsBuilder(Emitter &e, mlir::heddle::KernelOp kernel, const KernelContext &context);

  /// Threads of a block, by the widest value.
  int threads() const { return blockThreads; }
  /// Emits all of row number `row` (i32).
  llvm::Error emitRow(const KernelArguments &arguments, Value row);
  int64_t sharedBytes() const { return sharedSize; }

private:
  /// A value that a loop over columns (i32) will compute. `quantize` consumes instead.
  struct Pending {
    mlir::Operation *op;
    std::function<Value(Value column)> compute;
  };

  // RowsBuilder.cpp: memory, pending values and loops.
  llvm::Error emitOp(mlir::Operation &op);
  llvm::Error unsupportedOp(mlir::Operation &op, const llvm::Twine &expectation);
  Value operandOf(Value argument) { return operands.lookup(argument); }
  /// Address of a value's row, for reading by any thread; computes it first if it is pending.
  Value memory(Value value);
  /// Where the row of a result that is stored goes.
  Value destination(Value result);
  Value shared(int64_t bytes);
  /// What was stored since the block last met is for others to read from now on.
  void meet();
  Value clampedIndex(Value indices, Value count);
  Value rowCount(Value argument);
  void defer(mlir::Operation *op, std::function<Value(Value column)> compute) {
    pending.push_back({op, std::move(compute)});
  }
  void flush();
  void flushWidth(int64_t columns, llvm::ArrayRef<Pending> group);
  Value columnOf(Value value, Value column);
  Value loadColumn(Value address, Value column) { return e.load(e.f32(), elementAt(address, column), 4); }
  void storeColumn(Value value, Value address, Value column) {
    e.store(value, elementAt(address, column), 4);
  }
  Value elementAt(Value address, Value index, int bytes = 4) { return e.at(address, e.mul(index, bytes)); }
  /// Calls `body` for this thread's share of `count` things: `first`, `first` + `step`, ...
  void forShare(int64_t count, llvm::function_ref<void(Value)> body) {
    e.forRange32(thread, e.cI32(count), blockThreads, body);
  }

  // RowsNorms.cpp
  void emitRmsNorm(mlir::heddle::RmsNormOp op);
  void emitLayerNorm(mlir::heddle::LayerNormOp op);
  void emitL2Normalize(mlir::heddle::L2NormalizeOp op);
  llvm::Error emitPoolRows(mlir::heddle::PoolRowsOp op);
  using Normalize = std::function<Value(Value column, Value x)>;
  /// The threads that reduce one innermost row together: the block, or one warp of it.
  struct Team {
    Value first; // column that this thread starts with
    int threads;
  };
  /// Normalizes every innermost row: `prepare` reduces the one at an address, its result maps columns.
  void emitNorm(mlir::Operation *op,
                llvm::function_ref<Normalize(Value address, int64_t columns, const Team &team)> prepare);
  /// Sum over a row of what `accumulate` adds to a partial sum, on all threads of the team.
  Value sumColumns(Value address, int64_t columns, const Team &team,
                   llvm::function_ref<Value(Value x, Value sum)> accumulate);

  // RowsTables.cpp
  llvm::Error emitEmbedding(mlir::heddle::EmbeddingOp op);
  llvm::Error emitGatherRows(mlir::heddle::GatherRowsOp op);
  void emitRope(mlir::heddle::RopeOp op);
  void emitCacheAppend(mlir::heddle::CacheAppendOp op);

  // RowsGating.cpp: gates and selections.
  void emitHeadGate(mlir::heddle::HeadGateOp op);
  void emitMaskHeads(mlir::heddle::MaskHeadsOp op);
  void emitSkippedSum(mlir::heddle::SkippedSumOp op);
  void emitSelectBlocks(mlir::heddle::SelectBlocksOp op);
  /// i1: the row at address `selection` selects head or block `number`.
  Value isSelected(Value selection, Value number);

  // RowsMerge.cpp
  void emitMergeChunks(mlir::heddle::MergeChunksOp op);

  // RowsQuantize.cpp
  void emitQuantize(mlir::heddle::QuantizeOp op, Value x, Value column);
  void emitDequantize(mlir::heddle::DequantizeOp op);

  Emitter &e;
  mlir::heddle::KernelOp kernel;
  const KernelContext &context;
  int blockThreads;
  Value row, thread, rowsOfCall; // i32
  int64_t sharedSize = 0;
  bool mustMeet = false;
  llvm::DenseMap<Value, Value> operands;   // block arguments to the address of their operand
  llvm::DenseMap<Value, Value> pageTables; // caches to the address of theirs
  llvm::DenseMap<Value, Value> rows;       // values in memory to the address of this row
  llvm::SmallVector<Value> outputs;        // addresses of outputs
  llvm::SmallVector<Pending> pending;
  llvm::DenseMap<Value, Value> columnValues; // computed so far for the column that a loop is at
};

} // namespace heddle::cuda
