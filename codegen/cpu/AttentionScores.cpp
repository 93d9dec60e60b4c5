#include "codegen/cpu/AttentionScores.h"
#include "codegen/Float8.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

static constexpr int64_t kPage = HEDDLE_PAGE_TOKENS, kChunk = HEDDLE_CHUNK_TOKENS;

ScoreBuilder::ScoreBuilder(Emitter &e, ScoringOpInterface op, const CpuKernelContext &context)
    : e(e), op(op), context(context), mask(spansOfMask(op.getMask())), cached(bool(op.getCache())),
      queryHeads(shapeOf(op.getQuery().getType())[1]), kvHeads(op.kvHeads()), group(op.groupSize()),
      keyDim(op.keyDim()), floats(e.vec(e.f32(), kLanes)), ints(e.vec(e.i32(), kLanes)) {
  element = cached ? cast<KvCacheType>(op.getCache().getType()).getElementType() : e.f32();
  elementBytes = element.getIntOrFloatBitWidth() / 8;
  keyBytes = keyDim * elementBytes;
  if (cached) {
    auto cache = cast<KvCacheType>(op.getCache().getType());
    pageBytes = kPage * cache.tokenBytes();
    hasScales = cache.hasScales();
    keyBytes += cache.scaleBytes();
  }
  maxKeys = cached                 ? context.maxContext
            : op.getKeySequences() ? shapeOf(op.getKeySequences().getType())[0]
                                   : context.maxRows;
  maxKeys = llvm::alignTo(maxKeys, kPage);
  // 24 of 32 registers hold products of 16 lanes, or, where such a vector is two registers, 12 of 16.
  accumulators = e.lanes == 16 ? 24 : 6;
  mostRows = accumulators / 2 > 6 ? 12 : 6;
  if (mask.spans.empty()) // nothing is ever seen
    mask.spans.push_back({{}, {KeyBound()}, {}});
  reserve(mostRows * kScoreRow); // scores come first
  spansOffset = reserve(mostRows * int64_t(mask.spans.size()) * 16);
  if (!cached)
    keysOffset = reserve(maxKeys * keyDim * 4);
  if (op.getKeySequences())
    keyRowsOffset = reserve(maxKeys * 4);
}

Value ScoreBuilder::loadF32(VectorType type, Value address, Type from) {
  if (isa<Float8E4M3FNType>(from)) {
    Value codes = e.extendS(e.load(type.clone(e.i8()), address), e.i16());
    return e.toF32(e.bitcast(halfOfF8(e, StorageFormat::F8E4M3, codes), type.clone(e.f16())));
  }
  Value value = e.load(type.clone(from), address);
  return from.isF32() ? value : e.toF32(value);
}

Value ScoreBuilder::scalesAt(Value address) {
  Value scales = e.load(floats, address);
  return isa<Float8E4M3FNType>(element) ? e.mulF(scales, e.constant(floats, 256)) : scales; // see halfOfF8
}

int64_t ScoreBuilder::queryOffset(const Tile &tile, int row) const {
  if (tile.listed)
    return row * keyDim * 4;
  return (row / tile.heads * queryHeads + row % tile.heads) * keyDim * 4;
}

void ScoreBuilder::beginRecord(const AttentionOperands &from, Value workCount, Value index) {
  operands = &from;
  // Later rows of a prompt see more keys: records are taken from both ends in turn, so that any range of
  // items has some of each.
  Value half = e.shiftRightU(index, 1), fromEnd = e.sub(e.sub(workCount, half), e.cI64(1));
  index = e.select(e.equal(e.bitAnd(index, 1), e.cI64(0)), half, fromEnd);
  Value record = e.at(operands->work, e.mul(index, sizeof(heddle_work)));
  auto field = [&](size_t offset) { return e.extendS(e.load(e.i32(), e.at(record, offset)), e.i64()); };
  item = {};
  item.rowBegin = field(offsetof(heddle_work, row_begin));
  item.firstRow = field(offsetof(heddle_work, first_row));
  item.rowCount = field(offsetof(heddle_work, row_count));
  item.position = field(offsetof(heddle_work, position));
  item.slot = field(offsetof(heddle_work, slot));
  if (cached) {
    item.pages = e.at(operands->pageTable, e.mul(item.slot, context.maxContext / kPage * 4));
  } else if (op.getKeySequences()) {
    item.keyStart = e.cI64(0);
    listKeyRows();
  } else {
    item.keyStart = e.sub(item.position, e.sub(item.rowBegin, item.firstRow));
    item.keyCount = field(offsetof(heddle_work, slot_rows));
  }
}

