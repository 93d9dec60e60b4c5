#include "codegen/cpu/AttentionBuilder.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

static constexpr int64_t kPage = HEDDLE_PAGE_TOKENS, kChunk = HEDDLE_CHUNK_TOKENS;
/// Stands for the weight of a key that a row cannot see. Weights are stored without a sign, NaN too, so the
/// sign tells the two apart.
static constexpr double kUnseen = -1;

AttentionBuilder::AttentionBuilder(Emitter &e, AttentionOp op, const CpuKernelContext &context)
    : e(e), op(op), context(context), mask(summarizeMask(op.getMask())), cached(bool(op.getCache())),
      queryHeads(shapeOf(op.getQuery().getType())[1]), kvHeads(op.kvHeads()), group(op.groupSize()),
      keyDim(shapeOf(op.getQuery().getType())[2]), valueDim(op.valueDim()), floats(e.vec(e.f32(), kLanes)),
      ints(e.vec(e.i32(), kLanes)) {
  element = cached ? cast<KvCacheType>(op.getCache().getType()).getElementType() : e.f32();
  elementBytes = element.getIntOrFloatBitWidth() / 8;
  valueRowBytes = valueDim * elementBytes * (cached ? 1 : kvHeads);
  if (cached)
    pageBytes = kPage * kvHeads * (keyDim + valueDim) * elementBytes;

  // 24 of 32 registers hold products of 16 lanes, or, where such a vector is two registers, 12 of 16.
  accumulators = e.lanes == 16 ? 24 : 6;
  int most = accumulators / 2 > 6 ? 12 : 6;
  for (tileHeads = std::min<int64_t>(group, most); group % tileHeads != 0;)
    --tileHeads;
  tileRows = most / tileHeads;

  int tile = tileRows * tileHeads;
  auto reserve = [&](int64_t bytes) {
    int64_t offset = scratchSize;
    scratchSize += llvm::alignTo(bytes, 64);
    return offset;
  };
  reserve(tile * kScoreRow);
  maximaOffset = reserve(tile * 4);
  sumsOffset = reserve(tile * 4);
  oldFactorsOffset = reserve(tile * 4);
  newFactorsOffset = reserve(tile * 4);
  masksOffset = reserve(mask.exact ? 0 : kChunk / 16 * 2);
  outputsOffset = reserve(tile * valueDim * 4);
  keysOffset = reserve(cached ? 0 : llvm::alignTo(context.maxRows, kPage) * keyDim * 4);
}

int64_t AttentionBuilder::workRows() const {
  // Without a cache each record transposes the keys of its sequence, so it should hold all rows. With one,
  // several records share out a long prompt.
  int64_t rows = cached ? 48 : context.maxRows;
  return llvm::alignTo(rows, tileRows);
}

Value AttentionBuilder::loadF32(VectorType type, Value address, Type element) {
  Value value = e.load(type.clone(element), address);
  return element.isF32() ? value : e.toF32(value);
}

int64_t AttentionBuilder::queryOffset(const Tile &tile, int row) const {
  return (row / tile.heads * queryHeads + row % tile.heads) * keyDim * 4;
}

