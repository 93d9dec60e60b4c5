// Attention on tensor cores (FlashAttention-2, arXiv 2307.08691), keys and values from a paged f16 cache.
//
// The rows of the record times the query heads of the group are stacked to vectors, 16 for a warp. Keys come
// 64 at a time through shared memory. With more than 16 vectors each warp has vectors of its own and all
// keys; with fewer (decoding) all warps have the same vectors and a quarter of the keys each, and merge at
// the end.
//
// Queries and weights are f32: they enter as two f16 planes, high and low part, which keeps 22 bits. Queries
// are scaled by a power of two first so that none overflows.
#include "codegen/cuda/AsyncCopy.h"
#include "codegen/cuda/Attention.h"
#include "codegen/cuda/Mma.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {
namespace {

constexpr int kBlock = kAttentionWarps * kWarp;
constexpr int64_t kPage = HEDDLE_PAGE_TOKENS;
constexpr int kVectors = 16 * kAttentionWarps; // of a block
constexpr int kKeys = 64, kGroups = kKeys / 16;
constexpr int kMostUnrolled = 8; // copies of a thread

/// Attention is split for calls of few rows, whose records then are so small that all warps share their
/// vectors.
bool hasFewVectors(AttentionOp op) { return op.isSplit() && op.groupSize() <= 16; }

/// Shared memory of a block.
struct Layout {
  int64_t keyDim, valueDim;
  int stages;

  explicit Layout(AttentionOp op)
      : keyDim(shapeOf(op.getQuery().getType())[2]), valueDim(op.valueDim()),
        stages(std::max(keyDim, valueDim) > 128 ? 1 : 2) {}

  // A row more than whole 16-byte pieces, an odd number of them: eight rows touch all banks once.
  int64_t queryPitch() const { return keyDim * 2 + 16; }
  int64_t valuePitch() const { return valueDim * 2 + 16; }
  int64_t queryPlane(int plane) const { return plane * kVectors * queryPitch(); }
  int64_t factors() const { return queryPlane(2); } // f32 [vectors]
  int64_t stage(int number) const { return factors() + kVectors * 4 + number * stageBytes(); }
  int64_t keys() const {
    return 0;
  } // in a stage: [16 keys][element][32 bytes], halves swapped in turns of four
  int64_t values() const { return kKeys * keyDim * 2; }
  int64_t stageBytes() const { return values() + kKeys * valuePitch(); }
  // For merging, where the stages were: f32 [warp][vector][element], then maxima and sums. Pairs of elements
  // of four rows lie in different banks.
  int64_t partialPitch() const { return valueDim + 8; }
  int64_t partial() const { return stage(0); }
  int64_t partialStates() const { return partial() + kAttentionWarps * 16 * partialPitch() * 4; }
  int64_t bytes() const { return std::max(stage(stages), partialStates() + kAttentionWarps * 16 * 8); }
};

class Flash {
public:
  Flash(Emitter &e, AttentionOp op, const KernelContext &context, const AttentionOperands &operands)
      : e(e), op(op), context(context), operands(operands), layout(op),
        queryHeads(shapeOf(op.getQuery().getType())[1]), kvHeads(op.kvHeads()), group(op.groupSize()) {}

  void emit();

private:
  /// Running maximum and sum of rows lane / 4 and lane / 4 + 8 of the warp's vectors, and their outputs.
  struct State {
    Value maximum[2], sum[2];
    Values outputs; // [element / 8][4]
  };
  struct Tiles {
    Value first, end;
  };
  Values flatten(const State &state);
  State unflatten(ValueRange values);

  void loadQueries();
  void fill(Value tile, Value stageOffset);
  /// `groups` of 16 keys of each tile are this warp's, from `firstGroup` on.
  State attend(Tiles range, int groups, Value firstGroup, Value firstVector);
  /// All keys, or those of a chunk, which goes to a place of its own.
  void emitTiles(Tiles range, Value chunk);
  void step(State &state, Value tile, Value stageOffset, int groups, Value firstGroup, Value firstVector);
  Values scores(Value stageOffset, int groups, Value firstGroup, Value firstVector);
  void addValues(State &state, ValueRange weights, Value stageOffset, int groups, Value firstGroup);
  void storeVectors(const State &state, Value firstVector, Value chunk);
  void merge(const State &state, Value chunk);
  Value target(Value vector, Value chunk);

