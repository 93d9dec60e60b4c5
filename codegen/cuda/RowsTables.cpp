// What a row looks up or stores by its index, slot or position: embedding, gather_rows, rotary embedding, the
// cache.
#include "codegen/cuda/PackedElement.h"
#include "codegen/cuda/RowsBuilder.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {

llvm::Error RowsBuilder::emitGatherRows(GatherRowsOp op) {
  Value input = withoutReshapes(op.getInput());
  if (!isa<BlockArgument>(input))
    return unsupportedOp(*op, "expected its input to be an argument of the kernel");
  Value index = clampedIndex(op.getIndices(), rowCount(input));
  Value from = e.at(operandOf(input), e.mul(e.wide(index), rowBytes(op.getType())));
  defer(op, [this, from](Value column) { return loadColumn(from, column); });
  return llvm::Error::success();
}

llvm::Error RowsBuilder::emitEmbedding(EmbeddingOp op) {
  Type table = op.getTable().getType();
  auto shape = shapeOf(table);
  if (!isa<BlockArgument>(op.getTable()))
    return unsupportedOp(*op, "expected its table to be an argument of the kernel");
  Value index = clampedIndex(op.getIndices(), e.cI32(shape[0]));
  Value base = operandOf(op.getTable());
  Value row16 = e.bitAnd(index, 15);
  float scale = op.getScale().convertToFloat();
  auto scaled = [this, scale](Value number) { return scale == 1 ? number : e.mulF(number, e.cF32(scale)); };
  auto stored = dyn_cast<StoredType>(table);
  bool packed = stored && stored.getEncoding().getLayout() == Layout::W16;
  if (stored && stored.getEncoding().isActivation())
    return unsupportedOp(*op, "expected a table of weights, but found quantized activations");
  auto groupAt = [&](int64_t bytes) { return e.at(base, e.mul(e.wide(e.shiftRightU(index, 4)), bytes)); };
  StorageFormat format = stored ? storageFormat(stored.getEncoding())
                                : denseFormat(cast<RankedTensorType>(table).getElementType());
  if (const FormatInfo &info = formatInfo(format); info.scheme) {
    if (!packed)
      return unsupportedOp(*op, "expected a table in layout 'w16', but found one in file order; run "
                                "heddle-pack-parameters first");
    Value group = groupAt(packedGroupBytes(format, shape[1]));
    PackedLayout layout{schemeOf(format, shape[1])};
    defer(op, [this, layout, group, row16, scaled](Value column) {
      return scaled(packedElement(e, layout, group, row16, column));
    });
    return llvm::Error::success();
  }
  Type element = denseType(e, format);
  int bytes = int(element.getIntOrFloatBitWidth() / 8),
      step = packed ? int(PackedLayout::kRows) * bytes : bytes;
  const int64_t span = denseScaleSpan(format, shape[1]);
  if (span && !packed)
    return unsupportedOp(*op, "expected a table in layout 'w16', but found one in file order; run "
                              "heddle-pack-parameters first");
  Value group = packed ? groupAt(packedGroupBytes(format, shape[1])) : Value();
  Value from = packed ? e.at(group, e.mul(row16, bytes)) : e.at(base, e.mul(e.wide(index), shape[1] * bytes));
  Value scales = span ? e.at(group, e.shiftLeft(row16, 2), shape[1] * PackedLayout::kRows) : Value();
  defer(op, [this, from, scales, span, format, element, bytes, step, scaled](Value column) {
    Value number = widen(e, format, e.load(element, elementAt(from, column, step), bytes));
    if (span) // of FP8
      number = e.mulF(number, loadColumn(scales, e.mul(e.divU(column, span), PackedLayout::kRows)));
    return scaled(number);
  });
  return llvm::Error::success();
}

void RowsBuilder::emitRope(RopeOp op) {
  auto shape = shapeOf(op.getType());
  auto table = shapeOf(op.getTable().getType());
  int64_t heads = shape[1], width = shape[2], rotated = table[1], half = rotated / 2;
  Value input = memory(op.getInput()), target = destination(op.getResult());
  Value position = clampedIndex(op.getPositions(), e.cI32(table[0]));
  Value cosines = e.at(operandOf(op.getTable()), e.mul(e.wide(position), rotated * 4));
  bool interleaved = op.getPairing() == Pairing::Interleaved;
  forShare(heads * half, [&](Value pair) {
    Value head = e.divU(pair, half), i = e.remU(pair, half);
    Value first = e.add(e.mul(head, width), interleaved ? e.shiftLeft(i, 1) : i);
    Value second = e.add(first, interleaved ? 1 : half);
    Value cosine = loadColumn(cosines, i), sine = loadColumn(e.at(cosines, half * 4), i);
    Value x = loadColumn(input, first), y = loadColumn(input, second);
    storeColumn(e.subF(e.mulF(x, cosine), e.mulF(y, sine)), target, first);
    storeColumn(e.addF(e.mulF(x, sine), e.mulF(y, cosine)), target, second);
  });
  if (int64_t rest = width - rotated)
    forShare(heads * rest, [&](Value number) {
      Value column = e.add(e.add(e.mul(e.divU(number, rest), width), e.remU(number, rest)), rotated);
      storeColumn(loadColumn(input, column), target, column);
    });
}

void RowsBuilder::emitCacheAppend(CacheAppendOp op) {
  auto cache = op.getCache().getType();
  int64_t heads = cache.getHeads(), keyDim = cache.getKeyDim(), valueDim = cache.getValueDim();
  Type element = cache.getElementType();
  int bytes = int(element.getIntOrFloatBitWidth() / 8);
  int64_t pageTokens = HEDDLE_PAGE_TOKENS, keyBytes = heads * pageTokens * keyDim * bytes;
  int64_t pageBytes = keyBytes + heads * pageTokens * valueDim * bytes;

  Value keys = memory(op.getKeys()), values = memory(op.getValues());
  Value slot = clampedIndex(op.getSlots(), e.cI32(context.maxSlots));
  Value position = clampedIndex(op.getPositions(), e.cI32(context.maxContext));
  Value entry = e.add(e.mul(slot, context.maxContext / pageTokens), e.divU(position, pageTokens));
  Value number = e.load(e.i32(), elementAt(pageTables.lookup(op.getCache()), entry), 4);
  Value page = e.at(operandOf(op.getCache()), e.mul(e.wide(number), pageBytes));
  Value token = e.bitAnd(position, pageTokens - 1);
  auto storeRounded = [&](Value value, Value to, Value index) {
    if (!element.isF32())
      value = e.create<arith::TruncFOp>(element, value);
    e.store(value, elementAt(to, index, bytes), bytes);
  };
  // Keys: [head][token / 16][d][token % 16]; values: [head][token][d].
  forShare(heads * keyDim, [&](Value i) {
    Value head = e.divU(i, keyDim), d = e.remU(i, keyDim);
    Value group = e.add(e.mul(head, pageTokens / 16), e.shiftRightU(token, 4));
    Value index = e.add(e.shiftLeft(e.add(e.mul(group, keyDim), d), 4), e.bitAnd(token, 15));
    storeRounded(loadColumn(keys, i), page, index);
  });
  Value valueBase = e.at(page, keyBytes);
  forShare(heads * valueDim, [&](Value i) {
    Value head = e.divU(i, valueDim), d = e.remU(i, valueDim);
    Value index = e.add(e.mul(e.add(e.mul(head, pageTokens), token), valueDim), d);
    storeRounded(loadColumn(values, i), valueBase, index);
  });
}

} // namespace heddle::cuda