void AttentionBuilder::emitItem(const AttentionOperands &operands, Value workCount, Value scratchAddress,
                                Value number) {
  scratch = scratchAddress;
  // Later rows of a prompt see more keys: records are taken from both ends in turn, so that any range of
  // items has some of each.
  Value index = e.divU(number, kvHeads), half = e.shiftRightU(index, 1);
  Value fromEnd = e.sub(e.sub(workCount, half), e.cI64(1));
  index = e.select(e.equal(e.bitAnd(index, 1), e.cI64(0)), half, fromEnd);
  Value record = e.at(operands.work, e.mul(index, sizeof(heddle_work)));
  auto field = [&](size_t offset) { return e.extendS(e.load(e.i32(), e.at(record, offset)), e.i64()); };
  Value rowBegin = field(offsetof(heddle_work, row_begin)),
        firstRow = field(offsetof(heddle_work, first_row));
  item = {};
  item.head = e.create<arith::RemUIOp>(number, e.cI64(kvHeads));
  item.rowCount = field(offsetof(heddle_work, row_count));
  item.position = field(offsetof(heddle_work, position));
  item.slot = field(offsetof(heddle_work, slot));
  auto rowAddress = [&](Value base, int64_t width) {
    Value head = e.add(e.mul(rowBegin, queryHeads), e.mul(item.head, group));
    return e.at(base, e.mul(head, width * 4));
  };
  item.query = rowAddress(operands.query, keyDim);
  item.result = rowAddress(operands.result, valueDim);
  if (cached) {
    item.pages = e.at(operands.pageTable, e.mul(item.slot, context.maxContext / kPage * 4));
    item.keyBase = e.at(operands.cache, e.mul(item.head, kPage * keyDim * elementBytes));
    item.valueBase = e.at(operands.cache, e.mul(item.head, kPage * valueRowBytes),
                          kvHeads * kPage * keyDim * elementBytes);
  } else {
    item.keyStart = e.sub(item.position, e.sub(rowBegin, firstRow));
    item.keyCount = field(offsetof(heddle_work, slot_rows));
    item.keyBase = e.at(scratch, keysOffset);
    item.valueBase = e.at(e.at(operands.values, e.mul(firstRow, valueRowBytes)),
                          e.mul(item.head, valueDim * elementBytes));
    transposeKeys(operands, firstRow);
  }
  // A tile of fewer rows serves records that are smaller than the full one. The last tile of a record ends
  // with it and computes some rows again, which changes nothing.
  SmallVector<int, 3> sizes{tileRows};
  if (tileRows > 4)
    sizes.push_back(4);
  if (tileRows > 1)
    sizes.push_back(1);
  e.forRange(0, group, tileHeads, [&](Value head) { emitTiles(sizes, head); });
}

void AttentionBuilder::emitTiles(ArrayRef<int> sizes, Value head) {
  int rows = sizes.front();
  auto tiles = [&] {
    Value last = e.sub(item.rowCount, e.cI64(rows));
    e.forRange(e.cI64(0), item.rowCount, e.cI64(rows),
               [&](Value row) { emitTile(rows, e.minS(row, last), head); });
  };
  if (sizes.size() == 1)
    return tiles();
  e.ifThenElse(e.lessThan(item.rowCount, e.cI64(rows)), [&] { emitTiles(sizes.drop_front(), head); }, tiles);
}

/// Rows of `rows` become columns.
static void transpose16(Emitter &e, Values &rows) {
  for (int distance : {8, 4, 2, 1}) {
    SmallVector<int64_t> low, high;
    for (int lane = 0; lane < 16; ++lane) {
      low.push_back(lane & distance ? 16 + lane - distance : lane);
      high.push_back(lane & distance ? 16 + lane : lane + distance);
    }
    for (int i = 0; i < 16; ++i) {
      if (i & distance)
        continue;
      Value a = rows[i], b = rows[i + distance];
      rows[i] = e.create<vector::ShuffleOp>(a, b, low);
      rows[i + distance] = e.create<vector::ShuffleOp>(a, b, high);
    }
  }
}

void AttentionBuilder::transposeKeys(const AttentionOperands &operands, Value firstRow) {
  int64_t rowBytes = kvHeads * keyDim * 4;
  Value from = e.at(e.at(operands.keys, e.mul(firstRow, rowBytes)), e.mul(item.head, keyDim * 4));
  Value last = e.add(item.keyCount, -1);
  e.forRange(e.cI64(0), item.keyCount, e.cI64(16), [&](Value key) {
    SmallVector<Value> rows;
    for (int i = 0; i < 16; ++i) // past the end the last one again: lanes that no row sees
      rows.push_back(e.at(from, e.mul(e.minS(e.add(key, i), last), rowBytes)));
    Value to = e.at(item.keyBase, e.mul(key, keyDim * 4));
    int64_t full = keyDim / 16 * 16;
    if (full > 0)
      e.forRange(0, full, 16, [&](Value d) {
        Values columns;
        for (Value row : rows)
          columns.push_back(e.load(floats, e.at(row, e.mul(d, 4))));
        transpose16(e, columns);
        for (int i = 0; i < 16; ++i)
          e.store(columns[i], e.at(to, e.mul(d, 64), i * 64));
      });
    for (int64_t d = full; d < keyDim; ++d)
      for (int i = 0; i < 16; ++i)
        e.store(e.load(e.f32(), e.at(rows[i], d * 4)), e.at(to, d * 64 + i * 4));
  });
}

