// From a `heddle.kernel` of the family `contraction` to commands.
//
// Rows are done in tiles, whose codes stay on the chip while panels of weights stream past (docs/npu.md). A
// step is one panel (of each product): its weights are loaded while the step before is multiplied, and its
// sums are finished by the vector unit while the next is multiplied.
#include "codegen/KernelOperands.h"
#include "codegen/npu/Kernel.h"
#include "codegen/npu/Scratch.h"
#include "ir/PackedLayout.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::npu {
namespace {

/// Pairs of semaphores: the unit that fills a buffer tells the one that reads it, and back.
enum Semaphore {
  TileFree = Emitter::kFirstSemaphore, // vector -> dma: the codes of the row tile
  PanelFull,                           // dma -> array
  PanelFree,                           // array -> dma
  SumsFull,                            // array -> vector
  SumsFree,                            // vector -> array
  ExtrasFull,                          // dma -> vector: records, biases, residuals
  ExtrasFree,                          // vector -> dma
  OutFull,                             // vector -> dma
  OutFree,                             // dma -> vector
};

/// A tensor that the epilogue reads, in f32.
struct Extra {
  Value argument;
  int operand;       // of the kernel's code
  bool isBias;       // one row for all
  int64_t place = 0; // in the extras of a step
};

class Contraction {
public:
  Contraction(KernelOp kernel, Emitter &e, int64_t maxRows)
      : kernel(kernel), e(e), array(e.machine.array), linears(kernel.getBody().front().getOps<LinearOp>()) {
    auto weight = shapeOf(linears[0].getWeight().getType());
    out = weight[0];
    panel = {array, weight[1]};
    stride = activationLayout(cast<StoredType>(linears[0].getInput().getType())).stride();
    for (auto [i, operand] : llvm::enumerate(kernelOperands(kernel))) {
      if (i < 2 + linears.size())
        continue;
      Value argument = kernel.getBody().front().getArgument(operand.index);
      bool isBias = llvm::any_of(linears, [&](LinearOp linear) { return linear.getBias() == argument; });
      extras.push_back({argument, int(i), isBias});
    }
    maxTile = std::min<int64_t>(llvm::alignTo(maxRows, array), 256);
  }

  /// The most rows that leave room for everything else; false: not even one tile of the array does.
  bool plan() {
    for (rowTile = maxTile; rowTile >= array; rowTile -= array)
      if (place())
        return true;
    return false;
  }

  llvm::Error emit(Field rows);

private:
  bool place();
  void loadStep(Field step, Field panelPlace, Field extrasPlace);
  llvm::Error finishStep(Field step);
  void storeStep(Field step, Field outPlace);
  Tile tileAt(Field place) { return {place, array * 4, S32}; }
  Field columnsOf(Field step) {
    Field left = e.computed(Set::Mul, step, -array);
    e.set(left, Set::Add, left, out);
    e.set(left, Set::Min, left, array);
    return left;
  }

  KernelOp kernel;
  Emitter &e;
  const int64_t array;
  SmallVector<LinearOp> linears;
  SmallVector<Extra> extras;
  PanelLayout panel;
  int64_t out, stride, maxTile, rowTile = 0;

  // Places on the chip. Those with two halves: the first, and the distance to the second.
  int64_t codes = 0, panels = 0, panelHalf = 0, extrasAt = 0, extrasHalf = 0, outs = 0, outHalf = 0,
          sumsHalf = 0;
  SmallVector<int64_t> work; // tiles of the vector unit