  Emitter &e;
  AttentionOp op;
  const KernelContext &context;
  const AttentionOperands &operands;
  const Layout layout;
  const int64_t queryHeads, kvHeads, group;
  Value thread, lane, warp, shared, vectors;
  Value matrix, matrixRow; // of this lane's address for ldmatrix
};

Values Flash::flatten(const State &state) {
  Values values{state.maximum[0], state.maximum[1], state.sum[0], state.sum[1]};
  values.append(state.outputs);
  return values;
}

Flash::State Flash::unflatten(ValueRange values) {
  State state{{values[0], values[1]}, {values[2], values[3]}, {}};
  state.outputs.append(values.begin() + 4, values.end());
  return state;
}

/// Two numbers as registers of two f16: rounded, and what is left.
static std::pair<Value, Value> splitHalves(Emitter &e, Value low, Value high) {
  Value rounded = packHalves(e, low, high), halves = e.bitcast(rounded, e.vec(e.f16(), 2));
  auto rest = [&](Value whole, int64_t index) {
    return e.subF(whole, e.toF32(e.create<LLVM::ExtractElementOp>(halves, e.cI32(index))));
  };
  Value left = rest(low, 0);
  return {rounded, packHalves(e, left, rest(high, 1))};
}

/// Vectors as two planes of f16, each divided by the power of two of its largest element. A warp takes 16,
/// two at a time for four lanes, whose pairs of elements lie side by side.
void Flash::loadQueries() {
  Value row = e.shiftRightU(lane, 2), quad = e.bitAnd(lane, 3), last = e.add(vectors, -1);
  for (int i = 0; i < 2; ++i) {
    Value vector = e.add(e.add(e.shiftLeft(warp, 4), row), i * 8), from = e.minS(vector, last);
    Value head = e.add(e.mul(operands.kvHead, group), e.remU(from, group));
    Value place =
        e.add(e.mul(e.wide(e.add(operands.rowBegin, e.divU(from, group))), queryHeads), e.wide(head));
    Value source =
        e.at(e.at(operands.addressOf(op.getQuery()), e.mul(place, layout.keyDim * 4)), e.shiftLeft(quad, 3));
    SmallVector<std::pair<Value, Value>> numbers;
    Value size = e.cI32(0);
    for (int64_t d = 0; d < layout.keyDim; d += 8) {
      Value both = e.load(e.vec(e.f32(), 2), e.at(source, d * 4), 8);
      auto numberOf = [&](int64_t j) -> Value {
        Value number = e.create<vector::ExtractOp>(both, ArrayRef<int64_t>{j});
        size = e.create<arith::MaxUIOp>(size, e.bitAnd(e.bitcast(number, e.i32()), 0x7fffffff));
        return number;
      };
      Value low = numberOf(0);
      numbers.push_back({low, numberOf(1)});
    }
    size = e.combineLanes(size, 4, [&](Value a, Value b) { return e.create<arith::MaxUIOp>(a, b); });
    // The exponent alone is a power of two; one away from the ends keeps its inverse a normal number.
    Value exponent = e.bitAnd(size, 0x7f800000);
    exponent = e.minS(e.maxS(exponent, e.cI32(0x08000000)), e.cI32(0x77000000));
    Value inverse = e.bitcast(e.sub(e.cI32(0x7f000000), exponent), e.f32());
    Value to = e.at(shared, e.add(e.mul(vector, layout.queryPitch()), e.shiftLeft(quad, 2)));
    for (auto [j, number] : llvm::enumerate(numbers)) {
      auto [first, second] = splitHalves(e, e.mulF(number.first, inverse), e.mulF(number.second, inverse));
      e.store(first, e.at(to, layout.queryPlane(0) + int64_t(j) * 16), 4);
      e.store(second, e.at(to, layout.queryPlane(1) + int64_t(j) * 16), 4);
    }
    e.ifThen(e.equal(quad, e.cI32(0)), [&] {
      e.store(e.bitcast(exponent, e.f32()), e.at(e.at(shared, e.shiftLeft(vector, 2)), layout.factors()), 4);
    });
  }
}

/// Brings 64 keys and their values into a stage. Both lie in one piece in a page.
void Flash::fill(Value tile, Value stageOffset) {
  int64_t keyBytes = kvHeads * kPage * layout.keyDim * 2,
          pageBytes = keyBytes + kvHeads * kPage * layout.valueDim * 2;
  Value entry = e.add(e.mul(operands.slot, context.maxContext / kPage), e.divU(tile, kPage / kKeys));
  Value number = e.load(e.i32(), e.at(operands.pageTable, e.shiftLeft(entry, 2)), 4);
  Value page = e.at(operands.addressOf(op.getCache()), e.mul(e.wide(number), pageBytes));
  Value part = e.add(e.mul(operands.kvHead, kPage / kKeys), e.remU(tile, kPage / kKeys));
  Value keys = e.at(page, e.mul(part, kKeys * layout.keyDim * 2));
  Value values = e.at(page, e.mul(part, kKeys * layout.valueDim * 2), keyBytes);
  Value to = e.at(shared, stageOffset);
  // Unrolled, the addresses of a wide head's many pieces would take the registers of its sums.
  auto forShare = [&](int64_t count, function_ref<void(Value)> body) {
    if (count <= kMostUnrolled * kBlock)
      forShareUnrolled(e, thread, kBlock, count, body);
    else
      e.forRange32(thread, e.cI32(count), kBlock, body);
  };
  forShare(kKeys * layout.keyDim / 8, [&](Value piece) {
    // Element d's two halves of 8 keys change places in every other turn of four.
    Value swap = e.bitAnd(e.shiftRightU(piece, 3), 1);
    Value place = e.create<arith::XOrIOp>(piece, swap);
    copyAsync(e, e.at(to, e.shiftLeft(place, 4), layout.keys()), e.at(keys, e.shiftLeft(piece, 4)), 16,
              Value());
  });
  int64_t pieces = layout.valueDim / 8;
  Value end = e.sub(e.add(operands.position, operands.rowCount), e.mul(tile, kKeys));
  forShare(kKeys * pieces, [&](Value piece) {
    Value key = e.divU(piece, pieces);
    Value place = e.add(e.mul(key, layout.valuePitch()), e.shiftLeft(e.remU(piece, pieces), 4));
    // What lies past the last key may be anything; times a weight of zero it must be zero.
    copyAsync(e, e.at(to, place, layout.values()), e.at(values, e.shiftLeft(piece, 4)), 16,
              e.lessThan(key, end));
  });
}

/// Dot products of the warp's vectors with its keys: [8 keys][4].
Values Flash::scores(Value stageOffset, int groups, Value firstGroup, Value firstVector) {
  Values sums(size_t(groups) * 8, e.cF32(0));
  Value half = e.shiftRightU(matrix, 1), block = e.bitAnd(matrix, 1);
  // Queries: matrices are the two halves of the vectors, then of the elements.
  Value query = e.at(
      shared, e.add(e.mul(e.add(firstVector, e.add(e.shiftLeft(block, 3), matrixRow)), layout.queryPitch()),
                    e.shiftLeft(half, 4)));
  // Keys: the two halves of the elements, then of the keys.
  Value swapped = e.create<arith::XOrIOp>(half, e.bitAnd(e.shiftRightU(matrixRow, 2), 1));
  Value key = e.add(e.shiftLeft(e.add(e.shiftLeft(block, 3), matrixRow), 5), e.shiftLeft(swapped, 4));
  key = e.at(shared, e.add(e.add(stageOffset, e.mul(firstGroup, layout.keyDim * 32)), key), layout.keys());
  for (int64_t d = 0; d < layout.keyDim; d += 16) {
    Values high = loadMatrices(e, e.at(query, layout.queryPlane(0) + d * 2), false);
    Values low = loadMatrices(e, e.at(query, layout.queryPlane(1) + d * 2), false);
    for (int g = 0; g < groups; ++g) {
      Values keys = loadMatrices(e, e.at(key, (g * layout.keyDim + d) * 32), true);
      for (int n = 0; n < 2; ++n) {
        auto sum = MutableArrayRef<Value>(sums).slice((g * 2 + n) * 4, 4);
        ArrayRef<Value> b = ArrayRef<Value>(keys).slice(n * 2, 2);
        Values next = mma16816(e, e.f16(), high, b, mma16816(e, e.f16(), low, b, sum));
        llvm::copy(next, sum.begin());
      }
    }
  }
  return sums;
}

void Flash::addValues(State &state, ValueRange weights, Value stageOffset, int groups, Value firstGroup) {
  Value half = e.shiftRightU(matrix, 1), block = e.bitAnd(matrix, 1);
  Value row = e.add(e.shiftLeft(firstGroup, 4), e.add(e.shiftLeft(block, 3), matrixRow));
  Value base = e.at(shared, e.add(stageOffset, e.add(e.mul(row, layout.valuePitch()), e.shiftLeft(half, 4))),
                    layout.values());
  for (int g = 0; g < groups; ++g) {
    Values high, low;
    for (int n = 0; n < 2; ++n)
      for (int i = 0; i < 2; ++i) { // rows r, then r + 8
        Value first = weights[(g * 2 + n) * 4 + i * 2], second = weights[(g * 2 + n) * 4 + i * 2 + 1];
        auto [rounded, rest] = splitHalves(e, first, second);
        high.push_back(rounded);
        low.push_back(rest);
      }
    for (int64_t d = 0; d < layout.valueDim; d += 16) {
      Values values = loadMatrices(e, e.at(base, g * 16 * layout.valuePitch() + d * 2), true);
      for (int n = 0; n < 2; ++n) {
        auto sum = MutableArrayRef<Value>(state.outputs).slice((d / 8 + n) * 4, 4);
        ArrayRef<Value> b = ArrayRef<Value>(values).slice(n * 2, 2);
        Values next = mma16816(e, e.f16(), high, b, mma16816(e, e.f16(), low, b, sum));
        llvm::copy(next, sum.begin());
      }
    }
  }
}

void Flash::step(State &state, Value tile, Value stageOffset, int groups, Value firstGroup,
                 Value firstVector) {
  Values sums = scores(stageOffset, groups, firstGroup, firstVector);
  Value row = e.shiftRightU(lane, 2), pair = e.shiftLeft(e.bitAnd(lane, 3), 1);
  Value firstKey = e.add(e.add(e.mul(tile, kKeys), e.shiftLeft(firstGroup, 4)), pair);
  Value minusInfinity = e.cF32(-INFINITY), zero = e.cF32(0);
  Value largest[2] = {minusInfinity, minusInfinity};
  for (int i = 0; i < 2; ++i) {
    Value vector = e.add(e.add(firstVector, row), i * 8);
    Value factor = e.load(e.f32(), e.at(e.at(shared, e.shiftLeft(vector, 2)), layout.factors()), 4);
    Value scale = e.mulF(factor, e.cF32(op.getScale().convertToDouble()));
    Value number = e.divU(vector, group), head = e.add(e.mul(operands.kvHead, group), e.remU(vector, group));
    Value position = e.add(operands.position, number);
    for (int n = 0; n < groups * 2; ++n)
      for (int j = 0; j < 2; ++j) {
        Value &score = sums[n * 4 + i * 2 + j];
        Value key = e.add(firstKey, n * 8 + j);
        auto region = [&](Region &region) {
          QueryPlace query{e.add(operands.rowBegin, number), head, operands.kvHead, position};
          return emitAttentionRegion(e, operands, region, query, key, score);
        };
        score = e.mulF(score, scale);
        score = region(op.getScore());
        Value isSeen = e.create<arith::CmpIOp>(arith::CmpIPredicate::sle, key, position);
        if (!op.getMask().empty())
          isSeen = e.bitAnd(isSeen, region(op.getMask()));
        score = e.select(isSeen, score, minusInfinity); // its weight will be 0
        largest[i] = e.maxF(largest[i], score);
      }
  }
  for (int i = 0; i < 2; ++i) {
    Value next = e.combineLanes(largest[i], 4, [&](Value a, Value b) { return e.maxF(a, b); });
    next = e.maxF(next, state.maximum[i]);
    // As long as no key was seen there is nothing to scale, and no difference of infinities.
    Value none = e.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, next, minusInfinity);
    Value base = e.select(none, zero, next);
    auto exp = [&](Value x) -> Value { return e.create<math::ExpOp>(e.subF(x, base)); };
    Value factor = exp(state.maximum[i]), sum = zero;
    for (int n = 0; n < groups * 2; ++n)
      for (int j = 0; j < 2; ++j) {
        Value &weight = sums[n * 4 + i * 2 + j];
        weight = exp(weight);
        sum = e.addF(sum, weight);
      }
    sum = e.combineLanes(sum, 4, [&](Value a, Value b) { return e.addF(a, b); });
    state.sum[i] = e.fma(state.sum[i], factor, sum);
    state.maximum[i] = next;
    for (size_t n = 0; n < state.outputs.size(); n += 4)
      for (int j = 0; j < 2; ++j)
        state.outputs[n + i * 2 + j] = e.mulF(state.outputs[n + i * 2 + j], factor);
  }
  addValues(state, sums, stageOffset, groups, firstGroup);
}

