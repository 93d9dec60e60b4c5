// From a `heddle.kernel` of the family `attention` to commands.
//
// For each work record and KV head, the queries of its group are rows [row][head of the group]. Keys pass by
// in chunks, several of which are under way at once; each chunk's weights are merged with those before it as
// flash attention does, in one pass. Keys and values get 8-bit codes on the chip, a scale for each key;
// weights get 16 bits, as two planes of codes.
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
constexpr int32_t kHidden = -(1 << 30);        // score of a key that is not seen

// Fraction bits.
constexpr int kKeyFactor = 36;   // of scale * amax / 127^2 of a key
constexpr int kHalfScore = 20;   // of a score before the query's amax
constexpr int kWeight = 22;      // of exp(score - most)
constexpr int kValueFactor = 24; // of a value's amax by the largest
constexpr int kOutFactor = 24;   // of the largest amax of values / (127 * kWeightLimit)
constexpr int32_t kWeightLimit = 127 * 128;

enum Semaphore {
  RawFull = Emitter::kFirstSemaphore, // dma -> vector: numbers of a unit
  RawFree,                            // vector -> dma
  CodesFull,                          // vector -> array: codes of queries and keys
  ScoresFull,                         // array -> vector
  ScoresFree,                         // vector -> array
  WeightsFull,                        // vector -> array: weights and codes of values
  SumsFull,                           // array -> vector
  OutFull,                            // vector -> dma
  OutFree,                            // dma -> vector
};

class Attention {
public:
  Attention(KernelOp kernel, AttentionOp op, const KernelContext &context, Emitter &e, int64_t maxRows)
      : kernel(kernel), op(op), context(context), e(e), array(e.machine.array), heads(op.kvHeads()),
        group(op.groupSize()), width(cast<ScoringOpInterface>(op.getOperation()).keyDim()),
        valueWidth(op.valueDim()), workRows(std::max<int64_t>(maxRows / group, 1)) {}

  int64_t rowsOfWork() const { return workRows; }
  bool plan();
  void emit(bool isCausal);

private:
  /// A chunk of keys of a head of a work record: what passes through the units together.
  struct Unit {
    Field rowCount, keys;
    Field limit;  // the first row's position minus the chunk's first key
    Field isLast; // of its head
    Field out;    // number of its first row, counting heads
  };
  static constexpr int kStages = 4;
  enum Stage { Loaded, Coded, Weighed, Merged };

  void countUnits(Field units);
  void findOperands();
  void reset();
  void shift();
  void nextUnit();
  void nextWork();
  void load(Unit &unit);
  void loadCached(Field at, int64_t start, int64_t columns, int64_t place, Field count);
  void codeQueriesAndKeys();
  void multiplyScores();
  void merge();
  void finish();
  void codeValues();
  void weigh();
  void multiplyValues();
  void codes(Tile codes, Tile amax, Tile from, bool isHalf, Field rows, int64_t columns);

  Field rowsOf(const Unit &unit) { return e.computed(Set::Mul, unit.rowCount, group); }
  Tile column(int64_t place) { return {place, 4, S32}; }
  /// That of this unit's half.
  Field at(Field half, int64_t place, int64_t bytes) {
    Field offset = e.computed(Set::Mul, half, bytes);
    return offset + place;
  }
  int64_t tileRows() const { return workRows * group; }

  KernelOp kernel;
  AttentionOp op;
  const KernelContext &context;
  Emitter &e;
  const int64_t array, heads, group, width, valueWidth, workRows;
  bool causal = false;

  // Places. Those with two halves: the first.
  int64_t raw, rawHalf, rawKeys, rawValues, score, weight, number, result, seen, most, chunkMost, sum,
      chunkSum, scaleOld, factors, inverse, largest, numbers, rowNumbers, limits, queryMost, keyFactor,
      valueFactor, valueMost, queryCodes, keyCodes, valueCodes, high, low, staging;
  int64_t scoreSums, highSums, lowSums; // accumulators

  // Registers.
  Field q, k, v, cache, pageTable, out, work; // addresses
  Field rowBegin, rowCount, position, keyCount, chunks, chunk, head, source, needsWork;
  Field rawIn, rawNow, half;
  Unit units[kStages];
};

