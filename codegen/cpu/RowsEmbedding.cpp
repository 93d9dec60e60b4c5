// Rows of tables by index: embeddings in every stored form, and gather_rows.
#include "codegen/Float8.h"
#include "codegen/cpu/RowsBuilder.h"
#include "ir/PackedLayout.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

Value RowsBuilder::widen(Value stored) {
  Type type = stored.getType(), element = getElementTypeOrSelf(type);
  if (!element.isBF16())
    return element.isF32() ? stored : e.toF32(stored);
  Type bits = isa<VectorType>(type) ? Type(cast<VectorType>(type).clone(e.i16())) : e.i16();
  return e.widenBfloat16(e.bitcast(stored, bits));
}

llvm::Error RowsBuilder::emitGatherRows(GatherRowsOp op) {
  Value input = withoutReshapes(op.getInput());
  if (!isa<BlockArgument>(input))
    return unsupportedOp(*op, "expected its input to be an argument of the kernel");
  Value index = clampedIndex(op.getIndices(), rowCount(input));
  Value from = e.at(operandOf(input), e.mul(index, rowBytes(op.getType())));
  defer(op, [this, from](const Column &column) { return loadColumn(from, column); });
  return llvm::Error::success();
}

llvm::Error RowsBuilder::emitEmbedding(EmbeddingOp op) {
  Type table = op.getTable().getType();
  auto shape = shapeOf(table);
  if (!isa<BlockArgument>(op.getTable()))
    return unsupportedOp(*op, "expected its table to be an argument of the kernel");
  Value index = clampedIndex(op.getIndices(), e.cI64(shape[0]));
  auto stored = dyn_cast<StoredType>(table);
  Type element = stored ? Type() : cast<RankedTensorType>(table).getElementType();
  bool packed = false;
  if (stored) {
    Format format = stored.getEncoding().getFormat();
    if (stored.getEncoding().isActivation())
      return unsupportedOp(*op, "expected a table of weights, but found quantized activations");
    packed = stored.getEncoding().getLayout() == Layout::W16;
    const FormatInfo &info = formatInfo(storageFormat(stored.getEncoding()));
    if (info.scheme) {
      if (!packed)
        return unsupportedOp(*op, "expected a table in layout 'w16', but found '" + stringifyFormat(format) +
                                      "' in file order; run heddle-pack-parameters first");
      emitPackedBlocks(op, schemeOf(info.format, shape[1]), index);
      return llvm::Error::success();
    }
    element = format == Format::F32    ? Type(e.f32())
              : format == Format::F16  ? Type(e.f16())
              : format == Format::BF16 ? Type(e.getBF16Type())
                                       : Type(e.i8()); // FP8
    if (element.isInteger(8) && !packed)
      return unsupportedOp(*op, "expected a table in layout 'w16', but found '" + stringifyFormat(format) +
                                    "' in file order; run heddle-pack-parameters first");
  }
  // A row is contiguous in file order; in a row group its elements are 16 apart.
  int64_t bytes = element.getIntOrFloatBitWidth() / 8, step = packed ? PackedLayout::kRows * bytes : bytes;
  if (element.isInteger(8)) {
    emitPackedF8(op, storageFormat(stored.getEncoding()), index);
    return llvm::Error::success();
  }
  Value from = packed ? e.at(e.at(operandOf(op.getTable()), e.mul(e.divU(index, 16), shape[1] * step)),
                             e.mul(e.bitAnd(index, 15), bytes))
                      : e.at(operandOf(op.getTable()), e.mul(index, shape[1] * bytes));
  float scale = op.getScale().convertToFloat();
  defer(op, [this, from, element, bytes, step, scale](const Column &column) {
    Value at = e.at(from, e.mul(column.index, step), column.more * step);
    Value numbers;
    if (step == bytes && !column.mask) {
      numbers = widen(e.load(e.vec(element, kLanes), at));
    } else {
      numbers = e.constant(floats, 0);
      for (int i = 0; i < column.lanes; ++i)
        numbers = e.create<vector::InsertOp>(widen(e.load(element, e.at(at, i * step))), numbers,
                                             ArrayRef<int64_t>{i});
    }
    return scale == 1 ? numbers : e.mulF(numbers, e.constant(floats, scale));
  });
  return llvm::Error::success();
}

void RowsBuilder::emitPackedF8(EmbeddingOp op, StorageFormat format, Value index) {
  const int64_t columns = rowColumns(op.getType()), span = denseScaleSpan(format, columns);
  const float factor = op.getScale().convertToFloat();
  Value lane = e.bitAnd(index, 15);
  Value group =
      e.at(operandOf(op.getTable()), e.mul(e.divU(index, 16), int64_t(packedGroupBytes(format, columns))));
  Value codes = e.at(group, lane), scales = e.at(group, e.mul(lane, 4), columns * 16);
  defer(op, [this, format, span, factor, codes, scales](const Column &column) {
    Value bits = e.constantInt(e.vec(e.i16(), kLanes), 0), scale = e.constant(floats, 0);
    Value at = e.at(codes, e.mul(column.index, 16), column.more * 16);
    for (int i = 0; i < column.lanes; ++i) {
      Value element = e.add(column.index, column.more + i);
      bits = e.create<vector::InsertOp>(e.extendS(e.load(e.i8(), e.at(at, i * 16)), e.i16()), bits,
                                        ArrayRef<int64_t>{i});
      scale = e.create<vector::InsertOp>(e.load(e.f32(), e.at(scales, e.mul(e.divU(element, span), 64))),
                                         scale, ArrayRef<int64_t>{i});
    }
    Value half = e.bitcast(halfOfF8(e, format, bits), e.vec(e.f16(), kLanes));
    Value numbers = e.mulF(e.toF32(half), scale);
    return factor == 1 ? numbers : e.mulF(numbers, e.constant(floats, factor));
  });
}

