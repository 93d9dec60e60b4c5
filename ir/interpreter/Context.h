// What the implementations of ops share: arithmetic, limits, errors. Internal to ir/interpreter.
#pragma once
#include "ir/interpreter/Interpreter.h"
#include "ir/interpreter/Real.h"

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

  explicit Context(const Options &options);

  bool tracks() const { return arithmetic.unit > 0; }

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

// Attention.cpp
using Lookup = llvm::function_ref<llvm::Expected<Datum>(mlir::Value)>;
llvm::Error evaluateCacheAppend(Operation *op, Cache &cache, const Numbers &keys, const Numbers &values,
                                const Integers &slots, const Integers &positions, Context &context);
Result evaluateAttention(AttentionOp op, const Numbers &query, const Numbers *keys, const Numbers *values,
                         Cache *cache, const Integers &slots, const Integers &positions, Lookup captured,
                         Context &context);

} // namespace mlir::heddle::interpreter
