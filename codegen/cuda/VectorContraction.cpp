// Block-quantized weights by one row of quantized activations, as when decoding: dp4a, as mma would have one
// of eight columns filled.
//
// A warp makes 16 output columns. Lanes r and r + 16 have weight row r, eight of each 16 columns each, and
// put their integers together for each sub-block, so that the sums are the chains of docs/kernel-abi.md. The
// activations are in shared memory as a whole; weights come from global memory, a chunk ahead.
#include "codegen/cuda/AsyncCopy.h"
#include "codegen/cuda/Contraction.h"
#include "codegen/cuda/WeightFragments.h"
#include "ir/ActivationLayout.h"

using namespace mlir;

namespace heddle::cuda {
namespace {

constexpr int kChunk = WeightFragments::kChunk, kSteps = kChunk / 32;
constexpr int64_t kMostSharedBytes = 48 * 1024; // what tiles take as well

/// Shared memory: codes, then f32 for each 32 columns and for each sub-block.
struct Place {
  const ContractionSpec &spec;
  const BlockScheme &scheme = *formatInfo(spec.format).scheme;

  int64_t scales() const { return spec.planes * spec.columns; }
  int64_t minimumSums() const { return scales() + spec.columns / 32 * 4; }
  int64_t bytes() const { return minimumSums() + (scheme.hasMin ? spec.columns / scheme.sub * 4 : 0); }
};

class Row {
public:
  Row(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands)
      : e(e), spec(spec), operands(operands), place{spec}, activation{spec.columns, spec.planes} {}

  void emit();

private:
  using Raws = SmallVector<WeightFragments::Raw, 4>;

  void fill();
  SmallVector<Raws, 2> loadWeights(Value chunk, int steps);
  SmallVector<Raws, 2> unflatten(ArrayRef<Raws> like, ValueRange values);
  void compute(ArrayRef<Raws> raws, Value chunk, Values &sums);
  /// `count` (1 to 8) numbers of a table in shared memory.
  Values numbers(int64_t table, Value first, int64_t count);
  /// The integer sum of a sub-block as f32: of all 32 columns, or of half number `half`.
  Value dot(const WeightFragments::Fragment &weights, int half, ArrayRef<Value> codes);