Flash::State Flash::attend(Tiles range, int groups, Value firstGroup, Value firstVector) {
  Value zero = e.cF32(0), minusInfinity = e.cF32(-INFINITY);
  State state{{minusInfinity, minusInfinity}, {zero, zero}, Values(layout.valueDim / 8 * 4, zero)};
  auto stageOf = [&](Value tile) {
    return e.add(e.mul(e.remU(tile, layout.stages), layout.stageBytes()), layout.stage(0));
  };
  if (layout.stages > 1) {
    fill(range.first, stageOf(range.first));
    commitCopies(e);
  }
  Values end =
      e.forRange(range.first, range.end, e.cI32(1), flatten(state), [&](Value tile, ValueRange carried) {
        State current = unflatten(carried);
        Value next = e.add(tile, layout.stages - 1);
        if (layout.stages > 1)
          waitForCopies(e, 0);
        e.barrier(); // the tile is there for all, or all are done with the one before
        e.ifThen(e.lessThan(next, range.end), [&] { fill(next, stageOf(next)); });
        commitCopies(e);
        if (layout.stages == 1) {
          waitForCopies(e, 0);
          e.barrier();
        }
        step(current, tile, stageOf(tile), groups, firstGroup, firstVector);
        return flatten(current);
      });
  waitForCopies(e, 0);
  return unflatten(end);
}

