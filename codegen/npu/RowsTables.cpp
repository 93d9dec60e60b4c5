// Ops that look rows up, and those that sum rows up.
#include "codegen/npu/RowsBuilder.h"
#include "heddle/program.h"
#include "ir/PackedLayout.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::npu {

static Field rowLimit(Emitter &e, Value table) {
  int64_t rows = shapeOf(table.getType())[0];
  return ShapedType::isDynamic(rows) ? e.dimension(HEDDLE_DIM_ROWS) : Field(rows);
}

llvm::Error RowsBuilder::embedding(EmbeddingOp op) {
  Value table = op.getTable();
  auto stored = dyn_cast<StoredType>(table.getType());
  auto tensor = dyn_cast<RankedTensorType>(table.getType());
  if (!isa<BlockArgument>(table) || (tensor && !tensor.getElementType().isF32()))
    return unsupportedOp(kernel, op, "of a table in 16 bits is not available for it yet");
  const int64_t columns = shapeOf(table.getType())[1];
  GatherLayout layout{false, columns};
  int64_t stride = columns * 4;
  if (stored) {
    if (stored.getEncoding().getLayout() != Layout::Gather)
      return unsupportedOp(kernel, op, "expected its table in layout 'gather'");
    layout = GatherLayout::of(storageFormat(stored.getEncoding()), columns);
    stride = layout.stride();
  }
  Tile dst = takeTile(columns);
  tiles[op.getResult()] = dst;
  Tile rows = layout.isCoded ? Tile{take(rowTile * stride), stride, S8} : dst;
  e.order(Vector, Dma);
  e.dmaGather(rows, operands.lookup(table), stride, layout.isCoded ? columns + 4 : columns * 4, m,
              tileOf(op.getIndices()).at, rowLimit(e, table));
  e.order(Dma, Vector);
  Extent extent{m, columns};
  if (layout.isCoded) {
    e.binaryByRow(Binary::Mul, dst, rows, {rows.at + layout.scale(), stride, S32}, extent,
                  GatherLayout::kScaleBits - kFraction);
    give(rows.at.number, rowTile * stride);
  } else {
    e.fromF32(dst, dst, extent, kFraction);
  }
  if (double scale = op.getScale().convertToDouble(); scale != 1)
    emitScale(e, scale, dst, dst, extent);
  return llvm::Error::success();
}

llvm::Error RowsBuilder::gatherRows(GatherRowsOp op) {
  Value input = withoutReshapes(op.getInput());
  if (!isa<BlockArgument>(input))
    return unsupportedOp(kernel, op, "expected its input to be an argument of the kernel");
  const int64_t columns = rowColumns(op.getType());
  Tile dst = takeTile(columns);
  tiles[op.getResult()] = dst;
  e.order(Vector, Dma);
  e.dmaGather(dst, operands.lookup(input), columns * 4, columns * 4, m, tileOf(op.getIndices()).at,
              rowLimit(e, input));
  e.order(Dma, Vector);
  e.fromF32(dst, dst, {m, columns}, kFraction);
  return llvm::Error::success();
}