void ScoreBuilder::beginHead(Value head) {
  item.head = head;
  Value first = e.add(e.mul(item.rowBegin, queryHeads), e.mul(head, group));
  item.query = e.at(operands->query, e.mul(first, keyDim * 4));
  if (cached) {
    item.keyBase = e.at(operands->cache, e.mul(head, kPage * keyBytes));
  } else {
    item.keyBase = e.at(scratch, keysOffset);
    transposeKeys();
  }
}

/// The rows of the keys whose sequence is the item's, in order.
void ScoreBuilder::listKeyRows() {
  int64_t rows = shapeOf(op.getKeySequences().getType())[0];
  Value wanted = i32(item.slot), list = e.at(scratch, keyRowsOffset);
  item.keyCount = e.forRange(
      e.cI64(0), e.cI64(rows), e.cI64(1), {e.cI64(0)}, [&](Value row, ValueRange carried) -> Values {
        e.store(i32(row), e.at(list, e.mul(carried[0], 4)));
        Value found = e.equal(e.load(e.i32(), e.at(operands->keySequences, e.mul(row, 4))), wanted);
        return {e.add(carried[0], e.extendU(found, e.i64()))};
      })[0];
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

void ScoreBuilder::transposeKeys() {
  int64_t rowBytes = kvHeads * keyDim * 4;
  Value from = e.at(operands->keys, e.mul(item.head, keyDim * 4));
  Value last = e.add(item.keyCount, -1);
  e.forRange(e.cI64(0), item.keyCount, e.cI64(16), [&](Value key) {
    SmallVector<Value> rows;
    for (int i = 0; i < 16; ++i) { // past the end the last one again: lanes that no row sees
      Value number = e.minS(e.add(key, i), last);
      Value row = op.getKeySequences()
                      ? e.extendS(e.load(e.i32(), e.at(scratch, e.mul(number, 4), keyRowsOffset)), e.i64())
                      : e.add(item.firstRow, number);
      rows.push_back(e.at(from, e.mul(row, rowBytes)));
    }
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

Value ScoreBuilder::rowOf(const Tile &tile, Value v) {
  if (tile.listed)
    return e.extendS(e.load(e.i32(), e.at(tile.pairs, e.mul(v, 8))), e.i64());
  return e.add(tile.row, e.divU(v, tile.heads));
}

Value ScoreBuilder::headOf(const Tile &tile, Value v) {
  if (tile.listed)
    return e.extendS(e.load(e.i32(), e.at(tile.pairs, e.mul(v, 8), 4)), e.i64());
  return e.add(tile.head, e.sub(v, e.mul(e.divU(v, tile.heads), tile.heads)));
}

RegionRow ScoreBuilder::regionRow(const Tile &tile, Value v) {
  Value row = rowOf(tile, v), head = e.add(e.mul(item.head, group), headOf(tile, v));
  return {i32(head), i32(item.head), i32(e.add(item.position, row)), i32(item.slot),
          i32(e.add(item.rowBegin, row))};
}

ScoreBuilder::Range ScoreBuilder::spanOf(Value v, int span) {
  int64_t count = mask.spans.size();
  Value at = e.at(scratch, e.mul(v, count * 16), spansOffset + span * 16);
  return {e.load(e.i64(), at), e.load(e.i64(), e.at(at, 8))};
}

void ScoreBuilder::emitSpans(Tile &tile) {
  std::optional<RegionCode> code;
  if (!op.getMask().empty())
    code.emplace(e, op.getMask(), operands->captured);
  int64_t spans = mask.spans.size();
  // For each span: where the first and the last row's part begins, where they end.
  Values initial;
  for (int64_t s = 0; s < spans; ++s)
    initial.append({e.cI64(maxKeys), e.cI64(0), e.cI64(0), e.cI64(maxKeys)});
  Values found =
      e.forRange(e.cI64(0), e.cI64(tile.count), e.cI64(1), initial, [&](Value v, ValueRange carried) {
        Values next;
        if (code)
          code->begin(regionRow(tile, v));
        Value limit = cached ? e.add(e.add(item.position, rowOf(tile, v)), 1) : item.keyCount;
        if (keyLimit)
          limit = e.minS(limit, e.cI64(keyLimit));
        for (int64_t s = 0; s < spans; ++s) {
          const KeySpan &span = mask.spans[s];
          Value begin = e.cI64(0), end = limit;
          auto place = [&](const KeyBound &bound) {
            Value at = code->bound(bound);
            return cached ? at : e.sub(at, item.keyStart);
          };
          for (const KeyBound &bound : span.lower)
            begin = e.maxS(begin, place(bound));
          for (const KeyBound &bound : span.upper)
            end = e.minS(end, code ? place(bound) : e.cI64(0));
          for (Value condition : span.conditions)
            end = e.select(code->uniform(condition), end, e.cI64(0));
          Value some = e.lessThan(begin, end);
          begin = e.select(some, begin, e.cI64(0));
          end = e.select(some, end, e.cI64(0));
          Value at = e.at(scratch, e.mul(v, spans * 16), spansOffset + s * 16);
          e.store(begin, at);
          e.store(end, e.at(at, 8));
          next.append({e.minS(carried[s * 4], e.select(some, begin, e.cI64(maxKeys))),
                       e.maxS(carried[s * 4 + 1], end), e.maxS(carried[s * 4 + 2], begin),
                       e.minS(carried[s * 4 + 3], end)});
        }
        return next;
      });
  for (int64_t s = 0; s < spans; ++s) {
    Value end = found[s * 4 + 1];
    Range all{e.minS(found[s * 4], end), end};
    tile.spans.push_back(all);
    Range common{all.end, all.end};
    if (mask.exact) {
      common.begin = clamp(found[s * 4 + 2], all);
      common.end = clamp(found[s * 4 + 3], {common.begin, all.end});
    }
    tile.commonSpans.push_back(common);
    bool first = s == 0;
    // Empty spans do not widen the others.
    Value some = e.lessThan(all.begin, all.end);
    Value begin = spans == 1 ? all.begin : e.select(some, all.begin, e.cI64(maxKeys));
    tile.begin = first ? begin : e.minS(tile.begin, begin);
    tile.end = first ? all.end : e.maxS(tile.end, all.end);
  }
  tile.begin = e.minS(tile.begin, tile.end);
}

void ScoreBuilder::forChunks(const Tile &tile, function_ref<void(Chunk &)> body) {
  Value last = e.divU(e.add(tile.end, kChunk - 1), kChunk);
  e.forRange(e.divU(tile.begin, kChunk), last, e.cI64(1), [&](Value number) { atChunk(tile, number, body); });
}

void ScoreBuilder::atChunk(const Tile &tile, Value number, function_ref<void(Chunk &)> body) {
  Chunk chunk;
  chunk.begin = e.mul(number, kChunk);
  Value chunkEnd = e.add(chunk.begin, kChunk);
  // Around the spans' parts; what one span alone has here may be common to all rows.
  chunk.keys = {chunkEnd, chunk.begin};
  Range common;
  Value parts = e.cI64(0);
  for (auto [span, shared] : llvm::zip(tile.spans, tile.commonSpans)) {
    Value begin = e.maxS(span.begin, chunk.begin), end = e.minS(span.end, chunkEnd);
    Value some = e.lessThan(begin, end);
    chunk.keys.begin = e.minS(chunk.keys.begin, e.select(some, begin, chunkEnd));
    chunk.keys.end = e.maxS(chunk.keys.end, e.select(some, end, chunk.begin));
    common.begin = common.begin ? e.select(some, shared.begin, common.begin) : shared.begin;
    common.end = common.end ? e.select(some, shared.end, common.end) : shared.end;
    parts = e.add(parts, e.extendU(some, e.i64()));
  }
  e.ifThen(e.lessThan(chunk.keys.begin, chunk.keys.end), [&] {
    Value single = e.equal(parts, e.cI64(1));
    chunk.common.begin = e.select(single, clamp(common.begin, chunk.keys), chunk.keys.end);
    chunk.common.end = e.select(single, clamp(common.end, chunk.keys), chunk.keys.end);
    body(chunk);
  });
}

Value expOfNegative(Emitter &e, Value x) {
  auto c = [&](double value) { return e.constant(x.getType(), value); };
  auto like = [&](Type element) -> Type {
    return isa<VectorType>(x.getType()) ? Type(cast<VectorType>(x.getType()).clone(element)) : element;
  };
  // The expansion of heddle-expand-math, less what positive arguments and denormal results need: those are 0
  // here. NaN stays.
  Value lowest = c(-87.0), tiny = e.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, lowest, x),
        bounded = e.select(tiny, lowest, x);
  Value shifted = e.fma(bounded, c(1.44269504f), c(12582912.0)), n = e.subF(shifted, c(12582912.0));
  Value r = e.fma(n, c(-0x1.7f7d1cp-20), e.fma(n, c(-0x1.62e4p-1), bounded));
  Value p = c(0.0013820136f);
  for (float coefficient : {0.008368686f, 0.041668274f, 0.16666521f, 0.49999994f, 1.0f, 1.0f})
    p = e.fma(p, r, c(coefficient));
  Value exponent =
      e.shiftLeft(e.add(e.bitcast(shifted, like(e.i32())), 127), 23); // shifted holds n in its low bits
  return e.select(tiny, c(0), e.mulF(p, e.bitcast(exponent, x.getType())));
}

Value isSet(Emitter &e, Value integer) {
  return e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, integer, e.constantInt(integer.getType(), 0));
}

Value maxKeepingFirst(Emitter &e, Value x, Value best) {
  return e.select(e.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, x, best), x, best);
}

MergedSum mergeChunk(Emitter &e, ChunkSum old, ChunkSum next) {
  Value maximum = maxKeepingFirst(e, next.maximum, old.maximum);
  Value oldFactor = expOfNegative(e, e.subF(old.maximum, maximum)),
        newFactor = expOfNegative(e, e.subF(next.maximum, maximum));
  Value sum = e.fma(next.sum, newFactor, e.mulF(old.sum, oldFactor));
  Type type = newFactor.getType(), bits = e.i32();
  if (auto vector = dyn_cast<VectorType>(type))
    bits = vector.clone(bits);
  newFactor = e.bitcast(e.bitAnd(e.bitcast(newFactor, bits), 0x7fffffff), type);
  return {{sum, maximum}, oldFactor, newFactor};
}

Value inverseSum(Emitter &e, Value sum) {
  Value nothing = e.create<arith::CmpFOp>(arith::CmpFPredicate::OEQ, sum, e.cF32(0));
  return e.select(nothing, e.cF32(0), e.divF(e.cF32(1), sum));
}

Value ScoreBuilder::keyAddress(Value key) {
  if (!cached)
    return e.at(item.keyBase, e.mul(key, keyDim * 4));
  Value page = e.at(item.keyBase, pageOffset(e.divU(key, kPage)));
  return e.at(page, e.mul(e.bitAnd(key, kPage - 1), keyBytes));
}

Value ScoreBuilder::pageOffset(Value page) {
  Value number = e.extendS(e.load(e.i32(), e.at(item.pages, e.mul(page, 4))), e.i64());
  return e.mul(number, pageBytes);
}

Value ScoreBuilder::bytesToNextPage(const Tile &tile, Value page) {
  if (!cached)
    return {};
  Value last = e.divU(e.add(tile.end, -1), kPage);
  return e.sub(pageOffset(e.minS(e.add(page, 1), last)), pageOffset(page));
}

void ScoreBuilder::prefetchLines(Value address, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64)
    e.prefetch(e.at(address, line), 2);
}

