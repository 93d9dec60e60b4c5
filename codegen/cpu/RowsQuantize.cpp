// Quantized activations (docs/kernel-abi.md, "Quantized activations").
#include "codegen/cpu/RowsBuilder.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

static constexpr int64_t kInfinityBits = 0x7f800000;

/// An instruction that works on each 128-bit lane, on vectors of 512 bits: halves where the level's are
/// narrower.
static Value inLanes(Emitter &e, StringRef wide, StringRef narrow, VectorType type, Value a, Value b) {
  if (e.lanes == 16)
    return e.intrinsic(wide, type, {a, b});
  auto half = [&](Value x, int i) {
    int count = cast<VectorType>(x.getType()).getNumElements() / 2;
    return e.slice(x, i * count, count);
  };
  int64_t count = type.getNumElements();
  VectorType halfType = e.vec(type.getElementType(), count / 2);
  Value low = e.intrinsic(narrow, halfType, {half(a, 0), half(b, 0)}),
        high = e.intrinsic(narrow, halfType, {half(a, 1), half(b, 1)});
  SmallVector<int64_t> both;
  for (int64_t i = 0; i < count; ++i)
    both.push_back(i);
  return e.create<vector::ShuffleOp>(low, high, both);
}

static Value shuffle(Emitter &e, Value a, Value b, function_ref<int64_t(int64_t)> from, int count) {
  SmallVector<int64_t> lanes;
  for (int i = 0; i < count; ++i)
    lanes.push_back(from(i));
  return e.create<vector::ShuffleOp>(a, b, lanes);
}

/// 16 lanes whose lower half holds a's lanes i and i + 8 combined, the upper half b's.
static Value combineHalves(Emitter &e, Value a, Value b, function_ref<Value(Value, Value)> combine) {
  Value low = shuffle(e, a, b, [](int64_t i) { return i < 8 ? i : i + 8; }, 16);
  Value high = shuffle(e, a, b, [](int64_t i) { return i < 8 ? i + 8 : i + 16; }, 16);
  return combine(low, high);
}

/// Combines each lane with the one whose number differs in the bit `distance`.
static Value combineWith(Emitter &e, Value x, int distance, function_ref<Value(Value, Value)> combine) {
  return combine(x, shuffle(e, x, x, [&](int64_t i) { return i ^ distance; }, 16));
}

static Value clampedTo(Emitter &e, Value x, double limit) {
  auto bound = [&](double value, arith::CmpFPredicate outside, Value y) {
    Value end = e.constant(y.getType(), value);
    return e.select(e.create<arith::CmpFOp>(outside, y, end), end, y);
  };
  return bound(-limit, arith::CmpFPredicate::OLT, bound(limit, arith::CmpFPredicate::OGT, x));
}