AttentionBuilder::Range AttentionBuilder::visibleKeys(Value position) {
  Value index = cached ? position : e.sub(position, item.keyStart);
  Value end = e.add(index, 1);
  if (!cached)
    end = mask.causal ? e.minS(end, item.keyCount) : item.keyCount;
  Value begin = e.cI64(0);
  if (mask.window)
    begin = e.minS(e.maxS(e.add(index, 1 - *mask.window), begin), end);
  return {begin, end};
}

void AttentionBuilder::emitTile(int rows, Value row, Value head) {
  Tile tile;
  tile.rows = rows;
  tile.heads = tileHeads;
  tile.row = row;
  tile.head = head;
  Value offset = e.add(e.mul(row, queryHeads), head);
  tile.query = e.at(item.query, e.mul(offset, keyDim * 4));
  tile.position = e.add(item.position, row);
  Range first = visibleKeys(tile.position), last = visibleKeys(e.add(tile.position, rows - 1));
  tile.begin = first.begin;
  tile.end = last.end;
  tile.commonBegin = mask.exact ? clamp(last.begin, {tile.begin, tile.end}) : tile.end;
  tile.commonEnd = mask.exact ? clamp(first.end, {tile.commonBegin, tile.end}) : tile.end;

  e.forRange(0, tile.count(), 1, [&](Value v) {
    Value at = e.at(scratch, e.mul(v, 4));
    e.store(e.cF32(-INFINITY), e.at(at, maximaOffset));
    e.store(e.cF32(0), e.at(at, sumsOffset));
  });
  e.forRange(0, tile.count() * valueDim, kLanes, [&](Value i) { // the area is a whole number of vectors
    e.store(e.constant(floats, 0), e.at(scratch, e.mul(i, 4), outputsOffset));
  });
  Value end = e.divU(e.add(tile.end, kChunk - 1), kChunk);
  e.forRange(e.divU(tile.begin, kChunk), end, e.cI64(1), [&](Value chunk) { emitChunk(tile, chunk); });
  finishTile(tile);
}

void AttentionBuilder::emitChunk(const Tile &tile, Value chunk) {
  Value chunkBegin = e.mul(chunk, kChunk);
  Range keys{e.maxS(tile.begin, chunkBegin), e.minS(tile.end, e.add(chunkBegin, kChunk))};
  emitScores(tile, chunkBegin, keys);
  emitSoftmax(tile, chunkBegin, keys);
  emitValues(tile, chunkBegin, keys);
}

Value AttentionBuilder::exp(Value x) {
  auto c = [&](double value) { return e.constant(x.getType(), value); };
  auto like = [&](Type element) -> Type {
    return isa<VectorType>(x.getType()) ? Type(cast<VectorType>(x.getType()).clone(element)) : element;
  };
  // The expansion of heddle-expand-math, less what positive arguments and denormal results need: those are 0
  // here. NaN stays.
  Value lowest = c(-87.0), tiny = greater(lowest, x), bounded = e.select(tiny, lowest, x);
  Value shifted = e.fma(bounded, c(1.44269504f), c(12582912.0)), n = e.subF(shifted, c(12582912.0));
  Value r = e.fma(n, c(-0x1.7f7d1cp-20), e.fma(n, c(-0x1.62e4p-1), bounded));
  Value p = c(0.0013820136f);
  for (float coefficient : {0.008368686f, 0.041668274f, 0.16666521f, 0.49999994f, 1.0f, 1.0f})
    p = e.fma(p, r, c(coefficient));
  Value exponent =
      e.shiftLeft(e.add(e.bitcast(shifted, like(e.i32())), 127), 23); // shifted holds n in its low bits
  return e.select(tiny, c(0), e.mulF(p, e.bitcast(exponent, x.getType())));
}

