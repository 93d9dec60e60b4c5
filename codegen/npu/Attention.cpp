// From a `heddle.kernel` of the family `attention` to commands.
//
// For each work record and KV head, the queries of its group are rows [row][head of the group]. Keys pass by
// in chunks; each chunk's weights are merged with those before it as flash attention does, in one pass. Keys
// and values get 8-bit codes on the chip, a scale for each key; weights get 16 bits, as two planes of codes.
#include "codegen/KernelOperands.h"
#include "codegen/RowValues.h"
#include "codegen/npu/Kernel.h"
#include "codegen/npu/Scratch.h"
#include "heddle/program.h"
#include <cmath>
#include <cstddef>

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::npu {
namespace {

constexpr int64_t kChunk = HEDDLE_PAGE_TOKENS; // keys: a page of a cache
constexpr int64_t kRows = 64;                  // of queries, heads of a group included
constexpr int32_t kHidden = -(1 << 30);        // score of a key that is not seen

// Fraction bits.
constexpr int kKeyFactor = 36; // of scale * amax / 127^2 of a key
constexpr int kHalfScore = 20; // of a score before the query's amax
constexpr int kWeight = 22;    // of exp(score - most)
constexpr int kFolded = 20;    // of a weight times its value's amax
constexpr int32_t kWeightLimit = 127 * 128;

class Attention {
public:
  Attention(KernelOp kernel, AttentionOp op, const KernelContext &context, Emitter &e)
      : kernel(kernel), op(op), context(context), e(e), array(e.machine.array), heads(op.kvHeads()),
        group(op.groupSize()), width(cast<ScoringOpInterface>(op.getOperation()).keyDim()),
        valueWidth(op.valueDim()) {}

  static int64_t workRows(AttentionOp op) { return std::max<int64_t>(kRows / op.groupSize(), 1); }
  int64_t tileRows() const { return workRows(op) * group; }
  bool plan();
  void emit(bool isCausal);

private:
  void forWork();
  void forHead();
  void forChunk();
  void loadKeysAndValues();
  void quantize(Tile codes, Tile amax, Tile x, Extent extent);
  Field ofWork(size_t offset) {
    Field value = e.newRegister();
    e.load(value, work + int64_t(offset));
    return value;
  }
  Tile column(int64_t place) { return {place, 4, S32}; }
  Extent scores() const { return {rows, keys}; }
  /// A number for each row: they lie together, so one row of the vector unit takes them all.
  Extent each() const { return {1, rows}; }

  KernelOp kernel;
  AttentionOp op;
  const KernelContext &context;
  Emitter &e;
  const int64_t array, heads, group, width, valueWidth;
  bool causal = false;

  // Places.
  int64_t query, queryCodes, queryMost, key, keyCodes, keyMost, value, valueCodes, valueMost, score, weight,
      high, low, result, most, chunkMost, sum, chunkSum, scaleOld, factor, numbers, rowNumbers, limits, seen;
  int64_t scoreSums, highSums, lowSums; // accumulators

  // Registers.
  Field q, k, v, cache, pageTable, out, work; // addresses
  Field rowBegin, rowCount, firstKey, keyCount, position, slotPages;
  Field rows, head, chunks, chunk, keys, left;
};

bool Attention::plan() {
  Scratch scratch(e.machine);
  const int64_t rows = tileRows(), column = rows * 4;
  query = scratch.take(rows * std::max(width, valueWidth) * 4);
  queryMost = scratch.take(column);
  key = scratch.take(kChunk * width * 4);
  keyMost = scratch.take(kChunk * 4);
  value = scratch.take(kChunk * valueWidth * 4);
  valueMost = scratch.take(kChunk * 4);
  factor = scratch.take(std::max(kChunk * 4, column));
  result = scratch.take(rows * valueWidth * 4);
  for (int64_t *place : {&most, &chunkMost, &sum, &chunkSum, &scaleOld, &limits, &rowNumbers})
    *place = scratch.take(column);
  numbers = scratch.take(kChunk * 4);
  // These two hold f16 of a chunk on its way, too.
  const int64_t widest = std::max(width, valueWidth);
  const int64_t scoreBytes = std::max({rows * kChunk * 4, kChunk * widest * 2, rows * widest * 4});
  score = scratch.take(scoreBytes);
  weight = scratch.take(scoreBytes);
  seen = scratch.take(rows * kChunk);
  scratch.nextBank(); // codes, which the array reads
  queryCodes = scratch.take(rows * width);
  keyCodes = scratch.take(kChunk * width);
  valueCodes = scratch.take(kChunk * valueWidth);
  high = scratch.take(rows * kChunk);
  low = scratch.take(rows * kChunk);
  scoreSums = int32_t(HEDDLE_NPU_ACCUMULATORS);
  highSums = scoreSums + rows * kChunk * 4;
  lowSums = highSums + rows * valueWidth * 4;
  int64_t sums = (rows * kChunk + 2 * rows * valueWidth) * 4;
  return scratch.fits() && sums <= int64_t(e.machine.accumulator_banks) * e.machine.bank_bytes;
}

void Attention::emit(bool isCausal) {
  causal = isCausal;
  auto list = kernelOperands(kernel);
  e.begin(kernel.getSymName(), int(list.size()), kernel.getLoc());
  Block &body = kernel.getBody().front();
  auto addressOf = [&](Value value) {
    for (auto [i, operand] : llvm::enumerate(list))
      if (operand.kind == KernelOperand::Argument &&
          body.getArgument(operand.index) == withoutReshapes(value))
        return e.operand(int(i));
    llvm_unreachable("operands of attention are arguments of its kernel");
  };
  for (auto [i, operand] : llvm::enumerate(list)) {
    if (operand.kind == KernelOperand::PageTable)
      pageTable = e.operand(int(i));
    if (operand.kind == KernelOperand::Result)
      out = e.operand(int(i));
  }
  q = addressOf(op.getQuery());
  if (op.getCache()) {
    cache = addressOf(op.getCache());
  } else {
    k = addressOf(op.getKeys());
    v = addressOf(op.getValues());
  }
  work = e.newRegister();
  e.copy(work, e.operand(int(list.size()) - 1));
  // Numbers from 0 on, by adding a block of them to its double: positions of a chunk's keys and of rows.
  auto countUp = [&](int64_t place, int64_t count, int64_t repeat) {
    e.fill({place, 0}, {1, repeat}, 0);
    for (int64_t done = repeat; done < count; done *= 2)
      e.binaryScalar(Binary::Add, {place + done * 4, 0}, {place, 0}, int32_t(done / repeat),
                     {1, std::min(done, count - done)});
  };
  if (causal) {
    countUp(numbers, kChunk, 1);
    countUp(rowNumbers, tileRows(), group);
  }
  e.loop(e.dimension(HEDDLE_DIM_WORK), [&] {
    int mark = e.registerMark();
    forWork();
    e.releaseRegisters(mark);
    e.set(work, Set::Add, work, sizeof(heddle_work));
  });
  e.end();
}

void Attention::forWork() {
  rowBegin = ofWork(offsetof(heddle_work, row_begin));
  rowCount = ofWork(offsetof(heddle_work, row_count));
  position = ofWork(offsetof(heddle_work, position));
  rows = e.computed(Set::Mul, rowCount, group);
  if (op.getCache()) {
    slotPages = ofWork(offsetof(heddle_work, slot));
    e.set(slotPages, Set::Mul, slotPages, context.maxContext / kChunk * 4);
    e.set(slotPages, Set::Add, slotPages, pageTable);
    keyCount = e.computed(Set::Add, position, rowCount);
  } else {
    firstKey = ofWork(offsetof(heddle_work, first_row));
    keyCount = ofWork(offsetof(heddle_work, slot_rows));
  }
  chunks = e.computed(Set::Add, keyCount, kChunk - 1);
  e.set(chunks, Set::Div, chunks, kChunk);
  head = e.newRegister();
  chunk = e.newRegister();
  keys = e.newRegister();
  left = e.newRegister();
  e.copy(head, 0);
  e.loop(heads, [&] {
    forHead();
    e.set(head, Set::Add, head, 1);
  });
}

/// `act_i8_row`, as RowsBuilder makes it.
void Attention::quantize(Tile codes, Tile amax, Tile x, Extent extent) {
  Extent column{1, extent.rows};
  Tile multiplier{factor, 4};
  e.reduce(Reduce::AbsMax, amax, x, extent);
  e.binaryScalar(Binary::Max, amax, amax, 256, column);
  e.fill(multiplier, column, 127 << 24);
  e.binary(Binary::Div, multiplier, multiplier, amax, column, 8);
  e.binaryByRow(Binary::Mul, codes, x, multiplier, extent, 32);
}

void Attention::forHead() {
  int mark = e.registerMark();
  const int64_t queryBytes = group * width * 4, resultBytes = group * valueWidth * 4;
  Field from = e.computed(Set::Mul, rowBegin, heads);
  e.set(from, Set::Add, from, head);
  Field to = e.computed(Set::Mul, from, resultBytes);
  e.set(to, Set::Add, to, out);
  e.set(from, Set::Mul, from, queryBytes);
  e.set(from, Set::Add, from, q);
  Tile x{query, width * 4};
  e.order(Vector, Dma);
  e.dmaLoad({query, queryBytes}, from, heads * queryBytes, queryBytes, rowCount);
  e.order(Dma, Vector);
  e.fromF32(x, x, {rows, width}, kFraction);
  e.order(Array, Vector); // codes of the head before are read
  quantize({queryCodes, width, S8}, column(queryMost), x, {rows, width});
  e.fill(column(most), each(), INT32_MIN);
  e.fill(column(sum), each(), 0);
  e.fill({result, valueWidth * 4}, {rows, valueWidth}, 0);
  e.copy(chunk, 0);
  e.copy(left, keyCount);
  e.loop(chunks, [&] {
    e.set(keys, Set::Min, left, kChunk);
    forChunk();
    e.set(left, Set::Sub, left, kChunk);
    e.set(chunk, Set::Add, chunk, 1);
  });
  Tile o{result, valueWidth * 4};
  e.fill(column(factor), each(), 1 << 30); // the sum is 1 at the least: its largest weight is
  e.binary(Binary::Div, column(factor), column(factor), column(sum), each(), kFraction);
  e.binaryByRow(Binary::Mul, o, o, column(factor), {rows, valueWidth}, 30);
  e.toF32(o, o, {rows, valueWidth}, kFraction);
  e.order(Vector, Dma);
  e.dmaStore({result, resultBytes}, to, heads * resultBytes, resultBytes, rowCount);
  e.order(Dma, Vector);
  e.releaseRegisters(mark);
}

/// A chunk's keys and values as codes, with the amax of each.
void Attention::loadKeysAndValues() {
  int mark = e.registerMark();
  Tile keyTile{key, width * 4}, valueTile{value, valueWidth * 4};
  Extent keyExtent{keys, width}, valueExtent{keys, valueWidth};
  if (op.getCache()) {
    const int64_t pageBytes = kChunk * heads * (width + valueWidth) * 2;
    Field page = e.computed(Set::Mul, chunk, 4);
    e.set(page, Set::Add, page, slotPages);
    Field at = e.newRegister();
    e.load(at, page);
    e.set(at, Set::Mul, at, pageBytes);
    e.set(at, Set::Add, at, cache);
    e.set(page, Set::Mul, head, kChunk * width * 2);
    e.set(page, Set::Add, page, at);
    Field bytes = e.computed(Set::Mul, keys, width * 2);
    e.order(Vector, Dma);
    e.dmaLoad({weight, 0}, page, 0, bytes);
    e.set(page, Set::Mul, head, kChunk * valueWidth * 2);
    e.set(page, Set::Add, page, at + kChunk * heads * width * 2);
    e.set(bytes, Set::Mul, keys, valueWidth * 2);
    e.dmaLoad({score, 0}, page, 0, bytes);
    e.order(Dma, Vector);
    e.fromF16(keyTile, {weight, width * 2}, keyExtent, kFraction);
    e.fromF16(valueTile, {score, valueWidth * 2}, valueExtent, kFraction);
  } else {
    Field first = e.computed(Set::Mul, chunk, kChunk);
    e.set(first, Set::Add, first, firstKey);
    e.set(first, Set::Mul, first, heads);
    e.set(first, Set::Add, first, head);
    Field from = e.computed(Set::Mul, first, width * 4);
    e.set(from, Set::Add, from, k);
    e.order(Vector, Dma);
    e.dmaLoad(keyTile, from, heads * width * 4, width * 4, keys);
    e.set(from, Set::Mul, first, valueWidth * 4);
    e.set(from, Set::Add, from, v);
    e.dmaLoad(valueTile, from, heads * valueWidth * 4, valueWidth * 4, keys);
    e.order(Dma, Vector);
    e.fromF32(keyTile, keyTile, keyExtent, kFraction);
    e.fromF32(valueTile, valueTile, valueExtent, kFraction);
  }
  e.order(Array, Vector); // codes of the chunk before are read
  quantize({keyCodes, width, S8}, column(keyMost), keyTile, keyExtent);
  quantize({valueCodes, valueWidth, S8}, column(valueMost), valueTile, valueExtent);
  e.releaseRegisters(mark);
}

void Attention::forChunk() {
  int mark = e.registerMark();
  loadKeysAndValues();
  e.order(Vector, Array);
  Field done = e.newRegister(), columns = e.newRegister(), place = e.newRegister(), blocks = e.newRegister();
  e.set(blocks, Set::Add, keys, array - 1);
  e.set(blocks, Set::Div, blocks, array);
  e.copy(done, 0);
  e.loop(blocks, [&] { // the array's width of keys at a time
    e.set(columns, Set::Sub, keys, done);
    e.set(columns, Set::Min, columns, array);
    e.set(place, Set::Mul, done, width);
    Field sums = e.computed(Set::Mul, done, 4);
    e.matmul({sums + scoreSums, kChunk * 4}, {queryCodes, width}, {place + keyCodes, width}, rows, width,
             columns,
             /*transposed=*/true);
    e.set(done, Set::Add, done, array);
  });
  e.order(Array, Vector);

  const Tile s{score, kChunk * 4}, w{weight, kChunk * 4}, keyFactor{factor, 0};
  emitScale(e, std::ldexp(op.getScale().convertToDouble() / (127.0 * 127.0), kKeyFactor - kFraction),
            keyFactor, {keyMost, 0}, {1, keys});
  e.binary(Binary::Mul, s, {scoreSums, kChunk * 4}, keyFactor, scores(), kKeyFactor - kHalfScore);
  e.binaryByRow(Binary::Mul, s, s, column(queryMost), scores(), kHalfScore);
  if (causal) {
    // A row at position p sees keys up to p: number <= p - the chunk's first.
    Field first = e.computed(Set::Mul, chunk, -kChunk);
    e.set(first, Set::Add, first, position);
    e.binaryScalar(Binary::Add, column(limits), column(rowNumbers), first + 1, each());
    e.binaryByRow(Binary::Lt, {seen, kChunk, S8}, {numbers, 0}, column(limits), scores());
    e.select(s, s, {seen, kChunk, S8}, scores(), kHidden);
  }
  e.reduce(Reduce::Max, column(chunkMost), s, scores());
  e.binary(Binary::Max, column(chunkMost), column(chunkMost), column(most), each());
  e.binary(Binary::Sub, column(scaleOld), column(most), column(chunkMost), each());
  e.function(Function::Exp, column(scaleOld), column(scaleOld), each()); // 30 fraction bits
  e.binaryScalar(Binary::Add, column(most), column(chunkMost), 0, each());
  e.binaryByRow(Binary::Sub, s, s, column(most), scores());
  e.function(Function::Exp, s, s, scores(), 30 - kWeight);
  e.reduce(Reduce::Sum, column(chunkSum), s, scores(), kWeight - kFraction);
  e.binary(Binary::Mul, column(sum), column(sum), column(scaleOld), each(), 30);
  e.binary(Binary::Add, column(sum), column(sum), column(chunkSum), each());

  // Weights times the values' amax, as codes of 16 bits in two planes.
  e.binary(Binary::Mul, w, s, {valueMost, 0}, scores(), kWeight + kFraction - kFolded);
  e.reduce(Reduce::Max, column(chunkMost), w, scores());
  e.binaryScalar(Binary::Max, column(chunkMost), column(chunkMost), 256, each());
  e.fill(column(factor), each(), kWeightLimit << 17);
  e.binary(Binary::Div, column(factor), column(factor), column(chunkMost), each(), 8);
  e.binaryByRow(Binary::Mul, w, w, column(factor), scores(), 25);
  e.binaryScalar(Binary::Add, {high, kChunk, S8}, w, 0, scores(), 7);
  e.binaryScalar(Binary::Mul, s, {high, kChunk, S8}, 128, scores());
  e.binary(Binary::Sub, {low, kChunk, S8}, w, s, scores());
  e.order(Vector, Array);
  for (int64_t first = 0; first < valueWidth; first += array) {
    int64_t n = std::min(array, valueWidth - first);
    e.matmul({highSums + first * 4, valueWidth * 4}, {high, kChunk}, {valueCodes + first, valueWidth}, rows,
             keys, n);
    e.matmul({lowSums + first * 4, valueWidth * 4}, {low, kChunk}, {valueCodes + first, valueWidth}, rows,
             keys, n);
  }
  e.order(Array, Vector);
  const Tile o{result, valueWidth * 4}, sums{weight, valueWidth * 4};
  const Extent values{rows, valueWidth};
  e.binaryScalar(Binary::Mul, sums, {highSums, valueWidth * 4}, 128, values);
  e.binary(Binary::Add, sums, sums, {lowSums, valueWidth * 4}, values);
  emitScale(e, std::ldexp(1.0 / (127.0 * kWeightLimit), 20), column(factor), column(chunkMost), each());
  e.binaryByRow(Binary::Mul, sums, sums, column(factor), values, 20 + kFolded - kFraction);
  e.binaryByRow(Binary::Mul, o, o, column(scaleOld), values, 30);
  e.binary(Binary::Add, o, o, sums, values);
  e.releaseRegisters(mark);
}

/// A region that yields its score.
bool isIdentity(Region &region) {
  Block &block = region.front();
  return block.getTerminator()->getOperand(0) == block.getArgument(0);
}

/// A mask by which a key is seen when its position is not past the query's.
bool isCausalMask(Region &region) {
  Block &block = region.front();
  auto compare = block.getTerminator()->getOperand(0).getDefiningOp<arith::CmpIOp>();
  if (!compare)
    return false;
  Value queryPosition = block.getArgument(3), keyPosition = block.getArgument(4);
  return (compare.getPredicate() == arith::CmpIPredicate::sle && compare.getLhs() == keyPosition &&
          compare.getRhs() == queryPosition) ||
         (compare.getPredicate() == arith::CmpIPredicate::sge && compare.getLhs() == queryPosition &&
          compare.getRhs() == keyPosition);
}

} // namespace

llvm::Expected<KernelFacts> emitAttentionKernel(KernelOp kernel, const KernelContext &context, Emitter &e) {
  AttentionOp op;
  for (Operation &each : kernel.getBody().front().without_terminator()) {
    if (auto found = dyn_cast<AttentionOp>(each); found && !op)
      op = found;
    else if (!isa<ReshapeOp, arith::ConstantOp>(each))
      return unsupportedOp(kernel, &each, "is not available for it yet");
  }
  if (op.getCache() && op.getKeys())
    return unsupportedOp(kernel, op,
                         "expected its keys to be stored apart; run heddle-split-cache-append first");
  if (op.getKeySequences())
    return unsupportedOp(kernel, op, "of keys of other sequences is not available for it yet");
  if (!op.getSelections().empty())
    return unsupportedOp(kernel, op, "with a selection is not available for it yet");
  if (!isIdentity(op.getScore()))
    return unsupportedOp(kernel, op, "with a score region is not available for it yet");
  bool hasMask = !op.getMask().empty();
  if (hasMask && !isCausalMask(op.getMask()))
    return unsupportedOp(kernel, op,
                         "with a mask other than 'key position <= query position' is not available for "
                         "it yet");
  Attention attention(kernel, op, context, e);
  if (!attention.plan())
    return unsupportedOp(kernel, op, "has heads too wide for the scratchpad");
  attention.emit(/*isCausal=*/hasMask || op.getCache());
  KernelFacts facts;
  facts.workRows = uint32_t(Attention::workRows(op));
  return facts;
}

} // namespace heddle::npu
