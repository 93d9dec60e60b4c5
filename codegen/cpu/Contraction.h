// Generator of contractions: y[m, r] = epilogue(sum over k of x[m, k] * w[r, k]) for every storage format.
//
// One function holds all its ways and picks by the number of rows: register tiles that unpack weights as they
// go (a matrix-vector product is the tile of one row), and panels of expanded weights for many rows. Every
// way adds in the order of docs/kernel-abi.md, so the bits of a row depend neither on the way nor on the CPU
// level.
#pragma once
#include "codegen/cpu/Emit.h"
#include "ir/StorageFormat.h"
#include "mlir/IR/BuiltinOps.h"
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace heddle::cpu {

/// Where an epilogue stands: one native vector of output columns of one row.
class EpilogueContext {
public:
  Emitter &e;
  Value row;                      // i64
  Value column;                   // i64, of the first lane
  llvm::ArrayRef<Value> operands; // the spec's epilogue operands, loaded

  /// f32 elements [row][column ...] of `base`, whose rows are `rowStride` elements apart; 0 for a vector such
  /// as a bias.
  Value loadF32(Value base, int64_t rowStride);

  Value mask; // lanes that are columns; null when all are
};

/// Heads that a row needs, of those that share the columns evenly (`linear ... select`). Leaving them out of
/// account is always right: unselected inputs are 0, unselected results are read by nobody.
struct ColumnSelection {
  int operand; // of the epilogue: bytes [row][head]
  int64_t heads;
  bool ofInputs; // else of results
};

struct ContractionSpec {
  std::string symbol;
  int64_t rows = 0;    // output columns r: rows of the weight matrix
  int64_t columns = 0; // input columns k
  /// Storage of each packed weight matrix: one, or two that share input and epilogue (gate and up).
  std::vector<StorageFormat> weights;
  /// Input: 0 for f32 rows (dense weights), 1 or 2 for quantized activations (act_i8, act_i16; block
  /// formats).
  int planes = 0;
  int rowDimension = 0;     // HEDDLE_DIM_*: holds the number of input rows
  int64_t maxRows = 0;      // bound of that dimension; sizes the scratch
  int64_t inputStride = 0;  // elements between rows of an f32 input; 0: `columns`
  int64_t outputStride = 0; // elements between rows of the output; 0: `rows`
  int epilogueOperands = 0;
  std::optional<ColumnSelection> selection = {};
  /// Turns the accumulators, one per weight matrix, into the vector to store. Null: the first one as it is.
  /// It may read the element that it replaces, so an output may be its own residual.
  std::function<Value(EpilogueContext &, ValueRange accumulators)> epilogue = {};
  /// Input: activations rounded to bf16 (act_bf16); weights, of block formats, are rounded alike. Levels with
  /// tiles only.
  bool tiles = false;
};

/// Stores the columns from `column` (i64) on of output row `row`: what the epilogue makes of the
/// accumulators, one vector per weight matrix.
void storeColumns(Emitter &e, const ContractionSpec &spec, Value output, llvm::ArrayRef<Value> operands,
                  Value row, Value column, ValueRange accumulators);

/// Operands of the function: 0 output (f32 rows), 1 input, 2 ... packed weights, then those of the epilogue.
/// Items are row groups of 16 output columns.
struct ContractionLaunch {
  int64_t items;
  uint32_t grain; // 1: equal shares matter more than whole panels (12 groups for two workers: 6 and 6, not 8
                  // and 4)
  uint64_t scratchBytes; // per worker, the most of all levels
};
ContractionLaunch contractionLaunch(const ContractionSpec &spec);

/// Says why `spec` cannot be generated; empty if it can.
std::string checkContraction(const ContractionSpec &spec);

/// Adds the function to `module`. The spec has passed checkContraction.
void buildContraction(mlir::ModuleOp module, const CpuLevel &level, const ContractionSpec &spec);

} // namespace heddle::cpu
