// Dense weights by f32 activations in f32: one chain of fma in ascending k for each sum, as on CPU.
//
// Both sides go through a ring in shared memory, 32 columns at a time. A thread holds four output columns for
// every eighth token of the tile.
#include "codegen/cuda/AsyncCopy.h"
#include "codegen/cuda/Contraction.h"
#include "codegen/cuda/PackedElement.h"

using namespace mlir;

namespace heddle::cuda {
namespace {

constexpr int kChunk = 32, kThreadColumns = 4;
/// Bytes between rows of the input in shared memory: whole vectors of four, and rows start in different
/// banks.
constexpr int kPitch = (kChunk + 4) * 4;

struct Stage {
  int64_t tokens, weightBytes, products;
  int64_t weightsOf(int product) const {
    return tokens * kPitch + product * kChunk * kTileColumns * weightBytes;
  }
  int64_t bytes() const { return weightsOf(int(products)); }
};

Stage stageFor(const ContractionSpec &spec, int tokens) {
  return {tokens, denseBytes(spec.format), spec.products};
}

class Tile {
public:
  Tile(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands, int tiles)
      : e(e), spec(spec), operands(operands), tiles(tiles), tokens(8 * tiles), stage(stageFor(spec, tokens)) {
  }

  void emit();

private:
  void fill(Value chunk, Value stageOffset, int columns);
  Value scales(int product, Value chunk);
  void compute(Value chunk, Value stageOffset, int columns, Values &sums);