Value AttentionBuilder::keyAddress(Value key) {
  if (!cached)
    return e.at(item.keyBase, e.mul(key, keyDim * 4));
  Value entry = e.load(e.i32(), e.at(item.pages, e.mul(e.divU(key, kPage), 4)));
  Value page = e.at(item.keyBase, e.mul(e.extendS(entry, e.i64()), pageBytes));
  return e.at(page, e.mul(e.bitAnd(key, kPage - 1), keyDim * elementBytes));
}

/// Calls `use` for all pairs of `rows` splats and `columns` vectors. The fewer of the two stay in registers
/// while the others pass.
static void multiplyAll(int rows, int columns, function_ref<Value(int)> splat,
                        function_ref<Value(int)> vector, function_ref<void(int, int, Value, Value)> use) {
  Values kept;
  bool keepsVectors = columns < rows;
  for (int i = 0; i < std::min(rows, columns); ++i)
    kept.push_back(keepsVectors ? vector(i) : splat(i));
  for (int i = 0; i < std::max(rows, columns); ++i) {
    Value passing = keepsVectors ? splat(i) : vector(i);
    for (int j = 0; j < int(kept.size()); ++j)
      keepsVectors ? use(i, j, passing, kept[j]) : use(j, i, kept[j], passing);
  }
}

/// Plain products of queries and keys; lanes past the tile's keys hold whatever the page holds.
void AttentionBuilder::emitScores(const Tile &tile, Value chunkBegin, Range keys) {
  // Groups of 16 keys, a power of two so that they divide a page: two share each query element; more where it
  // takes them to hide the fma's latency.
  int count = tile.count(), groups = 1;
  while (groups < 8 && (groups < 2 || count * groups < 12) && count * groups * 2 <= accumulators)
    groups *= 2;
  int64_t step = groups * 16, groupBytes = keyDim * 16 * elementBytes;
  int unroll = keyDim % 2 == 0 ? 2 : 1;
  Value begin = e.mul(e.divU(e.sub(keys.begin, chunkBegin), step), step), end = e.sub(keys.end, chunkBegin);
  e.forRange(begin, end, e.cI64(step), [&](Value offset) {
    Value address = keyAddress(e.add(chunkBegin, offset));
    Values sums =
        e.forRange(e.cI64(0), e.cI64(keyDim), e.cI64(unroll), Values(count * groups, e.constant(floats, 0)),
                   [&](Value d, ValueRange carried) {
                     Values next(carried);
                     Value keyAt = e.at(address, e.mul(d, 16 * elementBytes)),
                           queryAt = e.at(tile.query, e.mul(d, 4));
                     for (int u = 0; u < unroll; ++u) {
                       auto key = [&](int g) {
                         return loadF32(floats, e.at(keyAt, g * groupBytes + u * 16 * elementBytes), element);
                       };
                       auto query = [&](int v) {
                         return e.loadSplat(floats, e.at(queryAt, queryOffset(tile, v) + u * 4));
                       };
                       multiplyAll(count, groups, query, key, [&](int v, int g, Value q, Value k) {
                         next[v * groups + g] = e.fma(q, k, next[v * groups + g]);
                       });
                     }
                     return next;
                   });
    Value to = e.at(scratch, e.mul(offset, 4));
    for (int v = 0; v < count; ++v)
      for (int g = 0; g < groups; ++g)
        e.store(sums[v * groups + g], e.at(to, v * kScoreRow + g * 64));
  });
}

