// Products of a rows kernel.
//
// A product is done in steps of columns: the weights of a step are loaded while the step before is
// multiplied, and its sums are finished by the vector unit while the next is multiplied. Codes of all rows of
// the tile stay on the chip, weights stream past. Loads stand one step ahead, over the end of a product into
// the next one.
#include "codegen/npu/RowsBuilder.h"
#include "ir/PackedLayout.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::npu {
namespace {

/// Pairs of semaphores: the unit that fills a buffer tells the one that reads it, and back.
enum Semaphore {
  PanelFull = Emitter::kFirstSemaphore, // dma -> array
  PanelFree,                            // array -> dma
  SumsFull,                             // array -> vector
  SumsFree,                             // vector -> array
  ExtrasFull,                           // dma -> vector: records, biases, residuals
  ExtrasFree,                           // vector -> dma
  OutFull,                              // vector -> dma
  OutFree,                              // dma -> vector
  CodesFull,                            // vector -> array: codes of a group of columns
};

ActivationLayout inputLayout(Product &product) {
  return activationLayout(cast<StoredType>(product.linears[0].getInput().getType()));
}

} // namespace

int64_t Product::out() { return shapeOf(linears[0].getWeight().getType())[0]; }
int64_t Product::in() { return shapeOf(linears[0].getWeight().getType())[1]; }

// What belongs together
// ------------------------------------------------------------------------------------------------------------------

/// A product and the ops of one operand that lead from it to `value`, or nothing.
static SmallVector<Operation *> secondProduct(Value value, LinearOp first) {
  SmallVector<Operation *> chain;
  while (Operation *op = value.getDefiningOp()) {
    if (!op->hasOneUse())
      return {};
    chain.push_back(op);
    if (auto linear = dyn_cast<LinearOp>(op)) {
      if (linear.getInput() != first.getInput() ||
          linear.getWeight().getType() != first.getWeight().getType() || linear->isBeforeInBlock(first))
        return {};
      return chain;
    }
    if (!isa<ElementwiseOpInterface>(op) || op->getNumOperands() != 1)
      return {};
    value = op->getOperand(0);
  }
  return {};
}

