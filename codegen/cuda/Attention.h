// Ways to compute attention, one block for a work record and KV head each.
#pragma once
#include "codegen/cuda/Emit.h"
#include "codegen/cuda/Kernel.h"

namespace heddle::cuda {

/// The operands of an attention kernel and the record of the block; indices are i32.
struct AttentionOperands {
  llvm::DenseMap<Value, Value> addresses; // of the kernel's arguments
  Value pageTable, result;
  Value rowsOfCall, kvHead;
  Value rowBegin, rowCount, position, slot, firstRow, slotRows; // of the record

  Value addressOf(Value value) const;
};

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

/// One of the two regions for a query row (of the call), head and position, a key's position and its score.
Value emitAttentionRegion(Emitter &e, mlir::heddle::AttentionOp op, const AttentionOperands &operands,
                          mlir::Region &region, Value row, Value head, Value position, Value keyPosition,
                          Value score);

inline constexpr int kAttentionWarps = 4;

} // namespace heddle::cuda