void AttentionBuilder::emitSoftmax(const Tile &tile, Value chunkBegin, Range keys) {
  Value firstGroup = e.divU(e.sub(keys.begin, chunkBegin), 16);
  Value endGroup = e.divU(e.add(e.sub(keys.end, chunkBegin), 15), 16);
  SmallVector<int32_t> numbers;
  for (int i = 0; i < kLanes; ++i)
    numbers.push_back(i);
  Value lane = e.create<arith::ConstantOp>(DenseElementsAttr::get(ints, ArrayRef<int32_t>(numbers)));
  Type bits = e.i16();
  VectorType lanesMask = e.vec(e.getI1Type(), kLanes);
  auto splatI32 = [&](Value x) { return e.splat(e.truncate(x, e.i32()), ints); };

  e.forRange(0, tile.count(), 1, [&](Value v) {
    Value row = e.divU(v, tile.heads), head = e.sub(v, e.mul(row, tile.heads));
    Value position = e.add(tile.position, row);
    Range seen = visibleKeys(position);
    Value begin = splatI32(seen.begin), end = splatI32(seen.end);
    Value scores = e.at(scratch, e.mul(v, kScoreRow));
    auto keyNumbers = [&](Value g) { return e.add(splatI32(e.add(chunkBegin, e.mul(g, 16))), lane); };
    auto inRange = [&](Value key) {
      Value from = e.create<arith::CmpIOp>(arith::CmpIPredicate::sge, key, begin);
      return e.create<arith::AndIOp>(from, e.create<arith::CmpIOp>(arith::CmpIPredicate::slt, key, end));
    };
    Value queryHead = splatI32(e.add(e.add(e.mul(item.head, group), tile.head), head));
    Value kvHead = splatI32(item.head), queryPosition = splatI32(position), slot = splatI32(item.slot);

    Value least = e.constant(floats, -INFINITY);
    Values found = e.forRange(
        firstGroup, endGroup, e.cI64(1), {least, e.constantInt(bits, 0)}, [&](Value g, ValueRange carried) {
          Value at = e.at(scores, e.mul(g, 64)), key = keyNumbers(g), seenLanes = inRange(key);
          Value keyPosition = cached ? key : e.add(key, splatI32(item.keyStart));
          Value dot = e.mulF(e.load(floats, at), e.constant(floats, op.getScale().convertToFloat()));
          SmallVector<Value, 6> arguments{dot, queryHead, kvHead, queryPosition, keyPosition, slot};
          Value score = vectorizeRegion(e, op.getScore(), arguments), any = carried[1];
          if (!mask.exact) {
            seenLanes = e.create<arith::AndIOp>(seenLanes, vectorizeRegion(e, op.getMask(), arguments));
            Value packed = e.bitcast(seenLanes, bits);
            e.store(packed, e.at(scratch, e.mul(g, 2), masksOffset));
            any = e.create<arith::OrIOp>(any, packed);
          }
          score = e.select(seenLanes, score, least);
          e.store(score, at);
          return Values{maxKeepingFirst(score, carried[0]), any};
        });
    Value chunkMaximum = e.maxLanes(found[0]), maxima = e.splat(chunkMaximum, floats);
    Value visible = mask.exact
                        ? e.lessThan(e.maxS(seen.begin, keys.begin), e.minS(seen.end, keys.end))
                        : e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, found[1], e.constantInt(bits, 0));

    // Lanes that are not seen hold minus infinity, whose weight is 0.
    Values sums = e.forRange(
        firstGroup, endGroup, e.cI64(1), {e.constant(floats, 0)}, [&](Value g, ValueRange carried) {
          Value at = e.at(scores, e.mul(g, 64)), weight = exp(e.subF(e.load(floats, at), maxima));
          e.store(e.bitAnd(e.bitcast(weight, ints), 0x7fffffff), at);
          return Values{e.addF(carried[0], weight)};
        });
    // The values' sums must tell such keys from those whose weight is 0. With ranges only groups at their
    // ends have any.
    auto markUnseen = [&](Value from, Value to) {
      e.forRange(from, to, e.cI64(1), [&](Value g) {
        Value at = e.at(scores, e.mul(g, 64));
        Value seenLanes = mask.exact
                              ? inRange(keyNumbers(g))
                              : e.bitcast(e.load(bits, e.at(scratch, e.mul(g, 2), masksOffset)), lanesMask);
        e.store(e.select(seenLanes, e.load(floats, at), e.constant(floats, kUnseen)), at);
      });
    };
    if (mask.exact) {
      auto groupOf = [&](Value key) {
        return clamp(e.divU(e.maxS(e.sub(key, chunkBegin), e.cI64(0)), 16), {firstGroup, endGroup});
      };
      Value fromEnd = groupOf(seen.end);
      markUnseen(firstGroup, e.minS(groupOf(e.add(seen.begin, 15)), fromEnd));
      markUnseen(fromEnd, endGroup);
    } else {
      markUnseen(firstGroup, endGroup);
    }
    Value chunkSum = e.sumPairs(sums[0]);

    // A chunk without a visible key leaves the row's state as it is; its factor marks it for the outputs.
    Value state = e.at(scratch, e.mul(v, 4));
    Value oldMaximum = e.load(e.f32(), e.at(state, maximaOffset)),
          oldSum = e.load(e.f32(), e.at(state, sumsOffset));
    Value maximum = maxKeepingFirst(chunkMaximum, oldMaximum);
    Value oldFactor = exp(e.subF(oldMaximum, maximum)), newFactor = exp(e.subF(chunkMaximum, maximum));
    Value sum = e.fma(chunkSum, newFactor, e.mulF(oldSum, oldFactor));
    e.store(e.select(visible, maximum, oldMaximum), e.at(state, maximaOffset));
    e.store(e.select(visible, sum, oldSum), e.at(state, sumsOffset));
    e.store(oldFactor, e.at(state, oldFactorsOffset));
    newFactor = e.bitcast(e.bitAnd(e.bitcast(newFactor, e.i32()), 0x7fffffff), e.f32());
    e.store(e.select(visible, newFactor, e.cF32(kUnseen)), e.at(state, newFactorsOffset));
  });
}

