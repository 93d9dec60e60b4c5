// Block-quantized weights by quantized activations on int8 tensor cores.
//
// A warp holds the sums of 16 output columns for all tokens of the tile and goes over k in ascending order,
// so each sum is the chain that docs/kernel-abi.md states. Activations of 128 columns at a time go through a
// ring in shared memory, filled by cp.async; weights come straight from global memory, a chunk ahead, since
// no other warp of the block wants them.
#include "codegen/cuda/AsyncCopy.h"
#include "codegen/cuda/Contraction.h"
#include "codegen/cuda/Mma.h"
#include "codegen/cuda/WeightFragments.h"
#include "ir/ActivationLayout.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace heddle::cuda {
namespace {

constexpr int kChunk = WeightFragments::kChunk, kSteps = kChunk / 32;
/// Bytes between rows of codes in shared memory: eight rows of 16 bytes touch all banks once.
constexpr int kPitch = kChunk + 16;

/// Shared memory of one stage of the ring, for `tokens` rows.
struct Stage {
  int64_t tokens, planes;
  int64_t sums; // minimum's factors of 128 columns and a token; 0 without a minimum
  int64_t codesOf(int plane) const { return plane * tokens * kPitch; }
  /// Numbers between the tables' rows, one for each 32 or 16 columns: those of eight tokens and four rows lie
  /// in different banks.
  int64_t pitch() const { return tokens == 8 ? 8 : tokens + 8; }
  int64_t scales() const { return planes * tokens * kPitch; }             // f32 [4][pitch]
  int64_t minimumSums() const { return scales() + kSteps * pitch() * 4; } // f32 [sums][pitch]
  int64_t bytes() const { return minimumSums() + sums * pitch() * 4; }
};

Stage stageFor(const ContractionSpec &spec, int tokens) {
  const BlockScheme &scheme = *formatInfo(spec.format).scheme;
  return {tokens, spec.planes, scheme.hasMin ? kChunk / scheme.sub : 0};
}

int stagesFor(const ContractionSpec &spec, int tokens) {
  return 3 * stageFor(spec, tokens).bytes() <= 48 * 1024 ? 3 : 2;
}

class Tile {
public:
  Tile(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands, int tiles)
      : e(e), spec(spec), operands(operands), tiles(tiles), tokens(8 * tiles),
        activation{spec.columns, spec.planes}, stage(stageFor(spec, tokens)),
        stages(stagesFor(spec, tokens)) {}

  void emit();

private:
  using Raws = SmallVector<WeightFragments::Raw, 4>;

  void fill(Value chunk, Value stageOffset, int steps);
  SmallVector<Raws, 2> loadWeights(Value chunk, int steps);
  void compute(ArrayRef<Raws> raws, Value stageOffset, Values &sums);
  void multiply(const WeightFragments::Fragment &weights, int half, ArrayRef<Value> activations, Value scales,
                Value minimumSums, MutableArrayRef<Value> sums);
  Values mma(const WeightFragments::Fragment &weights, int half, ValueRange activations, ValueRange start);
  /// Fragments of the 32 columns of `step` for mma columns `tile` of plane `plane`: two registers.
  Values activations(Value stageOffset, int plane, int step, int tile);