void RowsBuilder::findProducts() {
  for (auto linear : body.getOps<LinearOp>()) {
    if (productOf.contains(linear))
      continue;
    products.push_back({});
    Product &product = products.back();
    product.linears.push_back(linear);
    product.ops.push_back(linear);
    product.result = linear.getResult();
    product.groups = inputLayout(product).groups();
    if (product.groups == 1)
      growProduct(product);
    llvm::sort(product.ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    for (Operation *op : product.ops)
      productOf[op] = products.size() - 1;
    auto readers = readersOf(product.result);
    product.streams = product.groups == 1 && llvm::all_of(readers, llvm::IsaPred<YieldOp>);
  }
  for (size_t i = 0; i + 1 < products.size(); ++i) {
    Value result = products[i].result;
    if (!result.hasOneUse())
      continue;
    auto quantize = dyn_cast<QuantizeOp>(*result.user_begin());
    Product &next = products[i + 1];
    // Nothing else stands between the two.
    if (quantize && quantize->hasOneUse() && next.linears[0].getInput() == quantize.getResult() &&
        next.groups > 1 && products[i].groups == 1) {
      products[i].feeds = quantize;
      next.isFed = true;
    }
  }
}

/// Takes in the elementwise ops that follow, and a second product that meets the first in one of them.
void RowsBuilder::growProduct(Product &product) {
  LinearOp first = product.linears[0];
  while (product.result.hasOneUse()) {
    Operation *next = *product.result.user_begin();
    if (!isa<ElementwiseOpInterface>(next))
      return;
    SmallVector<Operation *> second;
    for (Value other : next->getOperands()) {
      Operation *maker = other.getDefiningOp();
      if (other == product.result || !maker || maker->isBeforeInBlock(first))
        continue;
      if (product.linears.size() == 1 && second.empty())
        second = secondProduct(other, first);
      if (second.empty())
        return;
    }
    if (!second.empty()) {
      product.linears.push_back(cast<LinearOp>(second.back()));
      llvm::append_range(product.ops, second);
    }
    product.ops.push_back(next);
    product.result = next->getResult(0);
  }
}

llvm::Error RowsBuilder::checkProducts() {
  for (LinearOp linear : body.getOps<LinearOp>()) {
    auto weight = cast<StoredType>(linear.getWeight().getType());
    if (storageFormat(weight.getEncoding()) != StorageFormat::I8)
      return unsupportedOp(kernel, linear,
                           "expected a weight in 'int8' with a scale for each row, but found '" +
                               stringifyFormat(weight.getEncoding().getFormat()) +
                               "'; compile with --quantize int8");
    auto input = dyn_cast<StoredType>(linear.getInput().getType());
    if (!input || !activationLayout(input).perGroup())
      return unsupportedOp(kernel, linear, "expected its input quantized to 'act_i8_row' or 'act_i8_128'");
    if (linear.getSelection())
      return unsupportedOp(kernel, linear, "of selected heads is not available for it yet");
  }
  return llvm::Error::success();
}

// Places
// ------------------------------------------------------------------------------------------------------------------

/// Buffers that all products share, and the first units of their semaphores.
void RowsBuilder::placeProducts() {
  int64_t panelBytes = 0, smallBytes = 0, sumsBytes = 0, areaBytes = 0;
  for (Product &product : products) {
    const int64_t count = product.linears.size(), k = product.in() / product.groups;
    panelBytes = std::max(panelBytes, count * k * stepColumns);
    sumsBytes = std::max(sumsBytes, count * rowTile * stepColumns * 4);
    int64_t small = product.groups == 1 ? count * stepColumns * PanelLayout::kRecord : 0, rows = 0;
    product.extras.clear();
    for (Operation *op : product.ops)
      for (Value operand : op->getOperands()) {
        auto linear = dyn_cast<LinearOp>(op);
        bool isBias = linear && operand == linear.getBias();
        if (product.groups > 1 || !isa<BlockArgument>(operand) || isRowArgument(operand) ||
            (linear && !isBias))
          continue;
        int64_t &bytes = isBias ? small : rows;
        product.extras.push_back({operand, isBias, bytes});
        bytes += stepColumns * 4 * (isBias ? 1 : rowTile);
      }
    smallBytes = std::max(smallBytes, small);
    product.rowExtras = rows;
    product.area = product.streams ? 2 * rowTile * stepColumns * 4 : 2 * rows;
    if (product.streams && rows)
      product.area += 2 * rows; // results behind what is read
    if (product.feeds)
      product.area = rowTile * ActivationLayout::kGroup * 4 + 2 * rows;
    areaBytes = std::max(areaBytes, product.area);
  }
  const int64_t bank = e.machine.bank_bytes;
  auto apart = [&](int64_t bytes) { return separateBanks ? int64_t(llvm::alignTo(bytes, bank)) : bytes; };
  panelHalf = apart(int64_t(llvm::alignTo(panelBytes, 64)));
  panels = take(2 * panelHalf, apart(1));
  smallHalf = int64_t(llvm::alignTo(smallBytes, 64));
  smalls = take(2 * smallHalf);
  sumsHalf = apart(sumsBytes);
  const int64_t accumulators = int64_t(e.machine.accumulator_banks) * bank;
  int64_t spare = accumulators - 2 * sumsHalf;
  hasSums = spare >= 0;
  area = areaBytes <= spare ? int64_t(int32_t(HEDDLE_NPU_ACCUMULATORS)) + 2 * sumsHalf
                            : take(areaBytes, apart(1));
  for (Field *now : {&panelIn, &panelNow, &extrasIn, &extrasNow, &outNow, &outStored, &sumsNow, &step}) {
    *now = e.newRegister();
    e.copy(*now, 0);
  }
  for (int half = 0; half < 2; ++half) { // all buffers are free
    e.signal(Array, PanelFree);
    e.signal(Vector, ExtrasFree);
    e.signal(Vector, SumsFree);
    e.signal(Dma, OutFree);
  }
}

/// The area holds one thing at a time: numbers of a group, results on their way, or what epilogues read.
void RowsBuilder::useArea(Product *product) {
  flushStore();
  if (areaUser && areaUser->streams && product->streams && !areaUser->rowExtras && !product->rowExtras) {
    areaUser = product;
    return;
  }
  areaUser = product;
  if (product->area == 0)
    return;
  e.order(Dma, Vector);
  e.order(Vector, Dma);
}

// Steps
// ------------------------------------------------------------------------------------------------------------------

void RowsBuilder::other(Field half, int64_t distance) { e.set(half, Set::Sub, distance, half); }

Field RowsBuilder::columnsOf(Product &product, Field number) {
  Field left = e.computed(Set::Mul, number, -stepColumns);
  e.set(left, Set::Add, left, product.out());
  e.set(left, Set::Min, left, stepColumns);
  return left;
}

/// Weights of a step, and of a group of their rows, on their way to the half that was not used last.
void RowsBuilder::loadWeights(Product &product, Field number, Field group) {
  int mark = e.registerMark();
  const int64_t array = e.machine.array, perStep = stepColumns / array, k = product.in() / product.groups;
  const PanelLayout panel{array, product.in()};
  e.wait(Dma, PanelFree);
  Field offset = e.computed(Set::Mul, number, perStep * panel.bytes()), count = panelsOf(product, number);
  if (product.groups > 1) {
    Field within = e.computed(Set::Mul, group, k * array);
    e.set(offset, Set::Add, offset, within);
  }
  Field from = e.newRegister();
  for (auto [i, linear] : llvm::enumerate(product.linears)) {
    e.set(from, Set::Add, operands.lookup(linear.getWeight()), offset);
    e.dmaLoad({panelIn + (panels + int64_t(i) * k * stepColumns), k * array}, from, panel.bytes(), k * array,
              count);
  }
  e.signal(Dma, PanelFull);
  other(panelIn, panelHalf);
  e.releaseRegisters(mark);
}

/// How many panels a step has: the last one may have fewer.
Field RowsBuilder::panelsOf(Product &product, Field number) {
  const int64_t array = e.machine.array, perStep = stepColumns / array;
  if (perStep == 1)
    return 1;
  Field count = e.computed(Set::Mul, number, -perStep);
  e.set(count, Set::Add, count, int64_t(llvm::divideCeil(product.out(), array)));
  e.set(count, Set::Min, count, perStep);
  return count;
}

void RowsBuilder::loadStep(Product &product, Field number) {
  loadWeights(product, number, 0);
  int mark = e.registerMark();
  const int64_t array = e.machine.array;
  const PanelLayout panel{array, product.in()};
  e.wait(Dma, ExtrasFree);
  Field offset = e.computed(Set::Mul, number, stepColumns / array * panel.bytes()),
        count = panelsOf(product, number);
  const int64_t records = array * PanelLayout::kRecord;
  Field from = e.newRegister(), small = halfOf(extrasIn, smallHalf);
  for (auto [i, linear] : llvm::enumerate(product.linears)) {
    e.set(from, Set::Add, operands.lookup(linear.getWeight()), offset);
    e.dmaLoad({small + (smalls + int64_t(i) * stepColumns * PanelLayout::kRecord), records},
              from + panel.records(), panel.bytes(), records, count);
  }
  if (!product.extras.empty()) {
    Field bytes = columnsOf(product, number);
    e.set(bytes, Set::Mul, bytes, 4);
    for (const Product::Extra &extra : product.extras) {
      e.set(from, Set::Mul, number, stepColumns * 4);
      e.set(from, Set::Add, from, operands.lookup(extra.argument));
      if (extra.isBias) {
        e.dmaLoad({small + (smalls + extra.place), 0}, from, 0, bytes);
        continue;
      }
      int mark = e.registerMark();
      Field row = e.computed(Set::Mul, first, product.out() * 4);
      e.set(from, Set::Add, from, row);
      e.dmaLoad(extraTile(product, extra, extrasIn), from, product.out() * 4, bytes, m);
      e.releaseRegisters(mark);
    }
  }
  e.signal(Dma, ExtrasFull);
  other(extrasIn, 1);
  e.releaseRegisters(mark);
}

/// extrasIn and extrasNow are 0 and 1 in turn, since there are halves of two sizes.
Field RowsBuilder::halfOf(Field which, int64_t bytes) { return e.computed(Set::Mul, which, bytes); }

Tile RowsBuilder::extraTile(Product &product, const Product::Extra &extra, Field half) {
  const int64_t before = product.feeds     ? rowTile * ActivationLayout::kGroup * 4
                         : product.streams ? 2 * rowTile * stepColumns * 4
                                           : 0;
  return {halfOf(half, product.rowExtras) + (area + before + extra.place), stepColumns * 4, S32};
}

void RowsBuilder::multiply(Product &product, Tile codes) {
  int mark = e.registerMark();
  const int64_t array = e.machine.array, k = product.in() / product.groups;
  e.wait(Array, PanelFull);
  e.wait(Array, SumsFree);
  Field left = columnsOf(product, step), n = e.newRegister();
  for (int64_t p = 0; p < stepColumns / array; ++p) {
    e.set(n, Set::Sub, left, p * array);
    e.set(n, Set::Min, n, array);
    e.set(n, Set::Max, n, 0);
    for (size_t i = 0; i < product.linears.size(); ++i) {
      Tile sums = sumsTile(i);
      sums.at = sums.at + p * array * 4;
      e.matmul(sums, codes, {panelNow + (panels + (int64_t(i) * stepColumns + p * array) * k), array, S8}, m,
               k, n);
    }
  }
  e.signal(Array, PanelFree);
  e.signal(Array, SumsFull);
  other(panelNow, panelHalf);
  e.releaseRegisters(mark);
}

Tile RowsBuilder::sumsTile(size_t linear) {
  return {sumsNow + (int64_t(int32_t(HEDDLE_NPU_ACCUMULATORS)) + int64_t(linear) * rowTile * stepColumns * 4),
          stepColumns * 4, S32};
}

/// Columns of a step in a tile of all columns.
Tile RowsBuilder::columnsAt(Tile tile, Field bytes) {
  tile.at = bytes + tile.at.number;
  return tile;
}

/// The vector unit's part of a step: from sums to numbers, in `to` or on their way to memory.
llvm::Error RowsBuilder::finishStep(Product &product, std::optional<Tile> to) {
  int mark = e.registerMark();
  Field cols = columnsOf(product, step), column = e.computed(Set::Mul, step, stepColumns * 4);
  Field small = halfOf(extrasNow, smallHalf);
  Extent extent{m, cols};
  e.wait(Vector, SumsFull);
  e.wait(Vector, ExtrasFull);
  llvm::DenseMap<Value, Tile> values;
  for (const Product::Extra &extra : product.extras) {
    Tile tile =
        extra.isBias ? Tile{small + (smalls + extra.place), 0, S32} : extraTile(product, extra, extrasNow);
    e.fromF32(tile, tile, {extra.isBias ? Field(1) : m, cols}, kFraction);
    values[extra.argument] = tile;
  }
  auto place = [&](Value value, Tile own) { return to && value == product.result ? *to : own; };
  for (auto [i, linear] : llvm::enumerate(product.linears)) {
    e.setSource(linear.getLoc());
    Tile codes = tileOf(linear.getInput()), sums = sumsTile(i);
    Tile amax{codes.at + inputLayout(product).scale(), codes.stride, S32};
    e.requant(sums, sums, small + (smalls + int64_t(i) * stepColumns * PanelLayout::kRecord), extent);
    Value bias = linear.getBias();
    Tile dst = bias ? sums : place(linear.getResult(), sums);
    e.binaryByRow(Binary::Mul, dst, sums, amax, extent, PanelLayout::kFractionBits);
    if (bias) {
      dst = place(linear.getResult(), sums);
      e.binary(Binary::Add, dst, sums, values.lookup(bias), extent);
    }
    values[linear.getResult()] = dst;
  }
  // Each op writes over its first operand that was made here: nothing else reads it.
  for (Operation *op : product.ops) {
    if (isa<LinearOp>(op))
      continue;
    SmallVector<Tile> inputs;
    std::optional<Tile> dst;
    for (Value operand : op->getOperands()) {
      bool isMade = values.contains(operand);
      inputs.push_back(isMade ? values.lookup(operand) : columnsAt(tileOf(operand), column));
      if (!dst && isMade && !isa<BlockArgument>(operand))
        dst = inputs.back();
    }
    e.setSource(op->getLoc());
    Tile result = place(op->getResult(0), *dst);
    if (llvm::Error error = emitElementwise(e, kernel, op, result, inputs, extent))
      return error;
    values[op->getResult(0)] = result;
  }
  e.setSource(kernel.getLoc());
  e.signal(Vector, ExtrasFree);
  if (product.streams) {
    e.wait(Vector, OutFree);
    e.toF32(outTile(outNow), values.lookup(product.result), extent, kFraction);
    e.signal(Vector, OutFull);
    other(outNow, rowTile * stepColumns * 4);
  }
  e.signal(Vector, SumsFree);
  other(sumsNow, sumsHalf);
  other(extrasNow, 1);
  e.releaseRegisters(mark);
  return llvm::Error::success();
}

Tile RowsBuilder::outTile(Field half) { return {half + area, stepColumns * 4, S32}; }

/// Results of step `number` on their way to memory.
void RowsBuilder::storeStep(Product &product, Field number) {
  int mark = e.registerMark();
  Field offset = e.computed(Set::Mul, first, product.out() * 4),
        column = e.computed(Set::Mul, number, stepColumns * 4), bytes = columnsOf(product, number);
  e.set(offset, Set::Add, offset, column);
  e.set(bytes, Set::Mul, bytes, 4);
  e.wait(Dma, OutFull);
  for (auto [value, operand] : llvm::zip(body.getTerminator()->getOperands(), outputs))
    if (withoutReshapes(value) == product.result) {
      Field to = e.computed(Set::Add, operand, offset);
      e.dmaStore(outTile(outStored), to, product.out() * 4, bytes, m);
    }
  e.signal(Dma, OutFree);
  other(outStored, rowTile * stepColumns * 4);
  e.releaseRegisters(mark);
}

/// The store that waits for loads of the next product to go first.
void RowsBuilder::flushStore() {
  if (!unstored)
    return;
  int mark = e.registerMark();
  storeStep(*unstored, e.computed(Set::Add, int64_t(llvm::divideCeil(unstored->out(), stepColumns)) - 1, 0));
  unstored = nullptr;
  e.releaseRegisters(mark);
}

/// Runs `work` for steps 0 to `count` - 1, each with the load of the next before it; `following` loads what
/// comes after the last.
void RowsBuilder::steps(int64_t count, llvm::function_ref<void(Field)> load, llvm::function_ref<void()> work,
                        llvm::function_ref<void()> following) {
  e.copy(step, 0);
  e.loop(count, [&] {
    int mark = e.registerMark();
    Field more = e.computed(Set::Sub, count - 1, step);
    e.set(more, Set::Min, more, 1);
    e.loop(more, [&] { load(e.computed(Set::Add, step, 1)); });
    e.set(more, Set::Sub, 1, more);
    e.loop(more, following);
    work();
    e.releaseRegisters(mark);
    e.set(step, Set::Add, step, 1);
  });
}

/// Loads the first step of a product, unless what it reads beside weights must wait.
void RowsBuilder::prefetch(size_t number) {
  if (number >= products.size() || products[number].rowExtras || products[number].isLoaded)
    return;
  Product &product = products[number];
  int mark = e.registerMark();
  Field zero = e.computed(Set::Add, 0, 0);
  if (product.groups == 1)
    loadStep(product, zero);
  else
    loadWeights(product, zero, zero);
  product.isLoaded = true;
  e.releaseRegisters(mark);
}

llvm::Error RowsBuilder::emitProduct(size_t number) {
  Product &product = products[number];
  if (product.feeds)
    return emitPair(number);
  if (product.groups > 1)
    return accumulate(number);
  llvm::Error error = llvm::Error::success();
  const int64_t columns = product.out();
  Tile codes = tileOf(product.linears[0].getInput());
  std::optional<Tile> dst;
  if (!product.streams)
    dst = tiles[product.result] = takeTile(columns);
  e.order(Vector, Array); // codes are there
  if (product.rowExtras) {
    useArea(&product);
    int mark = e.registerMark();
    loadStep(product, e.computed(Set::Add, 0, 0));
    e.releaseRegisters(mark);
  } else {
    prefetch(number);
    useArea(&product);
  }
  steps(
      int64_t(llvm::divideCeil(columns, stepColumns)), [&](Field next) { loadStep(product, next); },
      [&] {
        multiply(product, codes);
        int mark = e.registerMark();
        std::optional<Tile> to;
        if (dst)
          to = columnsAt(*dst, e.computed(Set::Mul, step, stepColumns * 4));
        if (!error)
          error = finishStep(product, to);
        if (product.streams)
          e.loop(e.computed(Set::Min, step, 1), [&] { storeStep(product, e.computed(Set::Sub, step, 1)); });
        e.releaseRegisters(mark);
      },
      [&] { prefetch(number + 1); });
  if (product.streams)
    unstored = &product;
  return error;
}

// Products whose codes have scales by groups of columns
// ------------------------------------------------------------------------------------------------------------------

/// Where the sums of an accumulating product are added up: a residual that nothing reads later, or zero.
Tile RowsBuilder::startSums(Product &product) {
  LinearOp linear = product.linears[0];
  const int64_t columns = product.out();
  Tile sums;
  auto add = linear->hasOneUse() ? dyn_cast<BinaryOp>(*linear->user_begin()) : nullptr;
  Value residual;
  if (add && add.getKind() == BinaryKind::Add) {
    Value first = add->getOperand(0), second = add->getOperand(1);
    residual = withoutReshapes(first == linear.getResult() ? second : first);
    auto isLater = [&](Operation *reader) { return reader != add && linear->isBeforeInBlock(reader); };
    if (!tiles.contains(residual) || isYielded(residual) || llvm::any_of(readersOf(residual), isLater))
      residual = nullptr;
  }
  if (residual) {
    sums = tiles.lookup(residual);
    tiles.erase(residual);
    tiles[add.getResult()] = sums;
    product.result = add.getResult();
    done.insert(add);
  } else {
    sums = tiles[linear.getResult()] = takeTile(columns);
    e.fill(sums, {m, columns}, 0);
  }
  if (Value bias = linear.getBias())
    e.binary(Binary::Add, sums, sums, parameter(bias, kFraction), {m, columns});
  return sums;
}

/// Records of all columns, which every group of codes needs.
int64_t RowsBuilder::loadRecords(Product &product) {
  const int64_t array = e.machine.array, records = array * PanelLayout::kRecord;
  const int64_t count = int64_t(llvm::divideCeil(product.out(), array));
  const PanelLayout panel{array, product.in()};
  int64_t place = take(count * records);
  LinearOp linear = product.linears[0];
  e.order(Vector, Dma);
  e.dmaLoad({place, records}, operands.lookup(linear.getWeight()) + panel.records(), panel.bytes(), records,
            count);
  e.order(Dma, Vector);
  return place;
}

void RowsBuilder::addStep(Product &product, Tile amax, int64_t records, Tile sums) {
  int mark = e.registerMark();
  Field column = e.computed(Set::Mul, step, stepColumns * 4), cols = columnsOf(product, step);
  Field record = e.computed(Set::Mul, step, stepColumns * PanelLayout::kRecord);
  Extent extent{m, cols};
  Tile part = sumsTile(0), to = columnsAt(sums, column);
  e.wait(Vector, SumsFull);
  e.requant(part, part, record + records, extent);
  e.binaryByRow(Binary::Mul, part, part, amax, extent, PanelLayout::kFractionBits);
  e.binary(Binary::Add, to, to, part, extent);
  e.signal(Vector, SumsFree);
  other(sumsNow, sumsHalf);
  e.releaseRegisters(mark);
}

/// All codes are there: groups outside, steps inside.
llvm::Error RowsBuilder::accumulate(size_t number) {
  Product &product = products[number];
  const int64_t count = int64_t(llvm::divideCeil(product.out(), stepColumns));
  const int64_t k = product.in() / product.groups;
  Tile codes = tileOf(product.linears[0].getInput());
  int mark = e.registerMark();
  Field group = e.newRegister();
  e.order(Vector, Array);
  prefetch(number);
  Tile sums = startSums(product);
  int64_t records = loadRecords(product);
  e.copy(group, 0);
  e.loop(product.groups, [&] {
    auto loadNext = [&](Field next) { loadWeights(product, next, group); };
    int mark = e.registerMark();
    Field more = e.computed(Set::Sub, product.groups - 1, group);
    e.set(more, Set::Min, more, 1);
    steps(
        count, loadNext,
        [&] {
          int mark = e.registerMark();
          Field within = e.computed(Set::Mul, group, k);
          multiply(product, {within + codes.at.number, codes.stride, S8});
          e.set(within, Set::Mul, group, 4);
          addStep(product, {within + (codes.at.number + inputLayout(product).scale()), codes.stride, S32},
                  records, sums);
          e.releaseRegisters(mark);
        },
        [&] {
          e.loop(more,
                 [&] { loadWeights(product, e.computed(Set::Add, 0, 0), e.computed(Set::Add, group, 1)); });
        });
    e.releaseRegisters(mark);
    e.set(group, Set::Add, group, 1);
  });
  give(records,
       int64_t(llvm::divideCeil(product.out(), e.machine.array)) * e.machine.array * PanelLayout::kRecord);
  e.releaseRegisters(mark);
  return llvm::Error::success();
}

/// A product, its codes by groups of columns, and the product of these: while the vector unit makes codes of
/// a group, the array multiplies the next one by the first weights, then the group by the second.
llvm::Error RowsBuilder::emitPair(size_t number) {
  Product &up = products[number], &down = products[number + 1];
  llvm::Error error = llvm::Error::success();
  constexpr int64_t kGroup = ActivationLayout::kGroup;
  const int64_t upSteps = kGroup / stepColumns,
                downSteps = int64_t(llvm::divideCeil(down.out(), stepColumns));
  const int64_t groups = down.groups, codeBytes = rowTile * kGroup;
  Tile codes{take(codeBytes, separateBanks ? int64_t(e.machine.bank_bytes) : 1), kGroup, S8};
  Tile amax = takeTile(1), numbers{area, kGroup * 4, S32};
  Tile upCodes = tileOf(up.linears[0].getInput());
  int mark = e.registerMark();
  Field group = e.newRegister(), within = e.newRegister(), before = e.newRegister(), inside = e.newRegister();
  e.order(Vector, Array);
  if (!up.rowExtras)
    prefetch(number);
  useArea(&up);
  Field zero = e.computed(Set::Add, 0, 0);
  if (up.rowExtras)
    loadStep(up, zero);
  Tile sums = startSums(down);
  int64_t records = loadRecords(down);
  e.copy(group, 0);
  auto loadDown = [&](Field next) { loadWeights(down, next, before); };
  e.loop(groups + 1, [&] {
    e.set(before, Set::Sub, group, 1);
    e.set(inside, Set::Sub, groups, group);
    e.set(inside, Set::Min, inside, 1);
    e.loop(inside, [&] {
      e.copy(within, 0);
      e.set(step, Set::Mul, group, upSteps);
      e.loop(upSteps, [&] {
        int mark = e.registerMark();
        Field more = e.computed(Set::Sub, upSteps - 1, within);
        e.set(more, Set::Min, more, 1);
        e.loop(more, [&] { loadStep(up, e.computed(Set::Add, step, 1)); });
        // After the last step of a group comes the second product of the group before; after the first
        // group, which has none before it, the next group.
        Field isLast = e.computed(Set::Sub, 1, more), hasBefore = e.computed(Set::Min, group, 1);
        e.set(hasBefore, Set::Mul, hasBefore, isLast);
        e.set(isLast, Set::Sub, isLast, hasBefore);
        e.loop(hasBefore, [&] { loadDown(zero); });
        e.loop(isLast, [&] { loadStep(up, e.computed(Set::Add, step, 1)); });
        multiply(up, upCodes);
        Tile to = columnsAt(numbers, e.computed(Set::Mul, within, stepColumns * 4));
        if (!error)
          error = finishStep(up, to);
        e.releaseRegisters(mark);
        e.set(within, Set::Add, within, 1);
        e.set(step, Set::Add, step, 1);
      });
    });
    e.set(inside, Set::Min, group, 1);
    e.loop(inside, [&] {
      e.wait(Array, CodesFull);
      steps(
          downSteps, loadDown,
          [&] {
            multiply(down, codes);
            addStep(down, amax, records, sums);
          },
          [&] {
            // The next group comes, or the last one's second product, or what follows the pair.
            Field left = e.computed(Set::Sub, groups - 1, group);
            e.loop(e.computed(Set::Min, left, 1), [&] {
              Field next = e.computed(Set::Add, group, 1);
              e.set(next, Set::Mul, next, upSteps);
              loadStep(up, next);
            });
            Field isNone = e.computed(Set::Mul, left, left);
            e.set(isNone, Set::Sub, 1, isNone);
            e.loop(isNone, [&] { loadWeights(down, zero, group); });
            e.loop(e.computed(Set::Sub, 0, left), [&] { prefetch(number + 2); });
          });
    });
    e.set(inside, Set::Sub, groups, group);
    e.set(inside, Set::Min, inside, 1);
    e.loop(inside, [&] {
      e.setSource(up.feeds.getLoc());
      makeCodes(codes, amax, numbers, {m, kGroup});
      e.signal(Vector, CodesFull);
      e.setSource(kernel.getLoc());
    });
    e.set(group, Set::Add, group, 1);
  });
  e.releaseRegisters(mark);
  return error;
}

} // namespace heddle::npu
