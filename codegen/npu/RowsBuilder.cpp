#include "codegen/npu/RowsBuilder.h"
#include "codegen/KernelOperands.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::npu {

llvm::Error RowsBuilder::emit(Field rows) {
  auto list = kernelOperands(kernel);
  e.begin(kernel.getSymName(), int(list.size()), kernel.getLoc());
  for (auto [i, operand] : llvm::enumerate(list)) {
    if (operand.kind == KernelOperand::Argument)
      operands[body.getArgument(operand.index)] = e.operand(int(i));
    else if (operand.kind == KernelOperand::PageTable)
      pageTables[body.getArgument(operand.index)] = e.operand(int(i));
    else if (operand.kind == KernelOperand::Result)
      outputs.push_back(e.operand(int(i)));
  }
  findArguments();
  m = e.newRegister();
  first = e.newRegister();
  Field left = e.newRegister(), tiles = e.newRegister();
  e.copy(first, 0);
  e.copy(left, rows);
  e.set(tiles, Set::Add, rows, rowTile - 1);
  e.set(tiles, Set::Div, tiles, rowTile);
  for (Operation &op : body.without_terminator()) { // their parameters are loaded once
    if (auto norm = dyn_cast<RmsNormOp>(op))
      parameter(norm.getWeight(), 20);
    if (auto norm = dyn_cast<LayerNormOp>(op)) {
      parameter(norm.getWeight(), 20);
      parameter(norm.getBias(), kFraction);
    }
  }
  llvm::Error error = llvm::Error::success();
  e.loop(tiles, [&] {
    e.set(m, Set::Min, left, rowTile);
    error = emitTile();
    e.set(left, Set::Sub, left, rowTile);
    e.set(first, Set::Add, first, rowTile);
  });
  e.end();
  return error;
}

/// Arguments whose own row is read are loaded; others are parameters, tables, or read by their op.
void RowsBuilder::findArguments() {
  auto reads = [&](Value value) {
    value = withoutReshapes(value);
    if (isa<BlockArgument>(value))
      rowArguments.insert(value);
  };
  for (Operation &op : body) {
    if (isa<ReshapeOp>(op))
      continue;
    if (isa<ElementwiseOpInterface, QuantizeOp, YieldOp>(op)) {
      for (Value operand : op.getOperands())
        reads(operand);
    } else if (isa<RmsNormOp, LayerNormOp, L2NormalizeOp, RopeOp>(op)) {
      reads(op.getOperand(0));
      if (auto rope = dyn_cast<RopeOp>(op))
        reads(rope.getPositions());
    } else if (auto append = dyn_cast<CacheAppendOp>(op)) {
      reads(append.getKeys());
      reads(append.getValues());
    } else if (auto embedding = dyn_cast<EmbeddingOp>(op)) {
      reads(embedding.getIndices());
    } else if (auto gather = dyn_cast<GatherRowsOp>(op)) {
      reads(gather.getIndices());
    }
  }
}

llvm::Error RowsBuilder::emitTile() {
  for (BlockArgument argument : body.getArguments())
    if (isRowArgument(argument))
      loadRows(argument);
  for (Operation &op : body.without_terminator()) {
    if (isa<ReshapeOp>(op))
      continue;
    e.setSource(op.getLoc());
    if (llvm::Error error = emitOp(op))
      return error;
    release(op);
  }
  // Numbers become f32 where they are, which changes what another result may share.
  Operation *yield = body.getTerminator();
  e.setSource(kernel.getLoc());
  llvm::SmallPtrSet<Value, 4> converted;
  for (Value value : yield->getOperands()) {
    Value made = withoutReshapes(value);
    if (isa<RankedTensorType>(made.getType()) && converted.insert(made).second)
      e.toF32(tileOf(made), tileOf(made), extentOf(made), kFraction);
  }
  e.order(Vector, Dma);
  for (auto [value, operand] : llvm::zip(yield->getOperands(), outputs))
    storeRows(value, operand);
  // Loads of the next tile stand behind these stores.
  for (auto &[value, tile] : tiles)
    if (isa<StoredType>(value.getType()))
      give(tile.at.number, rowTile * rowBytes(value.getType()));
    else
      giveTile(tile, rowColumns(value.getType()));
  tiles.clear();
  return llvm::Error::success();
}