// Two blocks at a time, so that their reductions share shuffles, which one port of the machine does.
void RowsBuilder::emitQuantizeBlocks(QuantizeOp op, ArrayRef<Value> columns, Value index) {
  ActivationLayout layout = activationLayout(op.getType());
  Value target = destination(op.getResult());
  if (layout.planes == 0) {
    for (auto [i, column] : llvm::enumerate(columns))
      e.store(e.roundToBfloat16(column), e.at(target, e.shiftLeft(index, 1), i * kLanes * 2));
    return;
  }
  int blocks = int(columns.size() / 2);
  auto maximum = [&](Value a, Value b) { return e.maxS(a, b); };
  auto sum = [&](Value a, Value b) { return e.add(a, b); };
  auto perBlock = [&](Value x, Type element) { return e.bitcast(x, e.vec(element, blocks)); };

  // Sizes of floats order like their bits, and NaN is above infinity: an integer maximum misses neither.
  auto size = [&](Value x) { return e.bitAnd(e.bitcast(x, ints), 0x7fffffff); };
  VectorType blockFloats = e.vec(e.f32(), blocks);
  Value scale;
  Values codes;
  auto addCodes = [&](Value column, Value inverse, Value keep) {
    // Adding 1.5 * 2^23 rounds half to even and leaves the integer in the low bits.
    Value scaled = e.mulF(column, inverse);
    if (op.getScale())
      scaled = clampedTo(e, scaled, layout.limit());
    Value shifted = e.addF(scaled, e.constant(floats, 12582912.0));
    codes.push_back(e.create<arith::AndIOp>(e.add(e.bitcast(shifted, ints), -0x4b400000), keep));
  };
  if (op.getScale()) { // known: no pass over the block to find it
    const float known = op.getScale()->convertToFloat();
    scale = e.constant(blockFloats, known);
    for (Value column : columns)
      addCodes(column, e.constant(floats, 1 / known),
               e.extendS(e.lessThan(size(column), e.constantInt(ints, kInfinityBits)), e.i32()));
  } else {
    Value first = e.maxS(size(columns[0]), size(columns[1]));
    Value second = blocks == 2 ? e.maxS(size(columns[2]), size(columns[3])) : first;
    Value sizes = combineHalves(e, first, second, maximum);
    for (int distance : {4, 2, 1})
      sizes = combineWith(e, sizes, distance, maximum);
    Value sizeBits = shuffle(e, sizes, sizes, [](int64_t block) { return block * 8; }, blocks);
    scale = e.divF(perBlock(sizeBits, e.f32()), e.constant(blockFloats, layout.limit()));
    Value inverse = e.divF(e.constant(blockFloats, 1), scale);
    // An infinite inverse covers amax = 0, and sizes so small that nothing could be told apart.
    Value infinity = e.constantInt(e.vec(e.i32(), blocks), kInfinityBits);
    Value finite = e.create<arith::AndIOp>(e.lessThan(sizeBits, infinity),
                                           e.lessThan(perBlock(inverse, e.i32()), infinity));
    Value keep = e.extendS(finite, e.i32());
    scale = perBlock(e.create<arith::AndIOp>(perBlock(scale, e.i32()), keep), e.f32());
    for (auto [i, column] : llvm::enumerate(columns)) {
      auto everywhere = [&, block = i / 2](Value x) {
        return shuffle(e, x, x, [&](int64_t) { return block; }, kLanes);
      };
      addCodes(column, everywhere(inverse), everywhere(keep));
    }
  }
  e.store(scale, e.at(target, e.shiftRightU(index, 3), layout.scale()));
  while (codes.size() < 4)
    codes.push_back(e.constantInt(ints, 0));

  // In each 128-bit lane four codes of one vector and four of the next, 16 bits each.
  VectorType words = e.vec(e.i16(), 32), bytes = e.vec(e.i8(), 64);
  auto packWords = [&](Value a, Value b) {
    return inLanes(e, "llvm.x86.avx512.packssdw.512", "llvm.x86.avx2.packssdw", words, a, b);
  };
  Value pairs[2] = {packWords(codes[0], codes[1]), packWords(codes[2], codes[3])};
  auto storePlane = [&](Value packed, int64_t offset) {
    // Dword j of lane k is dword k of vector j.
    Value dwords = e.bitcast(packed, ints);
    Value ordered = shuffle(e, dwords, dwords, [](int64_t i) { return i % 4 * 4 + i / 4; }, 8 * blocks);
    e.store(ordered, e.at(target, index, offset));
  };
  if (layout.planes == 2) {
    // q = 256 * hi + lo with lo in [-128, 127].
    auto packBytes = [&](Value a, Value b) {
      return inLanes(e, "llvm.x86.avx512.packuswb.512", "llvm.x86.avx2.packuswb", bytes, a, b);
    };
    auto low = [&](Value pair) { return e.bitAnd(pair, 255); };
    auto high = [&](Value pair) { return e.shiftRightU(e.add(pair, 128), 8); };
    storePlane(packBytes(low(pairs[0]), low(pairs[1])), layout.low());
    storePlane(packBytes(high(pairs[0]), high(pairs[1])), 0);
  } else {
    storePlane(
        inLanes(e, "llvm.x86.avx512.packsswb.512", "llvm.x86.avx2.packsswb", bytes, pairs[0], pairs[1]), 0);
  }

  // Adding neighbours leaves two partial sums of each vector in every lane.
  auto addNeighbours = [&](Value pair) {
    return inLanes(e, "llvm.x86.avx512.pmaddw.d.512", "llvm.x86.avx2.pmadd.wd", ints, pair,
                   e.constantInt(words, 1));
  };
  Value sums = combineHalves(e, addNeighbours(pairs[0]), addNeighbours(pairs[1]), sum);
  sums = combineWith(e, combineWith(e, sums, 4, sum), 1, sum);
  Value isum = shuffle(e, sums, sums, [](int64_t i) { return i / 2 * 8 + i % 2 * 2; }, 2 * blocks);
  Value scales = shuffle(e, scale, scale, [](int64_t i) { return i / 2; }, 2 * blocks);
  Value offset = e.shiftRightU(index, 2);
  e.store(e.mulF(scales, e.toF32(isum)), e.at(target, offset, layout.sum()));
  e.store(isum, e.at(target, offset, layout.isum()));
}

void RowsBuilder::emitDequantize(DequantizeOp op) {
  ActivationLayout layout = activationLayout(op.getInput().getType());
  Value input = memory(op.getInput());
  defer(op, [this, layout, input](const Column &column) {
    // Columns are multiples of 32: there are no partial ones.
    Value index = e.add(column.index, column.more);
    if (layout.planes == 0) {
      Value bits = e.load(e.vec(e.i16(), kLanes), e.at(input, e.shiftLeft(index, 1)));
      return e.widenBfloat16(bits);
    }
    VectorType bytes = e.vec(e.i8(), kLanes);
    Value code = e.extendS(e.load(bytes, e.at(input, index)), e.i32());
    if (layout.planes == 2)
      code = e.add(e.shiftLeft(code, 8), e.extendS(e.load(bytes, e.at(input, index, layout.low())), e.i32()));
    Value scale = e.load(e.f32(), e.at(input, e.shiftLeft(e.shiftRightU(index, 5), 2), layout.scale()));
    return e.mulF(e.toF32(code), e.splat(scale, floats));
  });
}

} // namespace heddle::cpu