  // Registers.
  Field m, panelNow, extrasNow, outNow, sumsNow; // halves are numbers to add
  Field amax;
  Field address; // of the row tile's first row in the result and in residuals, in bytes of f32
};

bool Contraction::place() {
  Scratch scratch(e.machine);
  codes = scratch.take(rowTile * stride);
  int64_t products = linears.size(), tileBytes = rowTile * array * 4;
  panelHalf = 0;
  for (int half = 0; half < 2; ++half) {
    scratch.nextBank();
    int64_t begin = scratch.take(products * panel.records());
    half == 0 ? panels = begin : panelHalf = begin - panels;
  }
  scratch.nextBank();
  for (int half = 0; half < 2; ++half) {
    int64_t begin = scratch.take(products * array * PanelLayout::kRecord), end = begin;
    half == 0 ? extrasAt = begin : extrasHalf = begin - extrasAt;
    for (Extra &extra : extras) {
      end = scratch.take(extra.isBias ? array * 4 : tileBytes);
      extra.place = end - begin;
    }
  }
  for (int half = 0; half < 2; ++half) {
    int64_t begin = scratch.take(tileBytes);
    half == 0 ? outs = begin : outHalf = begin - outs;
  }
  work.clear();
  for (int64_t i = 0; i < products; ++i)
    work.push_back(scratch.take(tileBytes));
  sumsHalf = int64_t(e.machine.accumulator_banks) / 2 * e.machine.bank_bytes;
  return scratch.fits() && products * tileBytes <= sumsHalf;
}

/// Panels and extras of a step on their way to the half of their buffers that was not used last.
void Contraction::loadStep(Field step, Field panelPlace, Field extrasPlace) {
  int mark = e.registerMark();
  e.wait(Dma, PanelFree);
  Field offset = e.computed(Set::Mul, step, panel.bytes());
  for (size_t i = 0; i < linears.size(); ++i) {
    Field from = e.computed(Set::Add, e.operand(2 + i), offset);
    e.dmaLoad({panelPlace + (panels + i * panel.records()), 0}, from, 0, panel.records());
  }
  e.signal(Dma, PanelFull);
  e.wait(Dma, ExtrasFree);
  for (size_t i = 0; i < linears.size(); ++i) {
    Field from = e.computed(Set::Add, e.operand(2 + i), offset);
    e.dmaLoad({extrasPlace + (extrasAt + i * array * PanelLayout::kRecord), 0}, from + panel.records(), 0,
              array * PanelLayout::kRecord);
  }
  if (!extras.empty()) {
    Field bytes = columnsOf(step);
    e.set(bytes, Set::Mul, bytes, 4);
    Field column = e.computed(Set::Mul, step, array * 4);
    for (const Extra &extra : extras) {
      Field from = e.computed(Set::Add, e.operand(extra.operand), column);
      if (!extra.isBias)
        e.set(from, Set::Add, from, address);
      e.dmaLoad({extrasPlace + (extrasAt + extra.place), array * 4}, from, out * 4, bytes,
                extra.isBias ? Field(1) : m);
    }
  }
  e.signal(Dma, ExtrasFull);
  e.releaseRegisters(mark);
}

/// The vector unit's part: from sums to f32 in the result's buffer.
llvm::Error Contraction::finishStep(Field step) {
  int mark = e.registerMark();
  Field cols = columnsOf(step);
  Extent extent{m, cols};
  e.wait(Vector, SumsFull);
  e.wait(Vector, ExtrasFull);
  llvm::DenseMap<Value, Tile> tiles;
  Block &body = kernel.getBody().front();
  for (const Extra &extra : extras) {
    Tile tile = tileAt(extrasNow + (extrasAt + extra.place));
    e.fromF32(tile, tile, {extra.isBias ? Field(1) : m, cols}, kFraction);
    if (extra.isBias)
      tile.stride = 0;
    tiles[extra.argument] = tile;
  }
  for (auto [i, linear] : llvm::enumerate(linears)) {
    e.setSource(linear.getLoc());
    Tile tile = tileAt(work[i]);
    e.requant(tile, tileAt(sumsNow + i * rowTile * array * 4),
              extrasNow + (extrasAt + i * array * PanelLayout::kRecord), extent);
    if (i + 1 == linears.size())
      e.signal(Vector, SumsFree);
    e.binaryByRow(Binary::Mul, tile, tile, {amax, stride}, extent, PanelLayout::kFractionBits);
    if (Value bias = linear.getBias())
      e.binary(Binary::Add, tile, tile, tiles.lookup(bias), extent);
    tiles[linear.getResult()] = tile;
  }
  // Each op writes over its first operand that nothing else reads, which is never an argument.
  for (Operation &op : body.without_terminator()) {
    if (isa<LinearOp>(op))
      continue;
    SmallVector<Tile> operands;
    std::optional<Tile> dst;
    for (Value operand : op.getOperands()) {
      operands.push_back(tiles.lookup(operand));
      if (!dst && !isa<BlockArgument>(operand) && operand.hasOneUse())
        dst = operands.back();
    }
    if (!dst)
      return unsupportedOp(kernel, &op, "expected an operand that it alone reads");
    e.setSource(op.getLoc());
    if (llvm::Error error = emitElementwise(e, kernel, &op, *dst, operands, extent))
      return error;
    tiles[op.getResult(0)] = *dst;
  }
  e.signal(Vector, ExtrasFree);
  e.setSource(kernel.getLoc());
  e.wait(Vector, OutFree);
  e.toF32(tileAt(outNow + outs), tiles.lookup(body.getTerminator()->getOperand(0)), extent, kFraction);
  e.signal(Vector, OutFull);
  e.releaseRegisters(mark);
  return llvm::Error::success();
}

void Contraction::storeStep(Field step, Field outPlace) {
  int mark = e.registerMark();
  Field to = e.computed(Set::Mul, step, array * 4);
  e.set(to, Set::Add, to, address);
  e.set(to, Set::Add, to, e.operand(0));
  Field bytes = columnsOf(step);
  e.set(bytes, Set::Mul, bytes, 4);
  e.wait(Dma, OutFull);
  e.dmaStore(tileAt(outPlace + outs), to, out * 4, bytes, m);
  e.signal(Dma, OutFree);
  e.releaseRegisters(mark);
}

llvm::Error Contraction::emit(Field rows) {
  const int64_t steps = llvm::divideCeil(out, array);
  llvm::Error error = llvm::Error::success();
  e.begin(kernel.getSymName(), int(kernelOperands(kernel).size()), kernel.getLoc());
  m = e.newRegister();
  Field left = e.newRegister(), from = e.newRegister(), step = e.newRegister();
  address = e.newRegister();
  panelNow = e.newRegister();
  extrasNow = e.newRegister();
  outNow = e.newRegister();
  sumsNow = e.newRegister();
  Field panelOther = e.newRegister(), extrasOther = e.newRegister(), outOther = e.newRegister(),
        tiles = e.newRegister(), condition = e.newRegister();
  amax = Field(codes + panel.columns);
  const int64_t sumsBase = int32_t(HEDDLE_NPU_ACCUMULATORS);

  e.copy(left, rows);
  e.copy(from, e.operand(1));
  e.copy(address, 0);
  e.copy(panelNow, 0);
  e.copy(extrasNow, 0);
  e.copy(outNow, 0);
  e.copy(sumsNow, sumsBase);
  for (int half = 0; half < 2; ++half) { // all buffers are free
    e.signal(Array, PanelFree);
    e.signal(Vector, ExtrasFree);
    e.signal(Vector, SumsFree);
    e.signal(Dma, OutFree);
  }
  e.signal(Vector, TileFree);
  e.set(tiles, Set::Add, rows, rowTile - 1);
  e.set(tiles, Set::Div, tiles, rowTile);
  e.loop(tiles, [&] {
    e.set(m, Set::Min, left, rowTile);
    int mark = e.registerMark();
    Field bytes = e.computed(Set::Mul, m, stride);
    e.wait(Dma, TileFree);
    e.dmaLoad({codes, 0}, from, 0, bytes);
    e.releaseRegisters(mark);
    e.copy(step, 0);
    loadStep(step, panelNow, extrasNow);
    e.loop(steps, [&] {
      e.set(panelOther, Set::Sub, panelHalf, panelNow);
      e.set(extrasOther, Set::Sub, extrasHalf, extrasNow);
      e.set(outOther, Set::Sub, outHalf, outNow);
      // The next step's loads stand before this step's store.
      e.set(condition, Set::Sub, steps - 1, step);
      e.set(condition, Set::Min, condition, 1);
      e.loop(condition, [&] {
        int mark = e.registerMark();
        Field next = e.computed(Set::Add, step, 1);
        loadStep(next, panelOther, extrasOther);
        e.releaseRegisters(mark);
      });
      e.wait(Array, PanelFull);
      e.wait(Array, SumsFree);
      int mark = e.registerMark();
      Field cols = columnsOf(step);
      for (size_t i = 0; i < linears.size(); ++i)
        e.matmul(tileAt(sumsNow + i * rowTile * array * 4), {codes, stride, S8},
                 {panelNow + (panels + i * panel.records()), array, S8}, m, panel.columns, cols);
      e.releaseRegisters(mark);
      e.signal(Array, PanelFree);
      e.signal(Array, SumsFull);
      if (!error)
        error = finishStep(step);
      e.set(condition, Set::Min, step, 1);
      e.loop(condition, [&] {
        int mark = e.registerMark();
        Field before = e.computed(Set::Sub, step, 1);
        storeStep(before, outOther);
        e.releaseRegisters(mark);
      });
      e.copy(panelNow, panelOther);
      e.copy(extrasNow, extrasOther);
      e.copy(outNow, outOther);
      e.set(sumsNow, Set::Sub, 2 * sumsBase + sumsHalf, sumsNow);
      e.set(step, Set::Add, step, 1);
    });
    e.set(step, Set::Sub, step, 1);
    e.set(outOther, Set::Sub, outHalf, outNow);
    storeStep(step, outOther);
    e.signal(Vector, TileFree);
    e.set(left, Set::Sub, left, rowTile);
    e.set(from, Set::Add, from, rowTile * stride);
    e.set(address, Set::Add, address, rowTile * out * 4);
  });
  e.end();
  return error;
}

} // namespace