llvm::Error RowsBuilder::emitOp(Operation &op) {
  using llvm::Error;
  return llvm::TypeSwitch<Operation *, Error>(&op)
      .Case<ElementwiseOpInterface>([&](auto) { return elementwise(op); })
      .Case<QuantizeOp>([&](QuantizeOp quantizeOp) { return quantize(quantizeOp); })
      .Case<RmsNormOp>([&](RmsNormOp norm) { return rmsNorm(norm); })
      .Case<LayerNormOp>([&](LayerNormOp norm) { return layerNorm(norm); })
      .Case<L2NormalizeOp>([&](L2NormalizeOp norm) { return l2Normalize(norm); })
      .Case<EmbeddingOp>([&](EmbeddingOp lookup) { return embedding(lookup); })
      .Case<GatherRowsOp>([&](GatherRowsOp gather) { return gatherRows(gather); })
      .Case<PoolRowsOp>([&](PoolRowsOp pool) { return poolRows(pool); })
      .Case<CacheAppendOp>([&](CacheAppendOp append) { return cacheAppend(append); })
      .Case<RopeOp>([&](RopeOp ropeOp) { return rope(ropeOp); })
      .Default([&](Operation *) { return unsupportedOp(kernel, &op, "is not available for it yet"); });
}

llvm::Error RowsBuilder::elementwise(Operation &op) {
  SmallVector<Tile> inputs;
  for (Value operand : op.getOperands())
    inputs.push_back(tileOf(operand));
  return emitElementwise(e, kernel, &op, resultTile(op), inputs, extentOf(op.getResult(0)));
}

/// Codes of a row, then its amax: what `act_i8_row` is in memory.
llvm::Error RowsBuilder::quantize(QuantizeOp op) {
  auto type = cast<StoredType>(op.getType());
  if (type.getEncoding().getFormat() != Format::ACT_I8_ROW)
    return unsupportedOp(kernel, op, "to anything but act_i8_row is not available");
  const int64_t columns = type.getShape().back(), stride = rowBytes(type);
  Tile x = tileOf(op.getInput()), codes{take(rowTile * stride), stride, S8};
  tiles[op.getResult()] = codes;
  Tile amax{codes.at + activationLayout(type).scale(), stride, S32};
  Tile multiplier = takeTile(1), found = takeTile(1);
  Extent each{1, m}, all{m, columns}; // numbers of rows lie together
  // A row whose amax is below 2^-8 has fewer codes: its numbers have no more bits.
  e.reduce(Reduce::AbsMax, found, x, all);
  e.binaryScalar(Binary::Max, found, found, 256, each);
  e.binaryScalar(Binary::Add, amax, found, 0, {m, 1});
  e.fill(multiplier, each, 127 << 24);
  e.binary(Binary::Div, multiplier, multiplier, found, each, 8);
  e.binaryByRow(Binary::Mul, codes, x, multiplier, all, 32);
  giveTile(multiplier, 1);
  giveTile(found, 1);
  return llvm::Error::success();
}

// Memory
// --------------------------------------------------------------------------------------------------------------

void RowsBuilder::loadRows(Value argument) {
  const int64_t bytes = rowBytes(argument.getType());
  e.setSource(kernel.getLoc());
  Tile tile{take(rowTile * bytes), bytes, S32};
  tiles[argument] = tile;
  int mark = e.registerMark();
  Field from = e.computed(Set::Mul, first, bytes);
  e.set(from, Set::Add, from, operands.lookup(argument));
  Field size = e.computed(Set::Mul, m, bytes);
  e.order(Vector, Dma);
  e.dmaLoad({tile.at, 0}, from, 0, size);
  e.order(Dma, Vector);
  e.releaseRegisters(mark);
  auto tensor = dyn_cast<RankedTensorType>(argument.getType());
  if (tensor && tensor.getElementType().isF32())
    e.fromF32(tile, tile, extentOf(argument), kFraction);
}

void RowsBuilder::storeRows(Value value, Field operand) {
  Value made = withoutReshapes(value);
  const int64_t stride = rowBytes(made.getType());
  int mark = e.registerMark();
  Field to = e.computed(Set::Mul, first, stride);
  e.set(to, Set::Add, to, operand);
  Tile tile = tileOf(made);
  if (auto stored = dyn_cast<StoredType>(made.getType())) {
    e.dmaStore(tile, to, stride, activationLayout(stored).scale() + 4, m);
  } else {
    Field bytes = e.computed(Set::Mul, m, stride);
    e.dmaStore({tile.at, 0}, to, 0, bytes);
  }
  e.releaseRegisters(mark);
}