  Emitter &e;
  const ContractionSpec &spec;
  const ContractionOperands &operands;
  const int tiles, tokens;
  const Stage stage;
  Value thread, shared, columnQuad, firstToken; // of this thread in the tile
};

void Tile::fill(Value chunk, Value stageOffset, int columns) {
  Value to = e.at(shared, stageOffset);
  Value last = e.add(operands.tokens, -1);
  // Rows of the input start at multiples of 16 bytes only if they are that long.
  int pieceColumns = spec.columns % 4 == 0 ? 4 : 1, pieces = columns / pieceColumns;
  forShareUnrolled(e, thread, kContractionThreads, int64_t(tokens) * pieces, [&](Value index) {
    Value token = e.divU(index, pieces), piece = e.mul(e.remU(index, pieces), pieceColumns * 4);
    Value row = e.add(operands.firstToken, token);
    Value from = e.at(operands.input, e.mul(e.wide(e.minS(row, last)), spec.columns * 4));
    copyAsync(e, e.at(to, e.add(e.mul(token, kPitch), piece)),
              e.at(from, e.add(e.mul(chunk, kChunk * 4), piece)), pieceColumns * 4,
              e.lessThan(row, operands.tokens));
  });
  // In shared memory [column][output column], from row groups of [column][16].
  int64_t rowBytes = 16 * stage.weightBytes;
  int weightPieces = int(rowBytes / 16);
  for (auto [product, base] : llvm::enumerate(operands.weights))
    forShareUnrolled(e, thread, kContractionThreads, int64_t(columns) * 4 * weightPieces, [&](Value index) {
      Value piece = e.shiftLeft(e.remU(index, weightPieces), 4), line = e.divU(index, weightPieces);
      Value group = e.divU(line, columns), column = e.remU(line, columns);
      Value number = e.add(e.shiftLeft(e.blockY(), 2), group);
      Value k = e.add(e.mul(chunk, kChunk), column);
      Value from = e.at(rowGroup(e, spec, base, number), e.add(e.mul(k, rowBytes), piece));
      Value place = e.add(e.mul(column, 4 * rowBytes), e.add(e.mul(group, rowBytes), piece));
      copyAsync(e, e.at(to, place, stage.weightsOf(int(product))), from, 16, Value());
    });
}

/// The thread's f32 scales of FP8 weights in `chunk`, which has one for each row; null without.
Value Tile::scales(int product, Value chunk) {
  const int64_t span = denseScaleSpan(spec.format, spec.columns);
  if (span == 0)
    return {};
  Value group = rowGroup(e, spec, operands.weights[product],
                         e.add(e.shiftLeft(e.blockY(), 2), e.shiftRightU(columnQuad, 2)));
  Value place = e.shiftLeft(e.bitAnd(columnQuad, 3), 4);
  if (span < spec.columns)
    place = e.add(place, e.mul(e.divU(chunk, span / kChunk), 64));
  return e.load(e.vec(e.f32(), kThreadColumns), e.at(group, place, spec.columns * 16), 16);
}

void Tile::compute(Value chunk, Value stageOffset, int columns, Values &sums) {
  Type element = denseType(e, spec.format);
  Value base = e.at(shared, stageOffset);
  Value input = e.at(base, e.mul(firstToken, kPitch));
  int vector = columns % 4 == 0 ? 4 : 1;
  auto numberOf = [&](Value numbers, int64_t i) -> Value {
    return isa<VectorType>(numbers.getType()) ? e.create<vector::ExtractOp>(numbers, ArrayRef<int64_t>{i})
                                              : numbers;
  };
  Values factors;
  for (int product = 0; product < spec.products; ++product)
    factors.push_back(scales(product, chunk));
  for (int k = 0; k < columns; k += vector) {
    Values xs;
    for (int tile = 0; tile < tiles; ++tile)
      xs.push_back(e.load(vector == 4 ? Type(e.vec(e.f32(), 4)) : e.f32(),
                          e.at(input, tile * 8 * kPitch + k * 4), vector * 4));
    for (int i = 0; i < vector; ++i)
      for (int product = 0; product < spec.products; ++product) {
        int64_t bytes = kThreadColumns * stage.weightBytes;
        Value ws = e.load(e.vec(element, kThreadColumns),
                          e.at(e.at(base, e.mul(columnQuad, bytes)),
                               stage.weightsOf(product) + (k + i) * kTileColumns * stage.weightBytes),
                          int(bytes));
        for (int column = 0; column < kThreadColumns; ++column) {
          Value w = widen(e, spec.format, numberOf(ws, column));
          if (factors[product])
            w = e.mulF(w, numberOf(factors[product], column));
          for (int tile = 0; tile < tiles; ++tile) {
            Value &sum = sums[(product * tiles + tile) * kThreadColumns + column];
            sum = e.fma(numberOf(xs[tile], i), w, sum);
          }
        }
      }
  }
}

void Tile::emit() {
  thread = e.thread();
  shared = e.shared(0);
  columnQuad = e.bitAnd(thread, 15);
  firstToken = e.shiftRightU(thread, 4);
  Values sums = forChunksAhead(
      e, spec.columns, kChunk, stage.bytes(),
      Values(size_t(spec.products) * tiles * kThreadColumns, e.cF32(0)),
      [&](Value number, Value place, int count) { fill(number, place, count); },
      [&](Value number, Value place, int count, Values &partial) { compute(number, place, count, partial); });
  Value firstColumn = e.add(e.mul(e.blockY(), kTileColumns), e.mul(columnQuad, kThreadColumns));
  for (int tile = 0; tile < tiles; ++tile)
    for (int column = 0; column < kThreadColumns; ++column) {
      Values element;
      for (int product = 0; product < spec.products; ++product)
        element.push_back(sums[(product * tiles + tile) * kThreadColumns + column]);
      storeResult(e, spec, operands, e.add(e.add(operands.firstToken, firstToken), tile * 8),
                  e.add(firstColumn, column), element);
    }
}

} // namespace

int64_t denseContractionSharedBytes(const ContractionSpec &spec) {
  return stageFor(spec, tileRows(spec)).bytes() * kChunkStages;
}

void emitDenseContraction(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands,
                          int tiles) {
  Tile(e, spec, operands, tiles).emit();
}

} // namespace heddle::cuda