void RowsBuilder::emitPackedBlocks(EmbeddingOp op, const BlockScheme &scheme, Value index) {
  const PackedLayout layout{scheme};
  const int64_t columns = rowColumns(op.getType()), chunk = layout.chunk(), chunks = scheme.super / chunk;
  const float factor = op.getScale().convertToFloat();
  Value target = destination(op.getResult());
  Value lane = e.bitAnd(index, 15), lane4 = e.shiftLeft(lane, 2), lane2 = e.shiftLeft(lane, 1);
  Value group =
      e.at(operandOf(op.getTable()), e.mul(e.divU(index, 16), columns / scheme.super * layout.bytes()));
  VectorType bytes16 = e.vec(e.i8(), 16);

  e.forRange(0, columns / chunk, 1, [&](Value number) {
    Value super = e.divU(number, chunks), block = e.at(group, e.mul(super, layout.bytes()));
    Value part = e.sub(number, e.mul(super, chunks));
    // This row's bytes of four consecutive vectors of a plane.
    auto bytesAt = [&](Value plane, int vector) {
      Value words = e.constantInt(e.vec(e.i32(), 4), 0);
      for (int i = 0; i < 4; ++i)
        words = e.create<vector::InsertOp>(e.load(e.i32(), e.at(plane, lane4, (vector + i) * 64)), words,
                                           ArrayRef<int64_t>{i});
      return e.bitcast(words, bytes16);
    };
    auto bitsAt = [&](Value bytes, int shift, int mask) {
      return e.extendU(e.bitAnd(e.shiftRightU(bytes, shift), mask), e.i32());
    };
    Value low = e.at(block, e.mul(part, chunk * 16 * scheme.lowBits / 8));
    Value high = e.at(block, e.mul(part, chunk * 16 * scheme.highBits / 8), layout.high());
    Value scale = e.toF32(e.load(e.f16(), e.at(block, lane2, layout.scale())));
    Value minimum = scheme.hasMin ? e.toF32(e.load(e.f16(), e.at(block, lane2, layout.minimum()))) : Value();

    Value lowBytes, highBytes, highWords[2];
    if (scheme.lowBits != 8)
      lowBytes = bytesAt(low, 0);
    if (scheme.highBits == 2)
      highBytes = bytesAt(high, 0);
    for (int run = 0; scheme.highBits == 1 && run < chunk / 32; ++run) {
      highWords[run] = e.cI32(0);
      for (int quad = 0; quad < 8; ++quad) { // this row's nibble of each mask
        Value mask = e.load(e.i64(), e.at(high, run * 64 + quad * 8));
        Value nibble = e.truncate(e.bitAnd(e.create<arith::ShRUIOp>(mask, lane4), 15), e.i32());
        highWords[run] = e.create<arith::OrIOp>(highWords[run], e.shiftLeft(nibble, quad * 4));
      }
    }
    for (int piece = 0; piece < chunk / 16; ++piece) {
      Value codes;
      if (scheme.lowBits == 8)
        codes = e.extendU(bytesAt(low, piece * 4), e.i32());
      else if (scheme.lowBits == 2)
        codes = bitsAt(lowBytes, piece * 2, 3);
      else // with a 2-bit high plane a chunk is two runs of nibbles
        codes = bitsAt(piece < 2 ? lowBytes : bytesAt(low, 4), piece % 2 * 4, 15);
      if (scheme.highBits == 2)
        codes = e.create<arith::OrIOp>(codes, e.shiftLeft(bitsAt(highBytes, piece * 2, 3), scheme.lowBits));
      if (scheme.highBits == 1) {
        SmallVector<int32_t> shifts;
        for (int i = 0; i < 16; ++i)
          shifts.push_back(piece % 2 * 16 + i);
        Value shift = e.create<arith::ConstantOp>(DenseElementsAttr::get(ints, ArrayRef<int32_t>(shifts)));
        Value bit = e.bitAnd(e.create<arith::ShRUIOp>(e.splat(highWords[piece / 2], ints), shift), 1);
        codes = e.create<arith::OrIOp>(codes, e.shiftLeft(bit, scheme.lowBits));
      }
      Value s = scale, m = minimum;
      if (scheme.subScales) {
        // Sub-blocks are 16 factors apart, one for each row.
        Value sub = e.at(block, e.mul(part, chunk / scheme.sub * 16));
        int64_t offset = piece * 16 / scheme.sub * 16;
        s = e.mulF(s,
                   e.toF32(e.extendS(e.load(e.i8(), e.at(sub, lane, layout.subScale() + offset)), e.i32())));
        if (m)
          m = e.mulF(
              m, e.toF32(e.extendU(e.load(e.i8(), e.at(sub, lane, layout.subMinimum() + offset)), e.i32())));
      }
      Value numbers = e.mulF(e.toF32(e.add(codes, -scheme.zero)), e.splat(s, floats));
      if (m) // stored negated
        numbers = e.addF(numbers, e.splat(m, floats));
      if (factor != 1)
        numbers = e.mulF(numbers, e.constant(floats, factor));
      e.store(numbers, e.at(target, e.mul(number, chunk * 4), piece * 64));
    }
  });
}

} // namespace heddle::cpu
