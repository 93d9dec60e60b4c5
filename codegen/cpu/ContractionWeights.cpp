#include "codegen/cpu/ContractionWeights.h"
#include "codegen/Float8.h"

namespace heddle::cpu {

PackedChunk::PackedChunk(Emitter &e, const PackedLayout &layout, Value block, Value chunk, Half half)
    : e(e), layout(layout), lowVectors(16), highVectors(4) {
  const BlockScheme &scheme = layout.scheme;
  const int64_t elements = layout.chunk();
  auto part = [&](int64_t offset, int64_t bytesPerChunk, int64_t bytesPerHalf) {
    Value base = half.offset(e, e.at(block, offset), bytesPerHalf);
    return chunk ? e.at(base, e.mul(chunk, bytesPerChunk)) : base;
  };
  low = part(0, elements * 16 * scheme.lowBits / 8, 32);
  if (scheme.highBits == 1)
    high = part(layout.high(), elements * 2, 4); // masks: a bit per element
  else if (scheme.highBits == 2)
    high = part(layout.high(), elements * 4, 32);
  if (scheme.subScales) {
    const int64_t subBytes = elements / scheme.sub * 16;
    subScales = part(layout.subScale(), subBytes, 8);
    if (scheme.hasMin)
      subMinimums = part(layout.subMinimum(), subBytes, 8);
  }
}

Value PackedChunk::plane(llvm::SmallVectorImpl<Value> &cache, Value base, int vector) {
  if (!cache[vector])
    cache[vector] = e.load(e.vecI32(), e.at(base, vector * 64), 4);
  return cache[vector];
}

Value PackedChunk::lowCodes(int quad) {
  switch (layout.scheme.lowBits) {
  case 8:
    return plane(lowVectors, low, quad);
  case 4: {
    Value packed = plane(lowVectors, low, quad / 8 * 4 + quad % 4);
    return e.bitAnd(e.shiftRightU(packed, quad % 8 < 4 ? 0 : 4), 0x0f0f0f0f);
  }
  default:
    return e.bitAnd(e.shiftRightU(plane(lowVectors, low, quad % 4), quad / 4 * 2), 0x03030303);
  }
}

Value PackedChunk::addHighBits(int quad, Value codes) {
  const int lowBits = layout.scheme.lowBits;
  if (layout.scheme.highBits == 2) { // lowBits is 4
    Value packed = plane(highVectors, high, quad % 4);
    int right = quad / 4 * 2 - lowBits;
    Value placed = right < 0 ? e.shiftLeft(packed, -right) : e.shiftRightU(packed, right);
    return e.create<mlir::arith::OrIOp>(codes, e.bitAnd(placed, 0x30303030));
  }
  // A bit per byte: a mask register with AVX-512, else LLVM spreads the bits by shuffle and compare.
  auto bytes = e.vec(e.i8(), e.lanes * 4);
  Value bits = e.load(e.getIntegerType(e.lanes * 4), e.at(high, quad * 8), 4);
  Value mask = e.bitcast(bits, e.vec(e.getI1Type(), e.lanes * 4));
  Value value = e.bitcast(codes, bytes);
  return e.bitcast(e.select(mask, e.add(value, int64_t(1) << lowBits), value), e.vecI32());
}

Value PackedChunk::codes(int quad) {
  Value codes = lowCodes(quad);
  return layout.scheme.highBits ? addHighBits(quad, codes) : codes;
}

Value PackedChunk::scale(int sub, Value superScale) {
  if (!subScales)
    return superScale;
  Value factor = e.load(e.vec(e.i8(), e.lanes), e.at(subScales, sub * 16), 8);
  return e.mulF(superScale, e.toF32(e.extendS(factor, e.i32())));
}

Value PackedChunk::negativeMinimum(int sub, Value superMinimum) {
  if (!subMinimums)
    return superMinimum;
  Value factor = e.load(e.vec(e.i8(), e.lanes), e.at(subMinimums, sub * 16), 8);
  return e.mulF(superMinimum, e.toF32(e.extendU(factor, e.i32())));
}

Value superFactor(Emitter &e, Value block, int64_t offset, Half half) {
  return e.toF32(e.load(e.vec(e.f16(), e.lanes), half.offset(e, e.at(block, offset), 16), 16));
}

Value loadDense(Emitter &e, StorageFormat format, Value address) {
  switch (format) {
  case StorageFormat::F16:
    return e.toF32(e.load(e.vec(e.f16(), e.lanes), address, 16));
  case StorageFormat::BF16:
    return e.widenBfloat16(e.load(e.vec(e.i16(), e.lanes), address, 16));
  case StorageFormat::F8E4M3:
  case StorageFormat::F8E5M2:
  case StorageFormat::F8E4M3_128: {
    Value codes = e.extendS(e.load(e.vec(e.i8(), e.lanes), address, 8), e.i16());
    return e.toF32(e.bitcast(halfOfF8(e, format, codes), e.vec(e.f16(), e.lanes)));
  }
  default:
    return e.load(e.vecF32(), address, 32);
  }
}

} // namespace heddle::cpu
