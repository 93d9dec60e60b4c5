// Products of floating-point numbers on tensor cores, m16n8k16 of bf16: `act_bf16` activations by weights of
// any format, and f32 activations by dense weights.
//
// A number that has more bits than bf16 enters as a sum of bf16 numbers ("planes": f32 has three, f16 two),
// and all products of planes that count are added, small ones first, so that results are f32's up to
// rounding.
//
// A warp holds the sums of 16 output columns for all tokens of the tile. Activations and dense weights go
// through a ring in shared memory; packed weights come straight from global memory and are decoded in
// registers.
#include "codegen/cuda/AsyncCopy.h"
#include "codegen/cuda/Contraction.h"
#include "codegen/cuda/Mma.h"
#include "codegen/cuda/PackedElement.h"
#include "codegen/cuda/WeightFragments.h"
#include "ir/ActivationLayout.h"

using namespace mlir;

namespace heddle::cuda {
namespace {

constexpr int kF32Planes = 3;

/// What follows from the formats of the two sides, and shared memory of one stage of the ring.
struct Plan {
  bool packed, f32Input;
  int chunk; // columns at a time
  int64_t tokens, products, weightBytes;

  Plan(const ContractionSpec &spec, int tokens)
      : packed(formatInfo(spec.format).scheme.has_value()), f32Input(spec.input == ContractionInput::F32),
        chunk(packed     ? WeightFragments::kChunk
              : f32Input ? 32
                         : 64),
        tokens(tokens), products(spec.products), weightBytes(packed ? 0 : denseBytes(spec.format)) {}

  int inputBytes() const { return f32Input ? 4 : 2; }
  /// Whether fragments hold columns 4q ... 4q + 3 of 16 for lane quad q, as packed codes lie; else 2q, 2q + 1
  /// and 2q + 8, 2q + 9. A sum does not care.
  bool quads() const { return packed; }
  // Rows start in different banks: of 16 bytes for ldmatrix, of 32 where a quad of lanes reads a row.
  int64_t inputPitch() const { return chunk * inputBytes() + (f32Input || quads() ? 32 : 16); }
  int64_t weightPitch() const { return kTileColumns * weightBytes + 16; }
  int64_t weightsOf(int product) const { return tokens * inputPitch() + product * chunk * weightPitch(); }
  int64_t bytes() const { return weightsOf(packed ? 0 : int(products)); }
};

class Tile {
public:
  Tile(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands, int tiles)
      : e(e), spec(spec), operands(operands), tiles(tiles), plan(spec, 8 * tiles) {}

  void emit();

private:
  using Raws = SmallVector<WeightFragments::Raw, 4>;
  /// Registers of one fragment for each plane.
  using Planes = SmallVector<Values, kF32Planes>;

  void fill(Value chunk, Value stageOffset, int columns);
  void fillWeights(Value chunk, Value to, int columns);
  void compute(Value chunk, Value stageOffset, int columns, Values &sums);
  Planes split(ArrayRef<std::pair<Value, Value>> pairs, int planes);
  /// Fragments of weights for 16 columns from `k` (of the chunk) on.
  Planes denseWeights(Value stage, Value chunk, int product, int k);
  Planes packedWeights(const WeightFragments::Fragment &fragment, bool isSigned, int step);
  /// Fragments of eight tokens for the 32 columns from `k` on, [16 columns].
  SmallVector<Planes, 2> activations(Value stage, int tile, int k);