bool Attention::plan() {
  Scratch scratch(e.machine);
  const int64_t rows = tileRows(), columnBytes = rows * 4, elementBytes = op.getCache() ? 2 : 4;
  rawKeys = int64_t(llvm::alignTo(rows * width * 4, 64));
  rawValues = rawKeys + kChunk * width * elementBytes;
  rawHalf = int64_t(llvm::alignTo(rawValues + kChunk * valueWidth * elementBytes, 64));
  raw = scratch.take(2 * rawHalf); // what DMA writes
  scratch.nextBank();
  score = scratch.take(rows * kChunk * 4);
  weight = scratch.take(rows * kChunk * 2);
  number = scratch.take(std::max(rows, kChunk) * std::max(width, valueWidth) * 4);
  result = scratch.take(rows * valueWidth * 4);
  for (int64_t *place : {&most, &chunkMost, &sum, &chunkSum, &scaleOld, &limits, &rowNumbers})
    *place = scratch.take(columnBytes);
  factors = scratch.take(2 * 4);
  largest = scratch.take(4);
  inverse = scratch.take(std::max(kChunk * 4, columnBytes));
  numbers = scratch.take(kChunk * 4);
  valueMost = scratch.take(kChunk * 4);
  queryMost = scratch.take(2 * columnBytes);
  keyFactor = scratch.take(2 * kChunk * 4);
  valueFactor = scratch.take(2 * kChunk * 4);
  seen = scratch.take(op.getCache() || !op.getMask().empty() ? rows * kChunk : 0);
  scratch.nextBank(); // codes, which the array reads
  queryCodes = scratch.take(rows * width);
  keyCodes = scratch.take(kChunk * width);
  scratch.nextBank();
  valueCodes = scratch.take(2 * kChunk * valueWidth);
  scratch.nextBank();
  high = scratch.take(rows * kChunk);
  low = scratch.take(rows * kChunk);
  scoreSums = int32_t(HEDDLE_NPU_ACCUMULATORS);
  highSums = scoreSums + rows * kChunk * 4;
  lowSums = highSums + rows * valueWidth * 4;
  const int64_t sums = (rows * kChunk + 2 * rows * valueWidth) * 4,
                accumulators = int64_t(e.machine.accumulator_banks) * e.machine.bank_bytes;
  const int64_t stagingBytes = rows * valueWidth * 4;
  staging = sums + stagingBytes <= accumulators ? scoreSums + sums : scratch.take(stagingBytes);
  return scratch.fits() && sums <= accumulators;
}

void Attention::findOperands() {
  auto list = kernelOperands(kernel);
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
}

/// A unit is loaded, gets codes, is weighed and merged in four turns one after another, each of which does
/// these for four units that follow one another. In the vector unit's order a turn is: codes of the next
/// unit's queries and keys, merging the unit before, codes of the next unit's values, weights of this unit;
/// so the array multiplies while the vector unit does something else. Units past the last have no rows and
/// keys.
void Attention::emit(bool isCausal) {
  causal = isCausal;
  e.begin(kernel.getSymName(), int(kernelOperands(kernel).size()), kernel.getLoc());
  findOperands();
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
  for (Field *now : {&rowBegin, &rowCount, &position, &keyCount, &chunks, &chunk, &head, &source, &needsWork,
                     &rawIn, &rawNow, &half}) {
    *now = e.newRegister();
    e.copy(*now, 0);
  }
  for (Unit &unit : units)
    for (Field *value : {&unit.rowCount, &unit.keys, &unit.limit, &unit.isLast, &unit.out}) {
      *value = e.newRegister();
      e.copy(*value, 0);
    }
  e.copy(needsWork, 1);
  Field left = e.newRegister();
  countUnits(left);
  reset();
  e.signal(Vector, RawFree);
  e.signal(Dma, OutFree);
  // Of units before the first:
  e.signal(Dma, RawFull);
  e.signal(Array, ScoresFull);
  e.signal(Array, SumsFull);
  e.copy(rawNow, rawHalf);
  Field turns = e.computed(Set::Add, left, kStages - 1);
  e.loop(turns, [&] {
    int mark = e.registerMark();
    shift();
    Field hasUnit = e.computed(Set::Min, left, 1);
    e.loop(hasUnit, [&] { nextUnit(); });
    e.set(left, Set::Sub, left, 1);
    load(units[Loaded]);
    codeQueriesAndKeys();
    merge();
    codeValues();
    multiplyScores();
    weigh();
    multiplyValues();
    e.set(half, Set::Sub, 1, half);
    e.releaseRegisters(mark);
  });
  e.end();
}

