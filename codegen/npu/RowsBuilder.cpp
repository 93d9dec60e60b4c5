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
  if (llvm::Error error = checkProducts())
    return error;
  findProducts();
  findArguments();
  m = e.newRegister();
  first = e.newRegister();
  Field left = e.newRegister(), tiles = e.newRegister();
  e.copy(first, 0);
  e.copy(left, rows);
  e.set(tiles, Set::Add, rows, rowTile - 1);
  e.set(tiles, Set::Div, tiles, rowTile);
  if (!products.empty())
    placeProducts();
  for (Product &product : products)
    if (Value bias = product.linears[0].getBias(); bias && product.groups > 1)
      parameter(bias, kFraction);
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
    if (auto linear = dyn_cast<LinearOp>(op)) {
      reads(linear.getInput());
    } else if (productOf.contains(&op)) {
      continue; // reads columns of a step
    } else if (isa<ElementwiseOpInterface, QuantizeOp, YieldOp>(op)) {
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
    if (isa<ReshapeOp>(op) || done.contains(&op))
      continue;
    e.setSource(op.getLoc());
    if (auto product = productOf.find(&op); product != productOf.end()) {
      if (llvm::Error error = emitProductOps(product->second))
        return error;
    } else {
      if (llvm::Error error = emitOp(op))
        return error;
      release(&op, &op);
    }
    // Results between products are on their way while the next one is computed.
    if (!products.empty())
      storeYielded(&op);
  }
  storeYielded(body.getTerminator());
  flushStore();
  // Loads of the next tile stand behind these stores.
  for (auto &[value, tile] : tiles)
    giveValue(value, tile);
  tiles.clear();
  areaUser = nullptr;
  return llvm::Error::success();
}

/// Stores what is yielded and not read after `op`.
void RowsBuilder::storeYielded(Operation *op) {
  SmallVector<std::pair<Value, Field>> ready;
  for (auto [value, operand] : llvm::zip(body.getTerminator()->getOperands(), outputs)) {
    Value made = withoutReshapes(value);
    auto isLater = [&](Operation *reader) {
      return !isa<YieldOp>(reader) && op->isBeforeInBlock(reader) && !done.contains(reader);
    };
    if (tiles.contains(made) && !stored.contains(made) && !llvm::any_of(readersOf(made), isLater))
      ready.push_back({value, operand});
  }
  if (ready.empty())
    return;
  // Numbers become f32 where they are, which changes what another result may share.
  e.setSource(kernel.getLoc());
  for (auto [value, operand] : ready) {
    Value made = withoutReshapes(value);
    if (stored.insert(made).second && isa<RankedTensorType>(made.getType()))
      e.toF32(tileOf(made), tileOf(made), extentOf(made), kFraction);
  }
  e.order(Vector, Dma);
  for (auto [value, operand] : ready)
    storeRows(value, operand);
}