Value Flash::target(Value vector, Value chunk) {
  Value row = e.add(operands.rowBegin, e.divU(vector, group));
  Value head = e.add(e.mul(operands.kvHead, group), e.remU(vector, group));
  Value to = resultAddress(e, op, operands, row, head);
  return chunk ? e.at(to, e.mul(chunk, chunkBytes(op))) : to;
}

static Value pairOf(Emitter &e, Value first, Value second) {
  Value pair = e.create<LLVM::UndefOp>(e.vec(e.f32(), 2));
  pair = e.create<LLVM::InsertElementOp>(pair, first, e.cI32(0));
  return e.create<LLVM::InsertElementOp>(pair, second, e.cI32(1));
}

void Flash::storeVectors(const State &state, Value firstVector, Value chunk) {
  Value quad = e.bitAnd(lane, 3);
  for (int i = 0; i < 2; ++i) {
    Value vector = e.add(e.add(firstVector, e.shiftRightU(lane, 2)), i * 8);
    Value factor = chunk ? e.cF32(1) : inverseOrZero(e, state.sum[i]);
    e.ifThen(e.lessThan(vector, vectors), [&] {
      Value to = target(vector, chunk);
      for (int64_t d = 0; d < layout.valueDim; d += 8) {
        const Value *outputs = &state.outputs[d / 8 * 4 + i * 2];
        e.store(pairOf(e, e.mulF(outputs[0], factor), e.mulF(outputs[1], factor)),
                e.at(to, e.shiftLeft(quad, 3), d * 4), 8);
      }
      if (chunk)
        e.ifThen(e.equal(quad, e.cI32(0)), [&] {
          e.store(pairOf(e, state.sum[i], state.maximum[i]), e.at(to, layout.valueDim * 4), 8);
        });
    });
  }
}