/// All rows of the call pass by; each is added to its sequence's, where that is one of this tile.
llvm::Error RowsBuilder::poolRows(PoolRowsOp op) {
  Value input = withoutReshapes(op.getInput()), sequences = op.getSequences();
  if (!isa<BlockArgument>(input) || !isa<BlockArgument>(sequences))
    return unsupportedOp(kernel, op, "expected its operands to be arguments of the kernel");
  const int64_t columns = rowColumns(op.getType()), chunk = 16;
  Field rows = rowLimit(e, input);
  Tile dst = takeTile(columns), counts = takeTile(1), loaded{take(chunk * columns * 4), columns * 4, S32};
  tiles[op.getResult()] = dst;
  e.fill(dst, {m, columns}, 0);
  e.fill(counts, {m, 1}, 0);
  int mark = e.registerMark();
  Field done = e.newRegister(), from = e.newRegister(), count = e.newRegister(), place = e.newRegister(),
        sequence = e.newRegister(), before = e.newRegister(), condition = e.newRegister(),
        index = e.newRegister(), bytes = e.newRegister(), row = e.newRegister();
  e.copy(done, 0);
  e.copy(from, operands.lookup(input));
  e.copy(index, operands.lookup(sequences));
  e.copy(before, -1);
  Field chunks = e.computed(Set::Add, rows, chunk - 1);
  e.set(chunks, Set::Div, chunks, chunk);
  e.loop(chunks, [&] {
    e.set(count, Set::Sub, rows, done);
    e.set(count, Set::Min, count, chunk);
    e.set(bytes, Set::Mul, count, columns * 4);
    e.order(Vector, Dma);
    e.dmaLoad({loaded.at, 0}, from, 0, bytes);
    e.order(Dma, Vector);
    e.fromF32(loaded, loaded, {count, columns}, kFraction);
    e.copy(place, loaded.at);
    e.loop(count, [&] {
      e.load(sequence, index);
      e.set(row, Set::Sub, sequence, first);
      e.set(condition, Set::Sub, m, row);
      e.set(condition, Set::Min, condition, row + 1);
      if (op.getKind() == PoolKind::First) {
        e.set(before, Set::Sub, sequence, before);
        e.set(condition, Set::Min, condition, before);
        e.copy(before, sequence);
      }
      e.set(condition, Set::Min, condition, 1);
      e.loop(condition, [&] {
        e.set(bytes, Set::Mul, row, columns * 4);
        e.set(row, Set::Mul, row, 4);
        Tile to{bytes + dst.at.number, 0, S32}, number{row + counts.at.number, 0, S32}, add{place, 0, S32};
        if (op.getKind() == PoolKind::Mean)
          e.binary(Binary::Add, to, to, add, {1, columns});
        else
          e.binaryScalar(Binary::Add, to, add, 0, {1, columns});
        e.binaryScalar(Binary::Add, number, number, 1, {1, 1});
      });
      e.set(index, Set::Add, index, 4);
      e.set(place, Set::Add, place, columns * 4);
    });
    e.set(done, Set::Add, done, chunk);
    e.set(from, Set::Add, from, chunk * columns * 4);
  });
  e.releaseRegisters(mark);
  if (op.getKind() == PoolKind::Mean) // 0 rows: 0 / 0 is 0
    e.binaryByRow(Binary::Div, dst, dst, counts, {m, columns});
  giveTile(counts, 1);
  give(loaded.at.number, chunk * columns * 4);
  return llvm::Error::success();
}

/// (a, b) becomes (a cos - b sin, b cos + a sin). Pairs of halves are columns that lie together; interleaved
/// ones are done as rows of one column, each head of each row by itself.
llvm::Error RowsBuilder::rope(RopeOp op) {
  Value table = op.getTable();
  if (!isa<BlockArgument>(table))
    return unsupportedOp(kernel, op, "expected its table to be an argument of the kernel");
  const auto shape = shapeOf(op.getType());
  const int64_t heads = shape[1], width = shape[2], rotated = shapeOf(table.getType())[1], half = rotated / 2,
                rowSize = heads * width * 4;
  constexpr int angleBits = 30;
  const bool isInterleaved = op.getPairing() == Pairing::Interleaved;
  Tile x = tileOf(op.getInput()), dst = resultTile(*op, /*mayOverwrite=*/false);
  Tile angles = takeTile(rotated), t = takeTile(half), u = takeTile(half);
  e.order(Vector, Dma);
  e.dmaGather(angles, operands.lookup(table), rotated * 4, rotated * 4, m, tileOf(op.getPositions()).at,
              rowLimit(e, table));
  e.order(Dma, Vector);
  e.fromF32(angles, angles, {m, rotated}, angleBits);
  if (rotated < width)
    e.binaryScalar(Binary::Add, dst, x, 0, {m, heads * width});
  int mark = e.registerMark();
  Field head = e.newRegister(), angle = e.newRegister(); // bytes from the start of a tile
  auto rotate = [&](int64_t apart, Tile cosines, Extent extent, Field stride, Tile p, Tile q) {
    Tile a{head + x.at.number, stride, S32}, b{head + (x.at.number + apart), stride, S32};
    Tile toA{head + dst.at.number, stride, S32}, toB{head + (dst.at.number + apart), stride, S32};
    Tile sines = cosines;
    sines.at = cosines.at + half * 4;
    e.binary(Binary::Mul, p, a, cosines, extent, angleBits);
    e.binary(Binary::Mul, q, b, sines, extent, angleBits);
    e.binary(Binary::Sub, toA, p, q, extent);
    e.binary(Binary::Mul, p, b, cosines, extent, angleBits);
    e.binary(Binary::Mul, q, a, sines, extent, angleBits);
    e.binary(Binary::Add, toB, p, q, extent);
    e.set(head, Set::Add, head, width * 4);
  };
  e.copy(head, 0);
  if (!isInterleaved) {
    e.loop(heads, [&] { rotate(half * 4, angles, {m, half}, rowSize, t, u); });
  } else {
    e.copy(angle, angles.at);
    Tile p{t.at, 4, S32}, q{u.at, 4, S32};
    e.loop(m, [&] {
      e.loop(heads, [&] { rotate(4, {angle, 4, S32}, {half, 1}, 8, p, q); });
      e.set(angle, Set::Add, angle, rotated * 4);
    });
  }
  e.releaseRegisters(mark);
  giveTile(angles, rotated);
  giveTile(t, half);
  giveTile(u, half);
  return llvm::Error::success();
}

