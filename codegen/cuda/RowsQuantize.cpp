// Quantized activations (docs/kernel-abi.md, "Quantized activations"): a block of 32 columns is a warp.
#include "codegen/cuda/RowsBuilder.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

static constexpr int64_t kInfinityBits = 0x7f800000;

void RowsBuilder::emitQuantize(QuantizeOp op, Value x, Value column) {
  ActivationLayout layout = activationLayout(op.getType());
  Value target = rows.lookup(op.getResult());
  if (layout.planes == 0)
    return e.store(e.roundToBfloat16(x), elementAt(target, column, 2), 2);
  // Sizes of floats order like their bits, and NaN is above infinity: an integer maximum misses neither.
  Value sizeBits = e.warpMaxU(e.bitAnd(e.bitcast(x, e.i32()), 0x7fffffff));
  Value scale = e.divF(e.bitcast(sizeBits, e.f32()), e.cF32(layout.limit()));
  Value inverse = e.divF(e.cF32(1), scale);
  // An infinite inverse covers amax = 0, and sizes so small that nothing could be told apart.
  Value infinity = e.cI32(kInfinityBits);
  Value finite = e.create<arith::AndIOp>(e.lessThan(sizeBits, infinity),
                                         e.lessThan(e.bitcast(inverse, e.i32()), infinity));
  // Adding 1.5 * 2^23 rounds half to even and leaves the integer in the low bits.
  Value shifted = e.addF(e.mulF(x, inverse), e.cF32(12582912.0));
  Value code = e.select(finite, e.add(e.bitcast(shifted, e.i32()), -0x4b400000), e.cI32(0));
  scale = e.select(finite, scale, e.cF32(0));
  Value first = code;       // of the first plane
  if (layout.planes == 2) { // code = 256 * high + low with low in [-128, 127]
    e.store(e.truncate(code, e.i8()), e.at(e.at(target, column), layout.low()));
    first = e.shiftRightU(e.add(code, 128), 8);
  }
  e.store(e.truncate(first, e.i8()), e.at(target, column));
  Value isum = e.combineLanes(code, 16, [&](Value a, Value b) { return e.add(a, b); });
  Value lane = e.bitAnd(column, kWarp - 1);
  e.ifThen(e.equal(lane, e.cI32(0)),
           [&] { e.store(scale, e.at(e.at(target, e.shiftRightU(column, 3)), layout.scale()), 4); });
  e.ifThen(e.equal(e.bitAnd(lane, 15), e.cI32(0)), [&] {
    Value at = e.at(target, e.shiftRightU(column, 2));
    e.store(e.mulF(scale, e.toF32(isum)), e.at(at, layout.sum()), 4);
    e.store(isum, e.at(at, layout.isum()), 4);
  });
}

void RowsBuilder::emitDequantize(DequantizeOp op) {
  ActivationLayout layout = activationLayout(op.getInput().getType());
  Value input = memory(op.getInput());
  defer(op, [this, layout, input](Value column) -> Value {
    if (layout.planes == 0)
      return e.widenBfloat16(e.load(e.i16(), elementAt(input, column, 2), 2));
    Value code = e.extendS(e.load(e.i8(), e.at(input, column)), e.i32());
    if (layout.planes == 2)
      code = e.add(e.shiftLeft(code, 8),
                   e.extendS(e.load(e.i8(), e.at(e.at(input, column), layout.low())), e.i32()));
    Value scale =
        e.load(e.f32(), e.at(e.at(input, e.shiftLeft(e.shiftRightU(column, 5), 2)), layout.scale()), 4);
    return e.mulF(e.toF32(code), scale);
  });
}

} // namespace heddle::cuda