/// How many units the launch has: a head's chunks for all work.
void Attention::countUnits(Field units) {
  int mark = e.registerMark();
  Field record = e.computed(Set::Add, work, 0), number = e.newRegister(), more = e.newRegister();
  e.copy(units, 0);
  e.loop(e.dimension(HEDDLE_DIM_WORK), [&] {
    if (op.getCache()) {
      e.load(number, record + int64_t(offsetof(heddle_work, position)));
      e.load(more, record + int64_t(offsetof(heddle_work, row_count)));
      e.set(number, Set::Add, number, more);
    } else {
      e.load(number, record + int64_t(offsetof(heddle_work, slot_rows)));
    }
    e.set(number, Set::Add, number, kChunk - 1);
    e.set(number, Set::Div, number, kChunk);
    e.set(number, Set::Mul, number, heads);
    e.set(units, Set::Add, units, number);
    e.set(record, Set::Add, record, int64_t(sizeof(heddle_work)));
  });
  e.releaseRegisters(mark);
}

void Attention::shift() {
  for (int stage = kStages - 1; stage > 0; --stage) {
    Unit &to = units[stage], &from = units[stage - 1];
    for (auto [a, b] : {std::pair(to.rowCount, from.rowCount),
                        {to.keys, from.keys},
                        {to.limit, from.limit},
                        {to.isLast, from.isLast},
                        {to.out, from.out}})
      e.copy(a, b);
  }
  Unit &unit = units[Loaded];
  for (Field value : {unit.rowCount, unit.keys, unit.isLast})
    e.copy(value, 0);
}

void Attention::nextWork() {
  auto get = [&](Field to, size_t offset) { e.load(to, work + int64_t(offset)); };
  get(rowBegin, offsetof(heddle_work, row_begin));
  get(rowCount, offsetof(heddle_work, row_count));
  get(position, offsetof(heddle_work, position));
  if (op.getCache()) {
    get(source, offsetof(heddle_work, slot));
    e.set(source, Set::Mul, source, context.maxContext / kChunk * 4);
    e.set(source, Set::Add, source, pageTable);
    e.set(keyCount, Set::Add, position, rowCount);
  } else {
    get(source, offsetof(heddle_work, first_row));
    get(keyCount, offsetof(heddle_work, slot_rows));
  }
  e.set(chunks, Set::Add, keyCount, kChunk - 1);
  e.set(chunks, Set::Div, chunks, kChunk);
  e.copy(head, 0);
  e.copy(chunk, 0);
  e.set(work, Set::Add, work, int64_t(sizeof(heddle_work)));
}

/// Chunks inside, heads outside, then work.
void Attention::nextUnit() {
  Unit &unit = units[Loaded];
  e.loop(needsWork, [&] { nextWork(); });
  e.copy(unit.rowCount, rowCount);
  e.set(unit.limit, Set::Mul, chunk, -kChunk); // minus the chunk's first key
  e.set(unit.keys, Set::Add, unit.limit, keyCount);
  e.set(unit.keys, Set::Min, unit.keys, kChunk);
  e.set(unit.limit, Set::Add, unit.limit, position);
  e.set(unit.out, Set::Mul, rowBegin, heads);
  e.set(unit.out, Set::Add, unit.out, head);
  e.set(unit.isLast, Set::Sub, chunk, chunks);
  e.set(unit.isLast, Set::Add, unit.isLast, 2);
  e.set(unit.isLast, Set::Max, unit.isLast, 0);
  e.set(chunk, Set::Add, chunk, 1);
}

void Attention::loadCached(Field at, int64_t start, int64_t columns, int64_t place, Field count) {
  int mark = e.registerMark();
  Field from = e.computed(Set::Mul, head, kChunk * columns * 2),
        bytes = e.computed(Set::Mul, count, columns * 2);
  e.set(from, Set::Add, from, at + start);
  e.dmaLoad({rawIn + (raw + place), 0}, from, 0, bytes);
  e.releaseRegisters(mark);
}

