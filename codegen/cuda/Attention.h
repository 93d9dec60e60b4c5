// Ways to compute attention, one block for a work record and KV head each, and top-k.
#pragma once
#include "codegen/cuda/Emit.h"
#include "codegen/cuda/Kernel.h"

namespace heddle::cuda {

inline constexpr int kAttentionWarps = 4;

/// The operands of an attention kernel and the record of the block; indices are i32.
struct AttentionOperands {
  llvm::DenseMap<Value, Value> addresses; // of the kernel's arguments
  Value pageTable, values, result;
  Value rowsOfCall, kvHead;
  Value split; // of split attention: number of the block among those that share out its chunks; else null
  Value rowBegin, rowCount, position, slot, firstRow, slotRows; // of the record

  Value addressOf(Value value) const;
};

/// Blocks that share out the chunks of a record and KV head.
int64_t attentionBlocks(mlir::heddle::AttentionOp op);
/// Where the result of a row and query head begins: [valueDim] numbers, or of split attention
/// [chunks][valueDim, sum, maximum].
Value resultAddress(Emitter &e, mlir::heddle::AttentionOp op, const AttentionOperands &operands, Value row,
                    Value head);
/// Bytes of a chunk of a split result.
int64_t chunkBytes(mlir::heddle::AttentionOp op);
/// Calls `body` with the numbers of this block's chunks below `keys`.
void forOwnChunks(Emitter &e, mlir::heddle::AttentionOp op, const AttentionOperands &operands, Value keys,
                  llvm::function_ref<void(Value chunk)> body);

/// 1 / sum, or 0 where no key was seen.
Value inverseOrZero(Emitter &e, Value sum);

/// On f32 units; everything that the target has.
class PlainAttention {
public:
  static uint32_t recordRows() { return 16; }
  static int64_t sharedBytes(mlir::heddle::AttentionOp op);
  static void emit(Emitter &e, mlir::heddle::AttentionOp op, const KernelContext &context,
                   const AttentionOperands &operands);
};

/// On tensor cores, keys from a cache.
class FlashAttention {
public:
  static bool fits(mlir::heddle::AttentionOp op);
  static uint32_t recordRows(mlir::heddle::AttentionOp op);
  static int64_t sharedBytes(mlir::heddle::AttentionOp op);
  static void emit(Emitter &e, mlir::heddle::AttentionOp op, const KernelContext &context,
                   const AttentionOperands &operands);
};

/// `heddle.top_k`, all heads in one block.
class TopK {
public:
  static uint32_t recordRows() { return 16; }
  static int64_t sharedBytes(mlir::heddle::TopKOp op, const KernelContext &context);
  static void emit(Emitter &e, mlir::heddle::TopKOp op, const KernelContext &context,
                   const AttentionOperands &operands);
};

/// What the regions are told of a query: its row (of the call), heads and position.
struct QueryPlace {
  Value row, head, kvHead, position;
};

/// One of the two regions for a query, a key's position and its score.
Value emitAttentionRegion(Emitter &e, const AttentionOperands &operands, mlir::Region &region,
                          const QueryPlace &query, Value keyPosition, Value score);

} // namespace heddle::cuda
