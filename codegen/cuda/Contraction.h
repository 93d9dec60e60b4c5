// Generators of contractions: y[m, r] = epilogue(sum over k of x[m, k] * w[r, k]) for every storage format.
//
// A block makes tileRows() rows of the input ("tokens") by kTileColumns output columns; its four warps take
// 16 columns (a row group of packed weights) each. One kernel holds tiles for few and for many tokens and
// picks by the rows of the call; one token by quantized weights has a way of its own.
#pragma once
#include "codegen/cuda/Emit.h"
#include "ir/StorageFormat.h"
#include <functional>
#include <vector>

namespace heddle::cuda {

inline constexpr int kTileColumns = 64, kContractionThreads = 128;

/// 1.5 * 2^23: added to an integer below 2^22 in size, its float's low bits are the integer.
inline constexpr float kMagic = 12582912.0f;
inline constexpr int kMagicBits = 0x4b400000;

enum class ContractionInput { F32, Bf16, Quantized };

struct ContractionSpec {
  int64_t rows = 0;    // output columns r: rows of the weight matrix
  int64_t columns = 0; // input columns k
  /// Storage of the packed weight matrices: one, or two of one format that share input and epilogue.
  StorageFormat format;
  int products = 1;
  ContractionInput input = ContractionInput::F32;
  int planes = 0; // of quantized input: 1 or 2
  /// Turns the sums of one output element, one per matrix, into the number to store.
  std::function<Value(Value token, Value column, ValueRange sums)> epilogue;
};

/// Tokens of a block at most: as many as leave the sums of all products in registers, beside the scales of
/// the weights.
inline int tileRows(const ContractionSpec &spec) {
  const auto &scheme = formatInfo(spec.format).scheme;
  return spec.products == 1 && !(spec.planes == 2 && scheme && scheme->sub == 16) ? 64 : 32;
}

/// Addresses of the kernel's operands and what is known of the call.
struct ContractionOperands {
  Value output, input;
  Values weights;
  Value tokens;     // i32: rows of the call
  Value firstToken; // i32: of this block
};

/// Shared memory that the largest tile takes.
int64_t blockContractionSharedBytes(const ContractionSpec &spec);
int64_t denseContractionSharedBytes(const ContractionSpec &spec);
int64_t tensorContractionSharedBytes(const ContractionSpec &spec);
int64_t vectorContractionSharedBytes(const ContractionSpec &spec);

/// Whether formats and sizes are for emitTensorContraction, emitVectorContraction.
bool fitsTensorContraction(const ContractionSpec &spec);
bool fitsVectorContraction(const ContractionSpec &spec);

/// Emits one block's work for at most 8 * `tiles` tokens. All threads of the block come here.
void emitBlockContraction(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands,
                          int tiles);
void emitDenseContraction(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands,
                          int tiles);

void emitTensorContraction(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands,
                           int tiles);

/// Emits one block's work for its first token alone. All threads of the block come here.
void emitVectorContraction(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands);

/// Address of row group `number` (i32) of a weight matrix, or of the last one.
Value rowGroup(Emitter &e, const ContractionSpec &spec, Value base, Value number);
/// Stores the results of `mma` of a warp whose rows are row group `group` of the weights: `sums` are
/// [product][8 tokens][4].
void storeFragments(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands, Value group,
                    int tiles, ValueRange sums);
/// Stores output element (token, column) where both exist.
void storeResult(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands, Value token,
                 Value column, ValueRange sums);

} // namespace heddle::cuda