  Emitter &e;
  const ContractionSpec &spec;
  const ContractionOperands &operands;
  const int tiles;
  const Plan plan;
  Value thread, lane, row, quad, shared, group; // row, quad: lane / 4, lane % 4
  SmallVector<WeightFragments, 2> weights;      // packed ones
};

void Tile::fill(Value chunk, Value stageOffset, int columns) {
  Value to = e.at(shared, stageOffset);
  Value last = e.add(operands.tokens, -1);
  int64_t stride = plan.f32Input ? spec.columns * 4 : ActivationLayout{spec.columns, 0}.stride();
  int pieces = columns * plan.inputBytes() / 16;
  forShareUnrolled(e, thread, kContractionThreads, plan.tokens * pieces, [&](Value index) {
    Value token = e.divU(index, pieces), piece = e.shiftLeft(e.remU(index, pieces), 4);
    Value number = e.add(operands.firstToken, token);
    Value from = e.at(operands.input, e.mul(e.wide(e.minS(number, last)), stride));
    copyAsync(e, e.at(to, e.add(e.mul(token, plan.inputPitch()), piece)),
              e.at(from, e.add(e.mul(chunk, plan.chunk * plan.inputBytes()), piece)), 16,
              e.lessThan(number, operands.tokens));
  });
  if (!plan.packed)
    fillWeights(chunk, to, columns);
}

/// [column][output column], from row groups of [column][16].
void Tile::fillWeights(Value chunk, Value to, int columns) {
  int64_t lineBytes = 16 * plan.weightBytes;
  int pieces = int(lineBytes / 16);
  for (auto [product, base] : llvm::enumerate(operands.weights))
    forShareUnrolled(e, thread, kContractionThreads, int64_t(columns) * 4 * pieces, [&](Value index) {
      Value piece = e.shiftLeft(e.remU(index, pieces), 4), line = e.divU(index, pieces);
      // All groups of a column first: what eight lanes write lies side by side.
      Value number = e.bitAnd(line, 3), column = e.shiftRightU(line, 2);
      Value from = rowGroup(e, spec, base, e.add(e.shiftLeft(e.blockY(), 2), number));
      Value k = e.add(e.mul(chunk, plan.chunk), column);
      Value place = e.add(e.mul(column, plan.weightPitch()), e.add(e.mul(number, lineBytes), piece));
      copyAsync(e, e.at(to, place, plan.weightsOf(int(product))),
                e.at(from, e.add(e.mul(k, lineBytes), piece)), 16, Value());
    });
}

/// Pairs of f32 as registers of two bf16, plane by plane: what is left is rounded again.
Tile::Planes Tile::split(ArrayRef<std::pair<Value, Value>> pairs, int planes) {
  Planes result(planes);
  for (auto [first, second] : pairs)
    for (int plane = 0; plane < planes; ++plane) {
      Value both = packBfloats(e, first, second);
      result[plane].push_back(both);
      if (plane + 1 == planes)
        break;
      first = e.subF(first, e.bitcast(e.shiftLeft(both, 16), e.f32()));
      second = e.subF(second, e.bitcast(e.bitAnd(both, int32_t(0xffff0000u)), e.f32()));
    }
  return result;
}

Tile::Planes Tile::denseWeights(Value stage, Value chunk, int product, int k) {
  Value columns = e.at(e.at(stage, e.mul(e.warp(), 16 * plan.weightBytes)), plan.weightsOf(product));
  if (spec.format == StorageFormat::BF16) {
    // Matrices: the two halves of the rows, then of the columns.
    Value matrix = e.shiftRightU(lane, 3);
    Value line = e.add(e.shiftLeft(e.shiftRightU(matrix, 1), 3), e.bitAnd(lane, 7));
    Value place = e.add(e.mul(line, plan.weightPitch()), e.shiftLeft(e.bitAnd(matrix, 1), 4));
    return {loadMatrices(e, e.at(columns, place, k * plan.weightPitch()), true)};
  }
  Type element = denseType(e, spec.format);
  Value scales[2];
  if (int64_t span = denseScaleSpan(spec.format, spec.columns)) // of FP8
    for (int i = 0; i < 2; ++i) {
      Value at = e.add(row, i * 8);
      if (span < spec.columns)
        at = e.add(at, e.mul(e.divU(e.mul(chunk, plan.chunk), span), 16));
      scales[i] = e.load(
          e.f32(),
          e.at(rowGroup(e, spec, operands.weights[product], group), e.shiftLeft(at, 2), spec.columns * 16),
          4);
    }
  SmallVector<std::pair<Value, Value>> pairs;
  for (int i = 0; i < 4; ++i) { // rows r, r + 8 of the first eight columns, then of the others
    auto numberAt = [&](int column) {
      Value place = e.add(e.mul(e.shiftLeft(quad, 1), plan.weightPitch()), e.mul(row, plan.weightBytes));
      int64_t more = (k + i / 2 * 8 + column) * plan.weightPitch() + i % 2 * 8 * plan.weightBytes;
      Value number =
          widen(e, spec.format, e.load(element, e.at(columns, place, more), int(plan.weightBytes)));
      return scales[i % 2] ? e.mulF(number, scales[i % 2]) : number;
    };
    pairs.push_back({numberAt(0), numberAt(1)});
  }
  bool exact = plan.f32Input;
  return split(pairs, !exact ? 1 : spec.format == StorageFormat::F32 ? kF32Planes : 2);
}

Tile::Planes Tile::packedWeights(const WeightFragments::Fragment &fragment, bool isSigned, int step) {
  SmallVector<std::pair<Value, Value>> pairs;
  int half = weights[0].halves() == 2 ? step : 0;
  for (int i = 0; i < 4; ++i) { // rows r, r + 8 of the first two columns of a quad, then of the others
    auto numberAt = [&](int byte) -> Value {
      Value code = e.shiftLeft(fragment.a[step * 2 + i % 2], 24 - byte * 8);
      code = isSigned ? e.create<arith::ShRSIOp>(code, e.cI32(24)).getResult() : e.shiftRightU(code, 24);
      Value scale = fragment.scale[i % 2][half], minimum = fragment.minimum[i % 2][half];
      return minimum ? e.fma(e.toF32(code), scale, minimum) : e.mulF(e.toF32(code), scale);
    };
    pairs.push_back({numberAt(i / 2 * 2), numberAt(i / 2 * 2 + 1)});
  }
  return split(pairs, 1);
}

SmallVector<Tile::Planes, 2> Tile::activations(Value stage, int tile, int k) {
  int64_t offset = tile * 8 * plan.inputPitch() + k * plan.inputBytes();
  if (!plan.f32Input && !plan.quads()) { // four matrices: 32 columns
    Value place = e.add(e.mul(e.bitAnd(lane, 7), plan.inputPitch()), e.shiftLeft(e.shiftRightU(lane, 3), 4));
    Values registers = loadMatrices(e, e.at(stage, place, offset), false);
    return {Planes{Values{registers[0], registers[1]}}, Planes{Values{registers[2], registers[3]}}};
  }
  Value token = e.at(stage, e.mul(row, plan.inputPitch()), offset);
  auto pairAt = [&](Type element, int64_t bytes) {
    Value both = e.load(e.vec(element, 2), e.at(token, e.shiftLeft(quad, 3), bytes), 8);
    auto numberOf = [&](int64_t i) -> Value {
      return e.create<vector::ExtractOp>(both, ArrayRef<int64_t>{i});
    };
    return std::pair<Value, Value>(numberOf(0), numberOf(1));
  };
  SmallVector<Planes, 2> result;
  for (int step = 0; step < 2; ++step) {
    if (plan.f32Input) {
      result.push_back(split({pairAt(e.f32(), step * 64), pairAt(e.f32(), step * 64 + 32)}, kF32Planes));
    } else {
      auto [first, second] = pairAt(e.i32(), step * 32);
      result.push_back({Values{first, second}});
    }
  }
  return result;
}

void Tile::compute(Value chunk, Value stageOffset, int columns, Values &sums) {
  Value stage = e.at(shared, stageOffset);
  SmallVector<Raws, 2> raws;
  for (WeightFragments &each : weights)
    raws.push_back(each.load(chunk, columns / 32));
  for (int k = 0; k < columns; k += 32) {
    SmallVector<SmallVector<Planes, 2>, 2> a(spec.products);
    for (int product = 0; product < spec.products; ++product) {
      WeightFragments::Fragment fragment;
      if (plan.packed)
        fragment = weights[product].decode(raws[product][k / 32]);
      for (int step = 0; step < 2; ++step)
        a[product].push_back(plan.packed ? packedWeights(fragment, weights[product].isSigned(), step)
                                         : denseWeights(stage, chunk, product, k + step * 16));
    }
    for (int tile = 0; tile < tiles; ++tile) {
      SmallVector<Planes, 2> b = activations(stage, tile, k);
      for (int step = 0; step < 2; ++step)
        for (int product = 0; product < spec.products; ++product) {
          auto sum = MutableArrayRef<Value>(sums).slice((product * tiles + tile) * 4, 4);
          const Planes &left = a[product][step], &right = b[step];
          int count = int(std::max(left.size(), right.size()));
          for (int small = count - 1; small >= 0; --small) // planes whose numbers add up to `small`
            for (int i = 0; i <= small; ++i)
              if (i < int(left.size()) && small - i < int(right.size()))
                llvm::copy(mma16816(e, e.getBF16Type(), left[i], right[small - i], sum), sum.begin());
        }
    }
  }
}

void Tile::emit() {
  thread = e.thread();
  lane = e.lane();
  row = e.shiftRightU(lane, 2);
  quad = e.bitAnd(lane, 3);
  shared = e.shared(0);
  group = e.add(e.mul(e.blockY(), kTileColumns / 16), e.warp());
  if (plan.packed)
    for (Value base : operands.weights)
      weights.emplace_back(e, spec.format, spec.columns, rowGroup(e, spec, base, group), lane);
  Values sums = forChunksAhead(
      e, spec.columns, plan.chunk, plan.bytes(), Values(size_t(spec.products) * tiles * 4, e.cF32(0)),
      [&](Value number, Value place, int count) { fill(number, place, count); },
      [&](Value number, Value place, int count, Values &partial) { compute(number, place, count, partial); });
  storeFragments(e, spec, operands, group, tiles, sums);
}

} // namespace

bool fitsTensorContraction(const ContractionSpec &spec) {
  const FormatInfo &info = formatInfo(spec.format);
  if (spec.input == ContractionInput::Bf16)
    return true;
  return spec.input == ContractionInput::F32 && !info.scheme && denseBytes(spec.format) > 1 &&
         spec.columns % 32 == 0;
}

int64_t tensorContractionSharedBytes(const ContractionSpec &spec) {
  return Plan(spec, tileRows(spec)).bytes() * kChunkStages;
}

void emitTensorContraction(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands,
                           int tiles) {
  Tile(e, spec, operands, tiles).emit();
}

} // namespace heddle::cuda
