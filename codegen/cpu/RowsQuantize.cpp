// Quantized activations (docs/kernel-abi.md, "Quantized activations").
#include "codegen/cpu/RowsBuilder.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

static constexpr int64_t kInfinityBits = 0x7f800000;

static Value reduceLanes(Emitter &e, Value vector, function_ref<Value(Value, Value)> combine) {
  for (int n = cast<VectorType>(vector.getType()).getNumElements(); n > 1; n /= 2)
    vector = combine(e.slice(vector, 0, n / 2), e.slice(vector, n / 2, n / 2));
  return e.create<vector::ExtractOp>(vector, ArrayRef<int64_t>{0});
}

void RowsBuilder::emitQuantizeBlock(QuantizeOp op, Value columns[2], Value index) {
  ActivationLayout layout = activationLayout(op.getType());
  Value target = destination(op.getResult());
  // Sizes of floats order like their bits, and NaN is above infinity: an integer maximum misses neither.
  auto size = [&](Value x) { return e.bitAnd(e.bitcast(x, ints), 0x7fffffff); };
  Value sizeBits = reduceLanes(e, e.maxS(size(columns[0]), size(columns[1])), [&](Value a, Value b) { return e.maxS(a, b); });
  Value scale = e.divF(e.bitcast(sizeBits, e.f32()), e.cF32(layout.limit()));
  Value inverse = e.divF(e.cF32(1), scale);
  // An infinite inverse covers amax = 0, and sizes so small that nothing could be told apart.
  Value finite = e.create<arith::AndIOp>(e.lessThan(sizeBits, e.cI32(kInfinityBits)),
                                         e.lessThan(e.bitcast(inverse, e.i32()), e.cI32(kInfinityBits)));
  Value keep = e.extendS(finite, e.i32()), keepLanes = e.splat(keep, ints);
  scale = e.bitcast(e.create<arith::AndIOp>(e.bitcast(scale, e.i32()), keep), e.f32());
  e.store(scale, e.at(target, e.shiftRightU(index, 3), layout.scale()));
  for (int i = 0; i < 2; ++i) {
    // Adding 1.5 * 2^23 rounds half to even and leaves the integer in the low bits.
    Value shifted = e.addF(e.mulF(columns[i], e.splat(inverse, floats)), e.constant(floats, 12582912.0));
    Value code = e.create<arith::AndIOp>(e.add(e.bitcast(shifted, ints), -0x4b400000), keepLanes);
    Value plane = e.at(target, index, i * kLanes);
    if (layout.planes == 2) {
      // q = 256 * hi + lo with lo in [-128, 127].
      e.store(e.truncate(code, e.i8()), e.at(plane, layout.low()));
      Value high = e.create<arith::ShRSIOp>(e.add(code, 128), e.constantInt(ints, 8));
      e.store(e.truncate(high, e.i8()), plane);
    } else {
      e.store(e.truncate(code, e.i8()), plane);
    }
    Value sum = reduceLanes(e, code, [&](Value a, Value b) { return e.add(a, b); });
    Value offset = e.shiftRightU(index, 2);
    e.store(e.mulF(scale, e.toF32(sum)), e.at(target, offset, layout.sum() + i * 4));
    e.store(sum, e.at(target, offset, layout.isum() + i * 4));
  }
}

void RowsBuilder::emitDequantize(DequantizeOp op) {
  ActivationLayout layout = activationLayout(op.getInput().getType());
  Value input = memory(op.getInput());
  defer(op, [this, layout, input](const Column &column) {
    // Columns are multiples of 32: there are no partial ones.
    Value index = e.add(column.index, column.more);
    VectorType bytes = e.vec(e.i8(), kLanes);
    Value code = e.extendS(e.load(bytes, e.at(input, index)), e.i32());
    if (layout.planes == 2)
      code = e.add(e.shiftLeft(code, 8), e.extendS(e.load(bytes, e.at(input, index, layout.low())), e.i32()));
    Value scale = e.load(e.f32(), e.at(input, e.shiftLeft(e.shiftRightU(index, 5), 2), layout.scale()));
    return e.mulF(e.toF32(code), e.splat(scale, floats));
  });
}

} // namespace heddle::cpu