/// The warps have the same vectors, each with a part of the keys.
void Flash::merge(const State &state, Value chunk) {
  e.barrier(); // all are done with the stages, whose place the partial results take
  Value row = e.shiftRightU(lane, 2), pair = e.shiftLeft(e.bitAnd(lane, 3), 1);
  Value first = e.shiftLeft(warp, 4);
  for (int i = 0; i < 2; ++i) {
    Value number = e.add(e.add(first, row), i * 8);
    Value to =
        e.at(shared, e.shiftLeft(e.add(e.mul(number, layout.partialPitch()), pair), 2), layout.partial());
    for (int64_t d = 0; d < layout.valueDim; d += 8) {
      const Value *outputs = &state.outputs[d / 8 * 4 + i * 2];
      e.store(pairOf(e, outputs[0], outputs[1]), e.at(to, d * 4), 8);
    }
    e.ifThen(e.equal(pair, e.cI32(0)), [&] {
      Value states = e.at(shared, e.shiftLeft(number, 3), layout.partialStates());
      e.store(state.maximum[i], states, 4);
      e.store(state.sum[i], e.at(states, 4), 4);
    });
  }
  e.barrier();
  Value count = e.mul(vectors, layout.valueDim);
  e.forRange32(thread, count, kBlock, [&](Value index) {
    Value vector = e.divU(index, layout.valueDim), element = e.remU(index, layout.valueDim);
    auto stateOf = [&](int w, int part) {
      Value place = e.shiftLeft(e.add(vector, w * 16), 3);
      return e.load(e.f32(), e.at(shared, place, layout.partialStates() + part * 4), 4);
    };
    Value maximum = stateOf(0, 0);
    for (int w = 1; w < kAttentionWarps; ++w)
      maximum = e.maxF(maximum, stateOf(w, 0));
    Value none = e.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, maximum, e.cF32(-INFINITY));
    Value base = e.select(none, e.cF32(0), maximum);
    Value sum = e.cF32(0), output = e.cF32(0);
    for (int w = 0; w < kAttentionWarps; ++w) {
      Value factor = e.create<math::ExpOp>(e.subF(stateOf(w, 0), base));
      Value place = e.shiftLeft(
          e.add(e.add(e.mul(vector, layout.partialPitch()), element), w * 16 * layout.partialPitch()), 2);
      sum = e.fma(stateOf(w, 1), factor, sum);
      output = e.fma(e.load(e.f32(), e.at(shared, place, layout.partial()), 4), factor, output);
    }
    Value to = target(vector, chunk);
    if (!chunk)
      return e.store(e.mulF(output, inverseOrZero(e, sum)), e.at(to, e.shiftLeft(element, 2)), 4);
    e.store(output, e.at(to, e.shiftLeft(element, 2)), 4);
    e.ifThen(e.equal(element, e.cI32(0)), [&] {
      e.store(sum, e.at(to, layout.valueDim * 4), 4);
      e.store(maximum, e.at(to, layout.valueDim * 4 + 4), 4);
    });
  });
}