llvm::Expected<KernelFacts> emitContractionKernel(KernelOp kernel, StringRef rows,
                                                  const KernelContext &context, Emitter &e) {
  Block &body = kernel.getBody().front();
  SmallVector<LinearOp> linears(body.getOps<LinearOp>());
  if (linears.empty() || linears.size() > 2 || body.getTerminator()->getNumOperands() != 1)
    return unsupported(kernel, "expected one or two 'heddle.linear' and one yielded value");
  std::optional<Field> count = rowsField(e, rows);
  if (!count)
    return unsupported(kernel, "expected all of its launches to run over one dimension");
  for (LinearOp linear : linears) {
    auto weight = cast<StoredType>(linear.getWeight().getType());
    if (storageFormat(weight.getEncoding()) != StorageFormat::I8)
      return unsupportedOp(kernel, linear,
                           "expected a weight in 'int8' with a scale for each row, but found '" +
                               stringifyFormat(weight.getEncoding().getFormat()) +
                               "'; compile with --quantize int8");
    auto input = dyn_cast<StoredType>(linear.getInput().getType());
    if (!input || input.getEncoding().getFormat() != Format::ACT_I8_ROW)
      return unsupportedOp(kernel, linear, "expected its input quantized to 'act_i8_row'");
    if (linear.getSelection())
      return unsupportedOp(kernel, linear, "of selected heads is not available for it yet");
  }
  Contraction contraction(kernel, e, context.maxRows);
  if (!contraction.plan())
    return unsupportedOp(kernel, linears[0], "has rows too long for the scratchpad");
  if (llvm::Error error = contraction.emit(*count))
    return std::move(error);
  return KernelFacts{};
}

} // namespace heddle::npu