/// Queries, keys and values of a unit. The iterators are one chunk ahead.
void Attention::load(Unit &unit) {
  int mark = e.registerMark();
  const int64_t queryBytes = group * width * 4;
  e.wait(Dma, RawFree);
  Field from = e.computed(Set::Mul, unit.out, queryBytes);
  e.set(from, Set::Add, from, q);
  e.dmaLoad({rawIn + raw, queryBytes}, from, heads * queryBytes, queryBytes, unit.rowCount);
  Field before = e.computed(Set::Sub, chunk, 1);
  if (op.getCache()) {
    Field has = e.computed(Set::Min, unit.keys, 1);
    e.loop(has, [&] {
      e.set(before, Set::Mul, before, 4);
      e.set(before, Set::Add, before, source);
      Field at = e.newRegister();
      e.load(at, before);
      e.set(at, Set::Mul, at, kChunk * heads * (width + valueWidth) * 2);
      e.set(at, Set::Add, at, cache);
      loadCached(at, 0, width, rawKeys, unit.keys);
      loadCached(at, kChunk * heads * width * 2, valueWidth, rawValues, unit.keys);
    });
  } else {
    e.set(before, Set::Mul, before, kChunk);
    e.set(before, Set::Add, before, source);
    e.set(before, Set::Mul, before, heads);
    e.set(before, Set::Add, before, head);
    e.set(from, Set::Mul, before, width * 4);
    e.set(from, Set::Add, from, k);
    e.dmaLoad({rawIn + (raw + rawKeys), width * 4}, from, heads * width * 4, width * 4, unit.keys);
    e.set(from, Set::Mul, before, valueWidth * 4);
    e.set(from, Set::Add, from, v);
    e.dmaLoad({rawIn + (raw + rawValues), valueWidth * 4}, from, heads * valueWidth * 4, valueWidth * 4,
              unit.keys);
  }
  e.signal(Dma, RawFull);
  e.set(rawIn, Set::Sub, rawHalf, rawIn);
  // After a head's last chunk comes the next head, after the last head the next work.
  e.set(from, Set::Sub, 1, unit.isLast);
  e.set(chunk, Set::Mul, chunk, from);
  e.set(head, Set::Add, head, unit.isLast);
  e.set(needsWork, Set::Sub, head, heads - 1);
  e.set(needsWork, Set::Max, needsWork, 0);
  e.releaseRegisters(mark);
}

/// `act_i8_row`, as RowsBuilder makes it. Numbers without gaps are one row of the vector unit.
void Attention::codes(Tile codes, Tile amax, Tile from, bool isHalf, Field rows, int64_t columns) {
  int mark = e.registerMark();
  Extent each{1, rows}, all{rows, columns}, flat{1, e.computed(Set::Mul, rows, columns)};
  Tile x{number, columns * 4}, multiplier{inverse, 4};
  isHalf ? e.fromF16(x, from, flat, kFraction) : e.fromF32(x, from, flat, kFraction);
  e.reduce(Reduce::AbsMax, amax, x, all);
  e.binaryScalar(Binary::Max, amax, amax, 256, each);
  e.fill(multiplier, each, 127 << 24);
  e.binary(Binary::Div, multiplier, multiplier, amax, each, 8);
  e.binaryByRow(Binary::Mul, codes, x, multiplier, all, 32);
  e.releaseRegisters(mark);
}

void Attention::codeQueriesAndKeys() {
  int mark = e.registerMark();
  Unit &unit = units[Coded];
  const int64_t rowBytes = tileRows() * 4;
  const bool isHalf = bool(op.getCache());
  e.wait(Vector, ScoresFull); // codes of the unit before are read
  e.wait(Vector, RawFull);
  Tile amax{at(half, queryMost, rowBytes), 4, S32};
  codes({queryCodes, width, S8}, amax, {rawNow + raw, width * 4}, false, rowsOf(unit), width);
  Tile most{valueMost, 4}, scaled{at(half, keyFactor, kChunk * 4), 0, S32};
  codes({keyCodes, width, S8}, most, {rawNow + (raw + rawKeys), 0}, isHalf, unit.keys, width);
  emitScale(e, std::ldexp(op.getScale().convertToDouble() / (127.0 * 127.0), kKeyFactor - kFraction), scaled,
            {valueMost, 0}, {1, unit.keys});
  e.signal(Vector, CodesFull);
  e.releaseRegisters(mark);
}