bool RowsBuilder::isYielded(Value value) const {
  return llvm::any_of(body.getTerminator()->getOperands(),
                      [&](Value yielded) { return withoutReshapes(yielded) == value; });
}

Tile RowsBuilder::tileOf(Value value) {
  auto tile = tiles.find(withoutReshapes(value));
  assert(tile != tiles.end() && "operands are computed or loaded before");
  return tile->second;
}

Extent RowsBuilder::innermost(Value value) {
  int64_t width = shapeOf(value.getType()).back(), heads = rowColumns(value.getType()) / width;
  if (heads == 1)
    return {m, width};
  return {e.computed(Set::Mul, m, heads), width};
}

Tile RowsBuilder::resultTile(Operation &op) { return resultTile(op, /*mayOverwrite=*/true); }

Tile RowsBuilder::resultTile(Operation &op, bool mayOverwrite) {
  Value result = op.getResult(0);
  int64_t columns = rowColumns(result.getType());
  for (Value operand : op.getOperands()) {
    Value from = withoutReshapes(operand);
    auto tile = tiles.find(from);
    if (!mayOverwrite || tile == tiles.end() || isYielded(from) || !isa<RankedTensorType>(from.getType()) ||
        rowColumns(from.getType()) != columns)
      continue;
    auto isLater = [&](Operation *reader) { return reader != &op && op.isBeforeInBlock(reader); };
    if (llvm::any_of(readersOf(from), isLater))
      continue;
    Tile place = tile->second;
    tiles.erase(tile);
    return tiles[result] = place;
  }
  return tiles[result] = takeTile(columns);
}

/// Gives back the tiles that `op` read last.
void RowsBuilder::release(Operation &op) {
  for (Value operand : op.getOperands()) {
    Value from = withoutReshapes(operand);
    auto tile = tiles.find(from);
    auto isLater = [&](Operation *reader) { return op.isBeforeInBlock(reader); };
    if (tile == tiles.end() || isYielded(from) || llvm::any_of(readersOf(from), isLater))
      continue;
    giveTile(tile->second, rowColumns(from.getType()));
    tiles.erase(tile);
  }
}

Tile RowsBuilder::parameter(Value value, int exponent) {
  auto [known, isNew] = parameters.try_emplace({value.getAsOpaquePointer(), exponent});
  Tile &tile = known->second;
  if (!isNew)
    return tile;
  int64_t columns = shapeOf(value.getType())[0];
  tile = {take(columns * 4), 0, S32};
  e.dmaLoad({tile.at, 0}, operands.lookup(value), 0, columns * 4);
  e.order(Dma, Vector);
  e.fromF32(tile, tile, {1, columns}, exponent);
  return tile;
}

int64_t RowsBuilder::take(int64_t bytes) {
  bytes = int64_t(llvm::alignTo(bytes, 64));
  for (auto [place, size] : freePlaces)
    if (size >= bytes) {
      freePlaces.erase(place);
      if (size > bytes)
        freePlaces[place + bytes] = size - bytes;
      return place;
    }
  // The last free place may grow.
  int64_t place = highest;
  if (!freePlaces.empty())
    if (auto last = std::prev(freePlaces.end()); last->first + last->second == highest) {
      place = last->first;
      freePlaces.erase(last);
    }
  highest = place + bytes;
  return place;
}

void RowsBuilder::give(int64_t place, int64_t bytes) {
  bytes = int64_t(llvm::alignTo(bytes, 64));
  auto after = freePlaces.upper_bound(place);
  if (after != freePlaces.end() && after->first == place + bytes) {
    bytes += after->second;
    after = freePlaces.erase(after);
  }
  if (after != freePlaces.begin())
    if (auto before = std::prev(after); before->first + before->second == place) {
      before->second += bytes;
      return;
    }
  freePlaces[place] = bytes;
}

llvm::Expected<KernelFacts> emitRowsKernel(KernelOp kernel, StringRef rows, const KernelContext &context,
                                           Emitter &e) {
  std::optional<Field> count = rowsField(e, rows);
  if (!count)
    return unsupported(kernel, "expected all of its launches to run over one dimension");
  for (int64_t rowTile = 64; rowTile > 0; rowTile /= 2) {
    RowsBuilder builder(e, kernel, context, rowTile);
    if (llvm::Error error = builder.emit(*count))
      return std::move(error);
    if (builder.fits())
      return KernelFacts{};
    e.discard();
  }
  return unsupported(kernel, "the values of one row do not fit the scratchpad");
}

} // namespace heddle::npu