void multiplyAll(int rows, int columns, function_ref<Value(int)> splat, function_ref<Value(int)> vector,
                 function_ref<void(int, int, Value, Value)> use) {
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

void ScoreBuilder::emitScores(const Tile &tile, const Chunk &chunk) {
  // Groups of 16 keys, a power of two so that they divide a page: two share each query element; more where it
  // takes them to hide the fma's latency.
  int count = tile.count, most = 1;
  while (most < 8 && (most < 2 || count * most < 12) && count * most * 2 <= accumulators)
    most *= 2;
  int unroll = keyDim % 2 == 0 ? 2 : 1;
  // Products of `groups` groups; `address(g, offset, more)` is past the beginning of group g.
  // `ahead`, if any, is how far from there it should read ahead.
  using Address = function_ref<Value(int, Value, int64_t)>;
  auto products = [&](int groups, Address address, Value ahead, function_ref<Value(int)> place) {
    Values sums =
        e.forRange(e.cI64(0), e.cI64(keyDim), e.cI64(unroll), Values(count * groups, e.constant(floats, 0)),
                   [&](Value d, ValueRange carried) {
                     Values next(carried);
                     Value keyOffset = e.mul(d, 16 * elementBytes), queryAt = e.at(tile.query, e.mul(d, 4));
                     for (int g = 0; ahead && g < groups; ++g)
                       prefetchLines(e.at(address(g, keyOffset, 0), ahead), unroll * 16 * elementBytes);
                     for (int u = 0; u < unroll; ++u) {
                       auto key = [&](int g) {
                         return loadF32(floats, address(g, keyOffset, u * 16 * elementBytes), element);
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
    for (int g = 0; g < groups; ++g) {
      Value scales = hasScales ? scalesAt(address(g, e.cI64(0), keyScales())) : Value();
      for (int v = 0; v < count; ++v) {
        Value &sum = sums[v * groups + g];
        e.store(scales ? e.mulF(sum, scales) : sum, e.at(place(g), v * kScoreRow));
      }
    }
  };
  if (!chunk.groups) {
    int64_t step = most * 16, groupBytes = keyBytes * 16;
    Value begin = e.mul(e.divU(e.sub(chunk.keys.begin, chunk.begin), step), step),
          end = e.sub(chunk.keys.end, chunk.begin);
    e.forRange(begin, end, e.cI64(step), [&](Value offset) {
      Value key = e.add(chunk.begin, offset), base = keyAddress(key), to = e.at(scratch, e.mul(offset, 4));
      products(
          most, [&](int g, Value past, int64_t more) { return e.at(base, past, g * groupBytes + more); },
          bytesToNextPage(tile, e.divU(key, kPage)), [&](int g) { return e.at(to, g * 64); });
    });
    return;
  }
  Value done = e.cI64(0);
  for (int groups = most; groups > 0; groups /= 2) { // as many as there are, then fewer at a time
    Value left = e.sub(chunk.groupCount, done), end = e.add(done, e.sub(left, e.bitAnd(left, groups - 1)));
    e.forRange(done, end, e.cI64(groups), [&](Value i) {
      Values bases, places;
      for (int g = 0; g < groups; ++g) {
        Value index = e.extendS(e.load(e.i32(), e.at(chunk.groups, e.mul(e.add(i, g), 4))), e.i64());
        bases.push_back(keyAddress(e.add(chunk.begin, e.mul(index, 16))));
        places.push_back(e.at(scratch, e.mul(index, 64)));
      }
      products(
          groups, [&](int g, Value past, int64_t more) { return e.at(bases[g], past, more); }, Value(),
          [&](int g) { return places[g]; });
    });
    done = end;
  }
}

} // namespace heddle::cpu
