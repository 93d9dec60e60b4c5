// What the implementations of ops share: arithmetic, limits, errors. Internal to ir/interpreter.
#pragma once
#include "ir/interpreter/Interpreter.h"
#include "ir/interpreter/Real.h"
#include <random>

namespace mlir::heddle::interpreter {

using Kind = InterpreterError::Kind;

/// "blk.3.attn_q: 'heddle.linear': <message>"
llvm::Error fail(Operation *op, const Twine &message, Kind kind = Kind::Invalid);

struct Budget {
  uint64_t limit, used = 0;
};

struct Context {
  Options options;
  Arithmetics arithmetic;
  std::shared_ptr<Budget> budget;
  uint64_t stepsLeft;
  std::minstd_rand ties;

  explicit Context(const Options &options);

  bool tracks() const { return arithmetic.unit > 0; }

  /// Whether a code that may flip takes the other neighbour.
  bool takesOther() { return options.tieSeed && ties() % 2; }

  /// Accounts for `count` elements of `bytes` each before they are allocated.
  llvm::Expected<Charge> charge(Operation *op, int64_t count, uint64_t bytes);

  /// Accounts for the product of `factors` scalar operations before they run.
  llvm::Error spend(Operation *op, std::initializer_list<uint64_t> factors);

  /// Zeros, with tolerances when they are tracked.
  llvm::Expected<Numbers> numbers(Operation *op, ArrayRef<int64_t> shape);
};

using Result = llvm::Expected<Datum>;

// Linear.cpp
Result evaluateLinear(LinearOp op, const Datum &input, const Weights &weight, const Numbers *bias,
                      Context &context);

// RowOps.cpp
Result evaluateEmbedding(EmbeddingOp op, const Datum &table, const Integers &indices, Context &context);
Result evaluateGatherRows(GatherRowsOp op, const Numbers &input, const Integers &indices, Context &context);
Result evaluateRmsNorm(RmsNormOp op, const Numbers &input, const Numbers &weight, Context &context);
Result evaluateLayerNorm(LayerNormOp op, const Numbers &input, const Numbers &weight, const Numbers &bias,
                         Context &context);
Result evaluateL2Normalize(L2NormalizeOp op, const Numbers &input, Context &context);
Result evaluateRope(RopeOp op, const Numbers &input, const Numbers &table, const Integers &positions,
                    Context &context);
Result evaluateRopeTable(RopeTableOp op, const Numbers *factors, Context &context);
Result evaluatePoolRows(PoolRowsOp op, const Numbers &input, const Integers &sequences, Context &context);

// Elementwise.cpp
Result evaluateUnary(UnaryOp op, const Numbers &input, Context &context);
Result evaluateBinary(BinaryOp op, const Numbers &lhs, const Numbers &rhs, Context &context);
Result evaluateScale(ScaleOp op, const Numbers &input, Context &context);
Result evaluateReshape(ReshapeOp op, const Numbers &input, Context &context);
Result evaluateQuantize(QuantizeOp op, const Numbers &input, Context &context);
Result evaluateDequantize(DequantizeOp op, const Datum &input, Context &context);

// Gating.cpp
Result evaluateHeadGate(HeadGateOp op, const Numbers &input, const Numbers &weight, const Numbers *bias,
                        Context &context);
/// A `linear` with a selection of heads: checks what it promises of the input, and makes results that are
/// undefined NaN.
Result evaluateSelectedLinear(LinearOp op, const Datum &input, const Weights &weight, const Numbers *bias,
                              const Integers &selection, Context &context);
Result evaluateMaskHeads(MaskHeadsOp op, const Numbers &input, const Integers &selection, const Numbers *skip,
                         Context &context);
Result evaluateSkippedSum(SkippedSumOp op, const Numbers &table, const Integers &selection, Context &context);
Result evaluateKeepParts(KeepPartsOp op, const Datum &input, Context &context);
Result evaluateBlockDiagonal(BlockDiagonalOp op, const Numbers &input, Context &context);

// Weights.cpp
Result evaluateQuantizeWeights(QuantizeWeightsOp op, const Weights &input, Context &context);

// Attention.cpp
using Lookup = llvm::function_ref<llvm::Expected<Datum>(mlir::Value)>;
llvm::Error evaluateCacheAppend(Operation *op, Cache &cache, const Numbers &keys, const Numbers &values,
                                const Integers &slots, const Integers &positions, Context &context);
/// The operands of an op that scores keys; null where it has none.
struct ScoringOperands {
  const Numbers &query;
  const Numbers *keys, *values;
  Cache *cache;
  const Integers *keySequences;
  const Integers &slots, &positions;
  const Integers *heads, *tokens; // selections
  const Numbers *skip;
};
Result evaluateAttention(AttentionOp op, const ScoringOperands &operands, Lookup captured, Context &context);
Result evaluateMergeChunks(MergeChunksOp op, const Numbers &parts, const Integers &positions,
                           Context &context);
Result evaluateTopK(TopKOp op, const ScoringOperands &operands, Lookup captured, Context &context);
Result evaluateSelectBlocks(SelectBlocksOp op, const Numbers &mask, const Integers *positions,
                            Context &context);

} // namespace mlir::heddle::interpreter