/// Pages hold keys [head][token][width], then values alike, in f16.
llvm::Error RowsBuilder::cacheAppend(CacheAppendOp op) {
  auto type = cast<KvCacheType>(op.getCache().getType());
  Value slots = op.getSlots(), positions = op.getPositions();
  if (!type.getElementType().isF16())
    return unsupportedOp(kernel, op, "to a cache of anything but f16 is not available for it yet");
  if (!isa<BlockArgument>(slots) || !isa<BlockArgument>(positions))
    return unsupportedOp(kernel, op, "expected slots and positions to be arguments of the kernel");
  if (context.maxSlots < 1 || context.maxContext < int64_t(HEDDLE_PAGE_TOKENS))
    return unsupportedOp(kernel, op,
                         "expected the model to state 'max_slots' and 'max_context', but found none");
  const int64_t page = HEDDLE_PAGE_TOKENS, heads = type.getHeads();
  const int64_t pageBytes = page * heads * (type.getKeyDim() + type.getValueDim()) * 2;
  struct Part {
    Value numbers;
    int64_t width, start; // bytes from the start of a page
    Tile halves;
  };
  Part parts[] = {{op.getKeys(), type.getKeyDim(), 0, {}},
                  {op.getValues(), type.getValueDim(), page * heads * type.getKeyDim() * 2, {}}};
  for (Part &part : parts) {
    const int64_t columns = heads * part.width;
    part.halves = {take(rowTile * columns * 2), columns * 2, S16};
    e.toF16(part.halves, tileOf(part.numbers), {m, columns}, kFraction);
  }
  e.order(Vector, Dma);
  int mark = e.registerMark();
  Field row = e.newRegister(), place = e.newRegister(), token = e.newRegister(), number = e.newRegister();
  e.copy(row, 0);
  e.loop(m, [&] {
    auto loadIndex = [&](Field to, Value indices) {
      e.set(place, Set::Add, row, first);
      e.set(place, Set::Mul, place, 4);
      e.set(place, Set::Add, place, operands.lookup(indices));
      e.load(to, place);
    };
    loadIndex(token, positions);
    loadIndex(number, slots);
    e.set(number, Set::Mul, number, context.maxContext / page);
    e.set(place, Set::Div, token, page);
    e.set(number, Set::Add, number, place);
    e.set(number, Set::Mul, number, 4);
    e.set(number, Set::Add, number, pageTables.lookup(op.getCache()));
    e.load(number, number);
    e.set(number, Set::Mul, number, pageBytes);
    e.set(number, Set::Add, number, operands.lookup(op.getCache()));
    e.set(token, Set::And, token, page - 1);
    for (const Part &part : parts) {
      Field from = e.computed(Set::Mul, row, heads * part.width * 2);
      Field to = e.computed(Set::Mul, token, part.width * 2);
      e.set(to, Set::Add, to, number + part.start);
      e.dmaStore({from + part.halves.at.number, part.width * 2}, to, page * part.width * 2, part.width * 2,
                 heads);
    }
    e.set(row, Set::Add, row, 1);
  });
  e.order(Dma, Vector);
  e.releaseRegisters(mark);
  for (const Part &part : parts)
    give(part.halves.at.number, rowTile * heads * part.width * 2);
  return llvm::Error::success();
}

} // namespace heddle::npu