  Emitter &e;
  const ContractionSpec &spec;
  const ContractionOperands &operands;
  const int tiles, tokens;
  const ActivationLayout activation;
  const Stage stage;
  const int stages;
  Value thread, lane, quad; // quad: lane % 4
  Value shared, matrixRow;  // byte offset of the row that this lane gives ldmatrix
  SmallVector<WeightFragments, 2> weights;
};

/// Brings codes and scales of `steps` steps of chunk `chunk` into a stage.
void Tile::fill(Value chunk, Value stageOffset, int steps) {
  Value to = e.at(shared, stageOffset);
  Value last = e.add(operands.tokens, -1);
  auto source = [&](Value token, Value &valid) {
    Value row = e.add(operands.firstToken, token);
    valid = e.lessThan(row, operands.tokens);
    return e.at(operands.input, e.mul(e.wide(e.minS(row, last)), activation.stride()));
  };
  int pieces = steps * 2; // of 16 codes
  for (int plane = 0; plane < spec.planes; ++plane)
    forShareUnrolled(e, thread, kContractionThreads, int64_t(tokens) * pieces, [&](Value index) {
      Value token = e.divU(index, pieces), piece = e.shiftLeft(e.remU(index, pieces), 4), valid;
      Value from = e.at(source(token, valid), e.add(e.mul(chunk, kChunk), piece), plane * activation.low());
      copyAsync(e, e.at(to, e.add(e.mul(token, kPitch), piece), stage.codesOf(plane)), from, 16, valid);
    });
  // Tables of `rows` numbers a token. Neighbouring lanes take neighbouring numbers of one token, whose
  // sectors are then used up.
  auto forTable = [&](int rows, function_ref<void(Value number, Value from, Value valid, Value place)> body) {
    int side = rows % 4 == 0 ? 4 : rows == 3 ? 3 : rows % 2 == 0 ? 2 : 1;
    forShareUnrolled(e, thread, kContractionThreads, int64_t(tokens) * rows, [&](Value index) {
      Value number = e.add(e.remU(index, side), e.mul(e.divU(index, side * tokens), side)), valid;
      Value token = e.remU(e.divU(index, side), tokens);
      Value from = source(token, valid);
      body(number, from, valid, e.shiftLeft(e.add(e.mul(number, stage.pitch()), token), 2));
    });
  };
  forTable(steps, [&](Value step, Value from, Value valid, Value place) {
    Value block = e.add(e.mul(chunk, kSteps), step);
    Value scaleAt = e.at(from, e.shiftLeft(block, 2), activation.scale());
    copyAsync(e, e.at(to, place, stage.scales()), scaleAt, 4, valid);
    if (stage.sums != kSteps)
      return;
    // d times the exact sum, one rounding: the file has it for 16 columns only.
    Value scale = e.load(e.f32(), scaleAt, 4);
    Value isums = e.load(e.vec(e.i32(), 2), e.at(from, e.shiftLeft(block, 3), activation.isum()),
                         activation.isum() % 8 == 0 ? 8 : 4);
    auto isum = [&](int64_t i) -> Value { return e.create<vector::ExtractOp>(isums, ArrayRef<int64_t>{i}); };
    e.store(e.mulF(scale, e.toF32(e.add(isum(0), isum(1)))), e.at(to, place, stage.minimumSums()), 4);
  });
  if (stage.sums == 2 * kSteps)
    forTable(steps * 2, [&](Value sub, Value from, Value valid, Value place) {
      Value number = e.add(e.mul(chunk, kSteps * 2), sub);
      copyAsync(e, e.at(to, place, stage.minimumSums()), e.at(from, e.shiftLeft(number, 2), activation.sum()),
                4, valid);
    });
}

SmallVector<Tile::Raws, 2> Tile::loadWeights(Value chunk, int steps) {
  SmallVector<Raws, 2> raws;
  for (WeightFragments &each : weights)
    raws.push_back(each.load(chunk, steps));
  return raws;
}

Values Tile::activations(Value stageOffset, int plane, int step, int tile) {
  Value row =
      e.at(shared, e.add(stageOffset, matrixRow), stage.codesOf(plane) + tile * 8 * kPitch + step * 32);
  Type pair = LLVM::LLVMStructType::getLiteral(e.getContext(), {e.i32(), e.i32()});
  return e.unpackStruct(e.create<NVVM::LdMatrixOp>(pair, row, 2, NVVM::MMALayout::row));
}

Values Tile::mma(const WeightFragments::Fragment &weights, int half, ValueRange activations,
                 ValueRange start) {
  bool whole = this->weights[0].halves() == 1;
  auto a = ArrayRef(weights.a);
  return mmaBytes(e, this->weights[0].isSigned(), whole ? a : a.slice(half * 2, 2),
                  whole ? activations : activations.slice(half, 1), start);
}

/// Adds one sub-block's products to `sums`: (row r, tokens 2q and 2q + 1), (row r + 8, the same).
void Tile::multiply(const WeightFragments::Fragment &weights, int half, ArrayRef<Value> activations,
                    Value scales, Value minimumSums, MutableArrayRef<Value> sums) {
  auto element = [&](Value pair, int64_t i) -> Value {
    return e.create<vector::ExtractOp>(pair, ArrayRef<int64_t>{i});
  };
  Values dots;
  if (spec.planes == 1) {
    // The sums start at kMagic, so that a subtraction makes floats of them.
    for (Value dot : mma(weights, half, activations, Values(4, e.cI32(kMagicBits))))
      dots.push_back(e.subF(e.bitcast(dot, e.f32()), e.cF32(kMagic)));
  } else {
    Values high = mma(weights, half, activations.take_front(2), Values(4, e.cI32(0)));
    for (Value &dot : high)
      dot = e.shiftLeft(dot, 8);
    for (Value dot : mma(weights, half, activations.drop_front(2), high))
      dots.push_back(e.toF32(dot));
  }
  for (int i = 0; i < 4; ++i) {
    Value scale = e.mulF(weights.scale[i / 2][half], element(scales, i % 2));
    sums[i] = e.fma(dots[i], scale, sums[i]);
    if (minimumSums)
      sums[i] = e.fma(weights.minimum[i / 2][half], element(minimumSums, i % 2), sums[i]);
  }
}

void Tile::compute(ArrayRef<Raws> raws, Value stageOffset, Values &sums) {
  int halves = weights[0].halves();
  Value pairs = e.at(shared, e.add(stageOffset, e.shiftLeft(quad, 3))); // tokens 2q and 2q + 1
  for (size_t step = 0; step < raws[0].size(); ++step) {
    SmallVector<WeightFragments::Fragment, 2> fragments;
    for (size_t product = 0; product < weights.size(); ++product)
      fragments.push_back(weights[product].decode(raws[product][step]));
    for (int tile = 0; tile < tiles; ++tile) {
      Values codes;
      for (int plane = 0; plane < spec.planes; ++plane)
        codes.append(activations(stageOffset, plane, int(step), tile));
      auto pairAt = [&](int64_t table, int64_t row) {
        return e.load(e.vec(e.f32(), 2), e.at(pairs, table + (row * stage.pitch() + tile * 8) * 4), 8);
      };
      Value scales = pairAt(stage.scales(), step);
      for (int half = 0; half < halves; ++half) {
        Value minimumSums = stage.sums ? pairAt(stage.minimumSums(), int64_t(step) * halves + half) : Value();
        for (size_t product = 0; product < weights.size(); ++product)
          multiply(fragments[product], half, codes, scales, minimumSums,
                   MutableArrayRef<Value>(sums).slice((product * tiles + tile) * 4, 4));
      }
    }
  }
}

void Tile::emit() {
  thread = e.thread();
  lane = e.lane();
  quad = e.bitAnd(lane, 3);
  shared = e.shared(0);
  // Matrix 0 is the first 16 columns of eight tokens, matrix 1 the next 16.
  matrixRow = e.add(e.mul(e.bitAnd(lane, 7), kPitch), e.shiftLeft(e.bitAnd(e.shiftRightU(lane, 3), 1), 4));
  Value group = e.add(e.mul(e.blockY(), kTileColumns / 16), e.warp());
  for (Value base : operands.weights)
    weights.emplace_back(e, spec.format, spec.columns, rowGroup(e, spec, base, group), lane);

  int64_t full = spec.columns / kChunk;
  int rest = int(spec.columns % kChunk / 32);
  Values sums(size_t(spec.products) * tiles * 4, e.cF32(0));
  auto offsetOf = [&](Value number) { return e.mul(e.remU(number, stages), stage.bytes()); };
  if (full > 0) {
    for (int i = 0; i < stages - 1; ++i) {
      if (i < full)
        fill(e.cI32(i), e.cI32(i * stage.bytes()), kSteps);
      commitCopies(e);
    }
    SmallVector<Raws, 2> like = loadWeights(e.cI32(0), kSteps);
    Values carried = sums;
    for (const Raws &raws : like)
      carried.append(WeightFragments::flatten(raws));
    carried = e.forRange(e.cI32(0), e.cI32(full), e.cI32(1), carried, [&](Value chunk, ValueRange values) {
      Values partial(values.take_front(sums.size()));
      SmallVector<Raws, 2> raws;
      ValueRange left = values.drop_front(sums.size());
      size_t each = left.size() / like.size();
      for (size_t product = 0; product < like.size(); ++product)
        raws.push_back(WeightFragments::unflatten(like[product], left.slice(product * each, each)));
      waitForCopies(e, stages - 2);
      e.barrier(); // the chunk is there for all, and all are done with the one before
      Value ahead = e.add(chunk, stages - 1);
      e.ifThen(e.lessThan(ahead, e.cI32(full)), [&] { fill(ahead, offsetOf(ahead), kSteps); });
      commitCopies(e);
      SmallVector<Raws, 2> next = loadWeights(e.minS(e.add(chunk, 1), e.cI32(full - 1)), kSteps);
      compute(raws, offsetOf(chunk), partial);
      for (const Raws &loaded : next)
        partial.append(WeightFragments::flatten(loaded));
      return partial;
    });
    sums.assign(carried.begin(), carried.begin() + sums.size());
  }
  if (rest > 0) {
    waitForCopies(e, 0);
    if (full > 0)
      e.barrier();
    fill(e.cI32(full), e.cI32(0), rest);
    commitCopies(e);
    SmallVector<Raws, 2> raws = loadWeights(e.cI32(full), rest);
    waitForCopies(e, 0);
    e.barrier();
    compute(raws, e.cI32(0), sums);
  } else {
    waitForCopies(e, 0); // groups may be empty, but none stays open
  }

  storeFragments(e, spec, operands, group, tiles, sums);
}

} // namespace

int64_t blockContractionSharedBytes(const ContractionSpec &spec) {
  // A smaller tile may have a stage more, of half the size at most.
  return stageFor(spec, tileRows(spec)).bytes() * stagesFor(spec, tileRows(spec));
}

void emitBlockContraction(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands,
                          int tiles) {
  Tile(e, spec, operands, tiles).emit();
}

} // namespace heddle::cuda