void AttentionBuilder::emitValues(const Tile &tile, Value chunkBegin, Range keys) {
  int vectors = std::max(1, accumulators / tile.count());
  vectors = int(std::min<int64_t>({vectors, 8, std::max<int64_t>(valueDim / kLanes, 1)}));
  int64_t step = vectors * kLanes, full = valueDim / step * step;
  if (full > 0)
    e.forRange(0, full, step, [&](Value d) { emitValueSlice(tile, chunkBegin, keys, d, vectors, kLanes); });
  int64_t rest = valueDim - full;
  if (rest >= kLanes)
    emitValueSlice(tile, chunkBegin, keys, e.cI64(full), int(rest / kLanes), kLanes);
  if (rest % kLanes != 0)
    emitValueSlice(tile, chunkBegin, keys, e.cI64(valueDim - rest % kLanes), 1, int(rest % kLanes));
}

void AttentionBuilder::emitValueSlice(const Tile &tile, Value chunkBegin, Range keys, Value d, int vectors,
                                      int width) {
  int count = tile.count();
  VectorType type = e.vec(e.f32(), width);
  VectorType bits = e.vec(e.i32(), width);
  auto seen = [&](Value x) {
    return e.create<arith::CmpIOp>(arith::CmpIPredicate::sge, e.bitcast(x, bits), e.constantInt(bits, 0));
  };
  // Keys of `range`, which lie at `base` + key * valueRowBytes.
  auto accumulate = [&](Value base, Range range, bool selects, ValueRange initial) {
    return e.forRange(range.begin, range.end, e.cI64(1), initial, [&](Value key, ValueRange carried) {
      Values next(carried);
      Value from = e.at(base, e.mul(key, valueRowBytes)),
            weights = e.at(scratch, e.mul(e.sub(key, chunkBegin), 4));
      auto value = [&](int i) { return loadF32(type, e.at(from, i * width * elementBytes), element); };
      auto weight = [&](int v) { return e.loadSplat(type, e.at(weights, v * kScoreRow)); };
      multiplyAll(count, vectors, weight, value, [&](int v, int i, Value w, Value x) {
        Value &sum = next[v * vectors + i];
        Value added = e.fma(w, x, sum);
        sum = selects ? e.select(seen(w), added, sum) : added;
      });
      return next;
    });
  };
  // Ascending keys: those that some rows see, those that all see, again those that some see.
  auto segment = [&](Value base, Range range, ValueRange initial) {
    Value commonBegin = clamp(tile.commonBegin, range), commonEnd = clamp(tile.commonEnd, range);
    Values sums = accumulate(base, {range.begin, commonBegin}, true, initial);
    sums = accumulate(base, {commonBegin, commonEnd}, false, sums);
    return accumulate(base, {commonEnd, range.end}, true, sums);
  };
  Value first = e.at(item.valueBase, e.mul(d, elementBytes));
  Values sums(count * vectors, e.constant(type, 0));
  if (cached) {
    Value endPage = e.divU(e.add(keys.end, kPage - 1), kPage);
    sums =
        e.forRange(e.divU(keys.begin, kPage), endPage, e.cI64(1), sums, [&](Value page, ValueRange carried) {
          Value number = e.extendS(e.load(e.i32(), e.at(item.pages, e.mul(page, 4))), e.i64()),
                start = e.mul(page, kPage);
          Value base = e.at(first, e.sub(e.mul(number, pageBytes), e.mul(start, valueRowBytes)));
          return segment(base, {e.maxS(start, keys.begin), e.minS(e.add(start, kPage), keys.end)}, carried);
        });
  } else {
    sums = segment(first, keys, sums);
  }
  Value outputs = e.at(scratch, e.mul(d, 4), outputsOffset);
  for (int v = 0; v < count; ++v) {
    Value oldFactor = e.loadSplat(type, e.at(scratch, oldFactorsOffset + v * 4));
    Value newFactor = e.loadSplat(type, e.at(scratch, newFactorsOffset + v * 4)), merges = seen(newFactor);
    for (int i = 0; i < vectors; ++i) {
      Value at = e.at(outputs, (v * valueDim + i * width) * 4), old = e.load(type, at);
      Value merged = e.fma(sums[v * vectors + i], newFactor, e.mulF(old, oldFactor));
      e.store(e.select(merges, merged, old), at);
    }
  }
}