void Flash::emit() {
  thread = e.thread();
  lane = e.lane();
  warp = e.warp();
  shared = e.shared(0);
  matrix = e.shiftRightU(lane, 3);
  matrixRow = e.bitAnd(lane, 7);
  vectors = e.mul(operands.rowCount, group);
  // Few vectors are those of the first warp for all.
  Value hasVectors = e.equal(warp, e.cI32(0));
  if (!hasFewVectors(op))
    hasVectors = e.bitOr(hasVectors, e.lessThan(e.cI32(16), vectors));
  e.ifThen(hasVectors, [&] { loadQueries(); });
  e.barrier();
  Value keys = e.add(operands.position, operands.rowCount);
  Value tiles = e.divU(e.add(keys, kKeys - 1), kKeys);
  if (!op.isSplit())
    return emitTiles({e.cI32(0), tiles}, {});
  constexpr int64_t ofChunk = HEDDLE_CHUNK_TOKENS / kKeys;
  forOwnChunks(e, op, operands, keys, [&](Value chunk) {
    Value first = e.mul(chunk, ofChunk);
    emitTiles({first, e.minS(e.add(first, ofChunk), tiles)}, chunk);
    e.barrier(); // the stages are free again
  });
}

void Flash::emitTiles(Tiles range, Value chunk) {
  Value zero = e.cI32(0);
  auto shareKeys = [&] { merge(attend(range, kGroups / kAttentionWarps, warp, zero), chunk); };
  if (hasFewVectors(op))
    return shareKeys();
  e.ifThenElse(
      e.lessThan(e.cI32(16), vectors),
      [&] {
        Value firstVector = e.shiftLeft(warp, 4);
        storeVectors(attend(range, kGroups, zero, firstVector), firstVector, chunk);
      },
      shareKeys);
}

} // namespace

bool FlashAttention::fits(AttentionOp op) {
  Layout layout(op);
  return op.getCache() && cast<KvCacheType>(op.getCache().getType()).getElementType().isF16() &&
         op.getSelections().empty() && layout.keyDim % 16 == 0 && layout.valueDim % 16 == 0 &&
         std::max(layout.keyDim, layout.valueDim) <= 256 && op.groupSize() <= kVectors;
}

uint32_t FlashAttention::recordRows(AttentionOp op) {
  return uint32_t((hasFewVectors(op) ? 16 : kVectors) / op.groupSize());
}
int64_t FlashAttention::sharedBytes(AttentionOp op) { return Layout(op).bytes(); }

void FlashAttention::emit(Emitter &e, AttentionOp op, const KernelContext &context,
                          const AttentionOperands &operands) {
  Flash(e, op, context, operands).emit();
}

} // namespace heddle::cuda