  Emitter &e;
  const ContractionSpec &spec;
  const ContractionOperands &operands;
  const Place place;
  const ActivationLayout activation;
  Value lane, half, shared; // half: lane / 16
  Value seed;               // where the integers of a lane start
  SmallVector<WeightFragments, 2> weights;
};

void Row::fill() {
  Value thread = e.thread();
  Value from = e.at(operands.input, e.mul(e.wide(operands.firstToken), activation.stride()));
  auto forShare = [&](int64_t count, function_ref<void(Value)> body) {
    e.forRange32(thread, e.cI32(count), kContractionThreads, body);
  };
  forShare(spec.planes * spec.columns / 16, [&](Value piece) {
    Value offset = e.shiftLeft(piece, 4);
    copyAsync(e, e.at(shared, offset), e.at(from, offset), 16, Value());
  });
  bool isWhole = place.scheme.sub == 32; // a sub-block has 32 columns
  forShare(spec.columns / 32, [&](Value block) {
    Value offset = e.shiftLeft(block, 2);
    Value scale = e.load(e.f32(), e.at(from, offset, activation.scale()), 4);
    e.store(scale, e.at(shared, offset, place.scales()), 4);
    if (!place.scheme.hasMin || !isWhole)
      return;
    // d times the exact sum, one rounding: the file has it for 16 columns only.
    Value isums = e.at(from, e.shiftLeft(block, 3), activation.isum());
    Value isum = e.add(e.load(e.i32(), isums, 4), e.load(e.i32(), e.at(isums, 4), 4));
    e.store(e.mulF(scale, e.toF32(isum)), e.at(shared, offset, place.minimumSums()), 4);
  });
  if (place.scheme.hasMin && !isWhole)
    forShare(spec.columns / 16, [&](Value sub) {
      Value offset = e.shiftLeft(sub, 2);
      copyAsync(e, e.at(shared, offset, place.minimumSums()), e.at(from, offset, activation.sum()), 4,
                Value());
    });
  commitCopies(e);
}

SmallVector<Row::Raws, 2> Row::loadWeights(Value chunk, int steps) {
  SmallVector<Raws, 2> raws;
  for (WeightFragments &each : weights)
    raws.push_back(each.load(chunk, steps));
  return raws;
}

SmallVector<Row::Raws, 2> Row::unflatten(ArrayRef<Raws> like, ValueRange values) {
  SmallVector<Raws, 2> raws;
  size_t each = values.size() / like.size();
  for (size_t product = 0; product < like.size(); ++product)
    raws.push_back(WeightFragments::unflatten(like[product], values.slice(product * each, each)));
  return raws;
}

Values Row::numbers(int64_t table, Value first, int64_t count) {
  Values values;
  Value from = e.at(shared, e.shiftLeft(first, 2), table);
  int64_t width = count % 4 == 0 && table % 16 == 0 ? 4 : 1;
  for (int64_t i = 0; i < count; i += width) {
    Value some = e.load(e.vec(e.f32(), width), e.at(from, i * 4), int(width * 4));
    for (int64_t j = 0; j < width; ++j)
      values.push_back(e.create<vector::ExtractOp>(some, ArrayRef<int64_t>{j}));
  }
  return values;
}

Value Row::dot(const WeightFragments::Fragment &fragment, int half, ArrayRef<Value> codes) {
  bool isWhole = weights[0].halves() == 1;
  auto kind = weights[0].isSigned() ? Emitter::Bytes::S8 : Emitter::Bytes::U8;
  auto multiply = [&](ArrayRef<Value> plane, Value sum) {
    for (int i = isWhole ? 0 : half * 2; i < (isWhole ? 4 : half * 2 + 2); ++i)
      sum = e.dp4a(fragment.a[i], kind, plane[i], sum);
    return sum;
  };
  Value sum;
  if (spec.planes == 1)
    sum = multiply(codes, seed);
  else
    sum = multiply(codes.drop_front(4), e.shiftLeft(multiply(codes.take_front(4), e.cI32(0)), 8));
  sum = e.add(sum, e.shuffleXor(sum, 16));
  return spec.planes == 1 ? e.subF(e.bitcast(sum, e.f32()), e.cF32(kMagic)) : e.toF32(sum);
}

void Row::compute(ArrayRef<Raws> raws, Value chunk, Values &sums) {
  int64_t steps = int64_t(raws[0].size()), halves = weights[0].halves();
  Value firstBlock = e.mul(chunk, kSteps);
  Values scales = numbers(place.scales(), firstBlock, steps), minimumSums;
  if (place.scheme.hasMin)
    minimumSums = numbers(place.minimumSums(), e.mul(firstBlock, halves), steps * halves);
  Value from = e.at(shared, e.add(e.mul(chunk, kChunk), e.shiftLeft(half, 3)));
  for (int64_t step = 0; step < steps; ++step) {
    Values codes; // of each plane: quads 2h and 2h + 1 of the first 16 columns, then of the others
    for (int plane = 0; plane < spec.planes; ++plane)
      for (int64_t part = 0; part < 2; ++part) {
        Value at = e.at(from, plane * spec.columns + step * 32 + part * 16);
        Value both = e.load(e.vec(e.i32(), 2), at, 8);
        for (int64_t i = 0; i < 2; ++i)
          codes.push_back(e.create<vector::ExtractOp>(both, ArrayRef<int64_t>{i}));
      }
    for (size_t product = 0; product < weights.size(); ++product) {
      WeightFragments::Fragment fragment = weights[product].decode(raws[product][step]);
      Value &sum = sums[product];
      for (int64_t i = 0; i < halves; ++i) {
        sum = e.fma(dot(fragment, int(i), codes), e.mulF(fragment.scale[0][i], scales[step]), sum);
        if (place.scheme.hasMin)
          sum = e.fma(fragment.minimum[0][i], minimumSums[step * halves + i], sum);
      }
    }
  }
}

void Row::emit() {
  lane = e.lane();
  half = e.shiftRightU(lane, 4);
  shared = e.shared(0);
  seed = e.select(e.equal(half, e.cI32(0)), e.cI32(kMagicBits), e.cI32(0));
  Value group = e.add(e.mul(e.blockY(), kTileColumns / 16), e.warp());
  for (Value base : operands.weights)
    weights.emplace_back(e, spec.format, spec.columns, rowGroup(e, spec, base, group), lane,
                         WeightFragments::Lanes::Rows);
  int64_t full = spec.columns / kChunk;
  int rest = int(spec.columns % kChunk / 32);
  fill();
  SmallVector<Raws, 2> raws = loadWeights(e.cI32(0), full > 0 ? kSteps : rest);
  waitForCopies(e, 0);
  e.barrier();
  Values sums(spec.products, e.cF32(0));
  auto loadFull = [&](Value chunk) { return loadWeights(e.minS(chunk, e.cI32(full - 1)), kSteps); };
  if (full > 1) {
    // Two chunks in turn, so that the next one's weights come into the registers of those that are used up.
    Values carried = sums;
    for (const Raws &each : raws)
      carried.append(WeightFragments::flatten(each));
    carried =
        e.forRange(e.cI32(0), e.cI32(full / 2 * 2), e.cI32(2), carried, [&](Value chunk, ValueRange values) {
          Values partial(values.take_front(sums.size()));
          SmallVector<Raws, 2> current = unflatten(raws, values.drop_front(sums.size()));
          Value second = e.add(chunk, 1);
          SmallVector<Raws, 2> next = loadFull(second);
          compute(current, chunk, partial);
          current = loadFull(e.add(chunk, 2));
          compute(next, second, partial);
          for (const Raws &each : current)
            partial.append(WeightFragments::flatten(each));
          return partial;
        });
    sums.assign(carried.begin(), carried.begin() + sums.size());
    raws = unflatten(raws, ValueRange(carried).drop_front(sums.size()));
  }
  if (full % 2 == 1)
    compute(raws, e.cI32(full - 1), sums);
  if (rest > 0)
    compute(full > 0 ? loadWeights(e.cI32(full), rest) : raws, e.cI32(full), sums);
  e.ifThen(e.equal(half, e.cI32(0)),
           [&] { storeResult(e, spec, operands, operands.firstToken, e.add(e.mul(group, 16), lane), sums); });
}

} // namespace

bool fitsVectorContraction(const ContractionSpec &spec) {
  return spec.input == ContractionInput::Quantized && vectorContractionSharedBytes(spec) <= kMostSharedBytes;
}

int64_t vectorContractionSharedBytes(const ContractionSpec &spec) { return Place{spec}.bytes(); }

void emitVectorContraction(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands) {
  Row(e, spec, operands).emit();
}

} // namespace heddle::cuda