/// Codes of values, and what makes codes of weights times their amax: the largest is that of the largest
/// amax.
void Attention::codeValues() {
  int mark = e.registerMark();
  Unit &unit = units[Coded];
  Tile amax{valueMost, 4};
  Extent each{1, unit.keys};
  codes({at(half, valueCodes, kChunk * valueWidth), valueWidth, S8}, amax, {rawNow + (raw + rawValues), 0},
        bool(op.getCache()), unit.keys, valueWidth);
  Tile most{largest, 4}, ratio{at(half, valueFactor, kChunk * 4), 0, S32};
  e.reduce(Reduce::Max, most, {valueMost, 0}, {1, unit.keys});
  e.binaryByRow(Binary::Div, ratio, {valueMost, 0}, most, each, kValueFactor);
  e.binaryScalar(Binary::Mul, ratio, ratio, kWeightLimit, each, 14);
  emitScale(e, std::ldexp(1.0 / (127.0 * kWeightLimit), kOutFactor), {at(half, factors, 4), 4, S32}, most,
            {e.computed(Set::Min, unit.keys, 1), 1});
  e.signal(Vector, RawFree);
  e.set(rawNow, Set::Sub, rawHalf, rawNow);
  e.releaseRegisters(mark);
}

void Attention::multiplyScores() {
  int mark = e.registerMark();
  Unit &unit = units[Coded];
  e.wait(Array, CodesFull);
  e.wait(Array, ScoresFree);
  Field done = e.computed(Set::Add, 0, 0), columns = e.newRegister(), place = e.newRegister(),
        sums = e.newRegister(), rows = rowsOf(unit), blocks = e.computed(Set::Add, unit.keys, array - 1);
  e.set(blocks, Set::Div, blocks, array);
  e.loop(blocks, [&] { // the array's width of keys at a time
    e.set(columns, Set::Sub, unit.keys, done);
    e.set(columns, Set::Min, columns, array);
    e.set(place, Set::Mul, done, width);
    e.set(sums, Set::Mul, done, 4);
    e.matmul({sums + scoreSums, kChunk * 4}, {queryCodes, width}, {place + keyCodes, width}, rows, width,
             columns, /*transposed=*/true);
    e.set(done, Set::Add, done, array);
  });
  e.signal(Array, ScoresFull);
  e.releaseRegisters(mark);
}

/// Scores, their exponentials, and weights times the values' amax as codes of 16 bits in two planes.
void Attention::weigh() {
  int mark = e.registerMark();
  Unit &unit = units[Weighed];
  Field rows = rowsOf(unit), before = e.computed(Set::Sub, 1, half);
  const Extent scores{rows, unit.keys}, each{1, rows}; // numbers of rows lie together
  const Tile s{score, kChunk * 4}, w{weight, kChunk * 2, S16};
  e.binary(Binary::Mul, s, {scoreSums, kChunk * 4}, {at(before, keyFactor, kChunk * 4), 0, S32}, scores,
           kKeyFactor - kHalfScore);
  e.signal(Vector, ScoresFree);
  e.binaryByRow(Binary::Mul, s, s, {at(before, queryMost, tileRows() * 4), 4, S32}, scores, kHalfScore);
  if (causal) {
    // A row at position p sees keys up to p: number <= p - the chunk's first.
    e.binaryScalar(Binary::Add, column(limits), column(rowNumbers), unit.limit + 1, each);
    e.binaryByRow(Binary::Lt, {seen, kChunk, S8}, {numbers, 0}, column(limits), scores);
    e.select(s, s, {seen, kChunk, S8}, scores, kHidden);
  }
  e.reduce(Reduce::Max, column(chunkMost), s, scores);
  e.binary(Binary::Max, column(chunkMost), column(chunkMost), column(most), each);
  e.binary(Binary::Sub, column(scaleOld), column(most), column(chunkMost), each);
  e.function(Function::Exp, column(scaleOld), column(scaleOld), each); // 30 fraction bits
  e.binaryScalar(Binary::Add, column(most), column(chunkMost), 0, each);
  e.binaryByRow(Binary::Sub, s, s, column(most), scores);
  e.function(Function::Exp, s, s, scores, 30 - kWeight);
  e.reduce(Reduce::Sum, column(chunkSum), s, scores, kWeight - kFraction);
  e.binary(Binary::Mul, column(sum), column(sum), column(scaleOld), each, 30);
  e.binary(Binary::Add, column(sum), column(sum), column(chunkSum), each);
  e.binary(Binary::Mul, w, s, {at(before, valueFactor, kChunk * 4), 0, S32}, scores,
           kWeight + kValueFactor - 14);
  e.binaryScalar(Binary::Add, {high, kChunk, S8}, w, 0, scores, 7);
  e.binaryScalar(Binary::Mul, s, {high, kChunk, S8}, 128, scores);
  e.binary(Binary::Sub, {low, kChunk, S8}, w, s, scores);
  e.signal(Vector, WeightsFull);
  e.releaseRegisters(mark);
}

