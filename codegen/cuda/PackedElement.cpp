#include "codegen/cuda/PackedElement.h"
#include "codegen/Float8.h"

using namespace mlir;

namespace heddle::cuda {

Value widen(Emitter &e, StorageFormat format, Value stored) {
  switch (format) {
  case StorageFormat::F32:
    return stored;
  case StorageFormat::F16:
    return e.toF32(stored);
  case StorageFormat::BF16:
    return e.widenBfloat16(e.bitcast(stored, e.i16()));
  default:
    return e.toF32(e.bitcast(halfOfF8(e, format, e.extendS(stored, e.i16())), e.f16()));
  }
}

Type denseType(Emitter &e, StorageFormat format) {
  return format == StorageFormat::F32    ? e.f32()
         : format == StorageFormat::F16  ? e.f16()
         : format == StorageFormat::BF16 ? Type(e.getBF16Type())
                                         : e.i8();
}

StorageFormat denseFormat(Type element) {
  return element.isF32() ? StorageFormat::F32 : element.isF16() ? StorageFormat::F16 : StorageFormat::BF16;
}

Value packedElement(Emitter &e, const PackedLayout &layout, Value group, Value row, Value column) {
  const BlockScheme &scheme = layout.scheme;
  Value number = e.divU(column, scheme.super), k = e.remU(column, scheme.super);
  Value block = e.at(group, e.mul(number, layout.bytes()));
  Value byteOfQuad = e.bitAnd(k, 3), row4 = e.add(e.shiftLeft(row, 2), byteOfQuad);
  auto byteAt = [&](Value address) { return e.extendU(e.load(e.i8(), address), e.i32()); };
  // Two bits: in a run of 64 quad 4p + j is in bits 2p.. of vector j.
  auto twoBits = [&](Value plane) {
    Value quad = e.bitAnd(e.shiftRightU(k, 2), 15);
    Value vector = e.add(e.shiftLeft(e.shiftRightU(k, 6), 2), e.bitAnd(quad, 3));
    Value byte = byteAt(e.at(plane, e.add(e.shiftLeft(vector, 6), row4)));
    return e.bitAnd(e.shiftRightU(byte, e.shiftLeft(e.shiftRightU(quad, 2), 1)), 3);
  };
  Value code;
  if (scheme.lowBits == 2) {
    code = twoBits(block);
  } else if (scheme.lowBits == 4) { // in a run of 32 quad j + 4 is in the upper half of vector j's bytes
    Value quad = e.bitAnd(e.shiftRightU(k, 2), 7);
    Value vector = e.add(e.shiftLeft(e.shiftRightU(k, 5), 2), e.bitAnd(quad, 3));
    Value byte = byteAt(e.at(block, e.add(e.shiftLeft(vector, 6), row4)));
    code = e.bitAnd(e.shiftRightU(byte, e.bitAnd(quad, 4)), 15);
  } else {
    code = byteAt(e.at(block, e.add(e.shiftLeft(e.shiftRightU(k, 2), 6), row4)));
  }
  if (scheme.highBits == 2)
    code = e.bitOr(code, e.shiftLeft(twoBits(e.at(block, layout.high())), scheme.lowBits));
  if (scheme.highBits == 1) { // a mask of 64 bits for a quad, bit 4 * row + i
    Value mask = e.add(e.shiftLeft(e.shiftRightU(k, 2), 3), e.shiftRightU(row, 1));
    Value byte = byteAt(e.at(e.at(block, mask), layout.high()));
    Value bit = e.add(e.shiftLeft(e.bitAnd(row, 1), 2), byteOfQuad);
    code = e.bitOr(code, e.shiftLeft(e.bitAnd(e.shiftRightU(byte, bit), 1), scheme.lowBits));
  }
  auto halfAt = [&](int64_t offset) {
    return e.toF32(e.load(e.f16(), e.at(e.at(block, e.shiftLeft(row, 1)), offset), 2));
  };
  Value scale = halfAt(layout.scale()), minimum = scheme.hasMin ? halfAt(layout.minimum()) : Value();
  if (scheme.subScales) {
    Value sub = e.at(block, e.add(e.shiftLeft(e.divU(k, scheme.sub), 4), row));
    scale = e.mulF(scale, e.toF32(e.extendS(e.load(e.i8(), e.at(sub, layout.subScale())), e.i32())));
    if (minimum)
      minimum = e.mulF(minimum, e.toF32(byteAt(e.at(sub, layout.subMinimum()))));
  }
  Value number32 = e.mulF(e.toF32(e.add(code, -scheme.zero)), scale);
  return minimum ? e.addF(number32, minimum) : number32; // stored negated
}

} // namespace heddle::cuda