/// A product with its epilogue, and the product that it feeds.
llvm::Error RowsBuilder::emitProductOps(size_t number) {
  if (llvm::Error error = emitProduct(number))
    return error;
  SmallVector<Operation *> ops(products[number].ops);
  if (products[number].feeds) {
    ops.push_back(products[number].feeds);
    llvm::append_range(ops, products[number + 1].ops);
  }
  done.insert(ops.begin(), ops.end());
  Operation *last = *std::max_element(ops.begin(), ops.end(),
                                      [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  for (Operation *op : ops)
    release(op, last);
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

/// Codes of a row, then the amax of the row or of each group of its columns: what `act_i8_row` and
/// `act_i8_128` are in memory.
llvm::Error RowsBuilder::quantize(QuantizeOp op) {
  auto type = cast<StoredType>(op.getType());
  const ActivationLayout layout = activationLayout(type);
  if (!layout.perGroup())
    return unsupportedOp(kernel, op, "to anything but act_i8_row and act_i8_128 is not available");
  const int64_t stride = layout.stride(), columns = layout.columns / layout.groups();
  Tile x = tileOf(op.getInput()), codes{take(rowTile * stride, codesAlignment()), stride, S8};
  tiles[op.getResult()] = codes;
  for (int64_t group = 0; group < layout.groups(); ++group) {
    Tile part = x, to = codes;
    part.at = x.at + group * columns * 4;
    to.at = codes.at + group * columns;
    makeCodes(to, {codes.at + (layout.scale() + group * 4), stride, S32}, part, {m, columns});
  }
  return llvm::Error::success();
}

void RowsBuilder::makeCodes(Tile codes, Tile amax, Tile x, Extent extent) {
  Tile multiplier = takeTile(1), found = takeTile(1);
  Extent each{1, m}; // numbers of rows lie together
  // A row whose amax is below 2^-8 has fewer codes: its numbers have no more bits.
  e.reduce(Reduce::AbsMax, found, x, extent);
  e.binaryScalar(Binary::Max, found, found, 256, each);
  e.binaryScalar(Binary::Add, amax, found, 0, {m, 1});
  e.fill(multiplier, each, 127 << 24);
  e.binary(Binary::Div, multiplier, multiplier, found, each, 8);
  e.binaryByRow(Binary::Mul, codes, x, multiplier, extent, 32);
  giveTile(multiplier, 1);
  giveTile(found, 1);
}

// Memory
// --------------------------------------------------------------------------------------------------------------

void RowsBuilder::loadRows(Value argument) {
  const int64_t bytes = rowBytes(argument.getType());
  e.setSource(kernel.getLoc());
  const bool isCodes = isa<StoredType>(argument.getType());
  Tile tile{take(rowTile * bytes, isCodes ? codesAlignment() : 64), bytes, isCodes ? S8 : S32};
  tiles[argument] = tile;
  int mark = e.registerMark();
  Field from = e.computed(Set::Mul, first, bytes);
  e.set(from, Set::Add, from, operands.lookup(argument));
  Field size = e.computed(Set::Mul, m, bytes);
  e.order(Vector, Dma);
  e.dmaLoad({tile.at, 0}, from, 0, size);
  e.order(Dma, Vector); // and so before the array, which follows the vector unit
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
    e.dmaStore(tile, to, stride, activationLayout(stored).used(), m);
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

void RowsBuilder::release(Operation *op, Operation *last) {
  for (Value operand : op->getOperands()) {
    Value from = withoutReshapes(operand);
    auto tile = tiles.find(from);
    auto isLater = [&](Operation *reader) { return last->isBeforeInBlock(reader); };
    if (tile == tiles.end() || isYielded(from) || llvm::any_of(readersOf(from), isLater))
      continue;
    giveValue(from, tile->second);
    tiles.erase(tile);
  }
}

void RowsBuilder::giveValue(Value value, Tile tile) {
  bool isCodes = isa<StoredType>(value.getType());
  give(tile.at.number, rowTile * (isCodes ? rowBytes(value.getType()) : rowColumns(value.getType()) * 4));
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

int64_t RowsBuilder::take(int64_t bytes, int64_t alignment) {
  bytes = int64_t(llvm::alignTo(bytes, 64));
  for (auto [place, size] : freePlaces) {
    int64_t begin = int64_t(llvm::alignTo(place, alignment)), end = place + size;
    if (begin + bytes > end)
      continue;
    freePlaces.erase(place);
    if (begin > place)
      freePlaces[place] = begin - place;
    if (end > begin + bytes)
      freePlaces[begin + bytes] = end - begin - bytes;
    return begin;
  }
  // The last free place may grow.
  int64_t from = highest;
  if (!freePlaces.empty())
    if (auto last = std::prev(freePlaces.end()); last->first + last->second == highest) {
      from = last->first;
      freePlaces.erase(last);
    }
  int64_t place = int64_t(llvm::alignTo(from, alignment));
  if (place > from)
    freePlaces[from] = place - from;
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

/// What to try, best first. Weights pass by once for each tile of rows, so products want many.
static std::vector<RowsTiling> tilings(KernelOp kernel, const KernelContext &context,
                                       const Machine &machine) {
  const int64_t array = machine.array, lanes = std::max<int64_t>(machine.lanes, array);
  std::vector<RowsTiling> list;
  auto linears = kernel.getBody().front().getOps<LinearOp>();
  if (linears.empty()) {
    for (int64_t rows = 64; rows > 0; rows /= 2)
      list.push_back({rows, lanes});
    return list;
  }
  const int64_t most = kernel.getFamily() == Family::Contraction ? 256 : 128;
  for (bool separateBanks : {true, false})
    for (int64_t rows = std::min<int64_t>(llvm::alignTo(context.maxRows, array), most); rows > 0;
         rows -= array)
      for (int64_t columns = lanes; columns >= array; columns /= 2)
        list.push_back({rows, columns, separateBanks});
  return list;
}

llvm::Expected<KernelFacts> emitRowsKernel(KernelOp kernel, StringRef rows, const KernelContext &context,
                                           Emitter &e) {
  std::optional<Field> count = rowsField(e, rows);
  if (!count)
    return unsupported(kernel, "expected all of its launches to run over one dimension");
  for (RowsTiling tiling : tilings(kernel, context, e.machine)) {
    RowsBuilder builder(e, kernel, context, tiling);
    if (llvm::Error error = builder.emit(*count))
      return std::move(error);
    if (builder.fits())
      return KernelFacts{};
    e.discard();
  }
  return unsupported(kernel, "the values of one row do not fit the scratchpad");
}

} // namespace heddle::npu