void AttentionBuilder::finishTile(const Tile &tile) {
  e.forRange(0, tile.count(), 1, [&](Value v) {
    Value row = e.divU(v, tile.heads), head = e.add(e.sub(v, e.mul(row, tile.heads)), tile.head);
    Value number = e.add(e.mul(e.add(tile.row, row), queryHeads), head);
    Value to = e.at(item.result, e.mul(number, valueDim * 4)),
          from = e.at(scratch, e.mul(v, valueDim * 4), outputsOffset);
    Value sum = e.load(e.f32(), e.at(scratch, e.mul(v, 4), sumsOffset));
    Value nothing = e.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, sum, e.cF32(0));
    Value factor = e.select(nothing, e.cF32(0), e.divF(e.cF32(1), sum));
    auto scaled = [&](Value d, int width) {
      VectorType type = e.vec(e.f32(), width);
      e.store(e.mulF(e.load(type, e.at(from, e.mul(d, 4))), e.splat(factor, type)), e.at(to, e.mul(d, 4)));
    };
    int64_t full = valueDim / kLanes * kLanes;
    if (full > 0)
      e.forRange(0, full, kLanes, [&](Value d) { scaled(d, kLanes); });
    if (full < valueDim)
      scaled(e.cI64(full), int(valueDim - full));
  });
}

} // namespace heddle::cpu