void Attention::multiplyValues() {
  int mark = e.registerMark();
  Unit &unit = units[Weighed];
  Field rows = rowsOf(unit), before = e.computed(Set::Sub, 1, half);
  Field values = at(before, valueCodes, kChunk * valueWidth);
  e.wait(Array, WeightsFull);
  for (int64_t first = 0; first < valueWidth; first += array) {
    int64_t n = std::min(array, valueWidth - first);
    e.matmul({highSums + first * 4, valueWidth * 4}, {high, kChunk}, {values + first, valueWidth}, rows,
             unit.keys, n);
    e.matmul({lowSums + first * 4, valueWidth * 4}, {low, kChunk}, {values + first, valueWidth}, rows,
             unit.keys, n);
  }
  e.signal(Array, SumsFull);
  e.releaseRegisters(mark);
}

/// Adds a chunk to those before it. Its factor is in this turn's half again.
void Attention::merge() {
  int mark = e.registerMark();
  Unit &unit = units[Merged];
  e.wait(Vector, SumsFull);
  Field rows = rowsOf(unit);
  const Extent flat{1, e.computed(Set::Mul, rows, valueWidth)};
  const Tile o{result, valueWidth * 4}, sums{number, 0};
  e.binaryScalar(Binary::Mul, sums, {highSums, 0}, 128, flat);
  e.binary(Binary::Add, sums, sums, {lowSums, 0}, flat);
  e.binaryByRow(Binary::Mul, sums, sums, {at(half, factors, 4), 0, S32}, flat, kOutFactor);
  e.binaryByRow(Binary::Mul, o, o, column(scaleOld), {rows, valueWidth}, 30);
  e.binary(Binary::Add, {result, 0}, {result, 0}, sums, flat);
  e.loop(unit.isLast, [&] { finish(); });
  e.releaseRegisters(mark);
}

/// A head's result leaves.
void Attention::finish() {
  int mark = e.registerMark();
  Unit &unit = units[Merged];
  const int64_t resultBytes = group * valueWidth * 4;
  Field rows = rowsOf(unit), to = e.computed(Set::Mul, unit.out, resultBytes);
  const Extent each{1, rows}, flat{1, e.computed(Set::Mul, rows, valueWidth)};
  const Tile o{result, valueWidth * 4};
  e.set(to, Set::Add, to, out);
  e.fill(column(inverse), each, 1 << 30); // the sum is 1 at the least: its largest weight is
  e.binary(Binary::Div, column(inverse), column(inverse), column(sum), each, kFraction);
  e.binaryByRow(Binary::Mul, o, o, column(inverse), {rows, valueWidth}, 30);
  e.wait(Vector, OutFree);
  e.toF32({staging, 0}, {result, 0}, flat, kFraction);
  e.signal(Vector, OutFull);
  e.wait(Dma, OutFull);
  e.dmaStore({staging, resultBytes}, to, heads * resultBytes, resultBytes, unit.rowCount);
  e.signal(Dma, OutFree);
  reset();
  e.releaseRegisters(mark);
}

void Attention::reset() {
  e.fill(column(most), {1, tileRows()}, INT32_MIN);
  e.fill(column(sum), {1, tileRows()}, 0);
  e.fill({result, 0}, {1, tileRows() * valueWidth}, 0);
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
  for (int64_t maxRows : {128, 64, 32}) {
    Attention attention(kernel, op, context, e, maxRows);
    if (!attention.plan())
      continue;
    attention.emit(/*isCausal=*/hasMask || op.getCache());
    KernelFacts facts;
    facts.workRows = uint32_t(attention.rowsOfWork());
    return facts;
  }
  return unsupportedOp(kernel, op, "has heads too wide for the scratchpad");
}

} // namespace heddle::npu
