#include "codegen/cpu/AttentionBuilder.h"
#include "codegen/AttentionItems.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

static constexpr int64_t kPage = HEDDLE_PAGE_TOKENS, kChunk = HEDDLE_CHUNK_TOKENS;
/// Stands for the weight of a key that a row cannot see. Weights are stored without a sign, NaN too, so the
/// sign tells the two apart.
static constexpr double kUnseen = -1;

static std::optional<SelectionType> typeOf(Value selection) {
  return selection ? std::optional(cast<SelectionType>(selection.getType())) : std::nullopt;
}

AttentionBuilder::AttentionBuilder(Emitter &e, AttentionOp op, const CpuKernelContext &context)
    : ScoreBuilder(e, op, context), attention(op), valueDim(op.valueDim()), heads(typeOf(op.headSelection())),
      keys(typeOf(op.keySelection())) {
  resultBytes = attention.isSplit() ? shapeOf(op.getType())[2] * (valueDim + 2) * 4 : valueDim * 4;
  valueRowBytes = valueDim * elementBytes * (cached || op.getKeySequences() ? 1 : kvHeads);
  for (tileHeads = std::min<int64_t>(group, mostRows); group % tileHeads != 0;)
    --tileHeads;
  tileRows = mostRows / tileHeads;
  if (keys)
    keyLimit = keys->getShape()[1] * keys->getBlockTokens();
  storesMasks = !mask.exact || keys;

  int tile = kLanes; // rows, and lanes that no row has
  maximaOffset = reserve(tile * 4);
  sumsOffset = reserve(tile * 4);
  oldFactorsOffset = reserve(tile * 4);
  newFactorsOffset = reserve(tile * 4);
  chunkMaximaOffset = reserve(tile * 4);
  chunkSumsOffset = reserve(tile * 4);
  visibleOffset = reserve(tile * 4);
  masksOffset = reserve(storesMasks ? kChunk / 16 * 2 : 0);
  outputsOffset = reserve(mostRows * valueDim * 4);
  if (op.getKeySequences())
    valuesOffset = reserve(maxKeys * valueRowBytes);
  if (heads) {
    pairsOffset = reserve(workRows() * group * 8);
    queriesOffset = reserve(mostRows * keyDim * 4);
  }
  if (keys) {
    groupListOffset = reserve(kChunk / 16 * 8);
    keyListOffset = reserve(kChunk * 16);
  }
}

int64_t AttentionBuilder::workRows() const {
  // Without a cache each record transposes the keys of its sequence, so it should hold all rows. With one,
  // several records share out a long prompt.
  int64_t rows = cached ? 48 : context.maxRows;
  return llvm::alignTo(rows, tileRows);
}

Value AttentionBuilder::resultAddress(Value row, Value head) {
  Value number = e.add(e.mul(e.add(item.rowBegin, row), queryHeads), e.add(e.mul(item.head, group), head));
  return e.at(operands->result, e.mul(number, resultBytes));
}

Value AttentionBuilder::valueBase() {
  if (cached)
    return e.at(operands->cache, e.mul(item.head, kPage * valueRowBytes), kvHeads * kPage * keyBytes);
  if (attention.getKeySequences())
    return e.at(scratch, valuesOffset);
  return e.at(e.at(operands->values, e.mul(item.firstRow, valueRowBytes)),
              e.mul(item.head, valueDim * elementBytes));
}

void AttentionBuilder::emitItem(const AttentionOperands &from, Value workCount, Value scratchAddress,
                                Value number) {
  scratch = scratchAddress;
  int64_t splits = attentionSplits(attention);
  split = e.create<arith::RemUIOp>(number, e.cI64(splits));
  number = e.divU(number, splits);
  beginRecord(from, workCount, e.divU(number, kvHeads));
  Value head = e.create<arith::RemUIOp>(number, e.cI64(kvHeads));
  if (heads) {
    // Keys of a head that no row needs are not even transposed.
    item.head = head;
    Value count = listPairs();
    e.ifThen(e.lessThan(e.cI64(0), count), [&] {
      beginHead(head);
      gatherValues();
      emitListedTiles(count);
    });
    return;
  }
  beginHead(head);
  gatherValues();
  // A tile of fewer rows serves records that are smaller than the full one. The last tile of a record ends
  // with it and computes some rows again, which changes nothing.
  SmallVector<int, 3> sizes{tileRows};
  if (tileRows > 4)
    sizes.push_back(4);
  if (tileRows > 1)
    sizes.push_back(1);
  e.forRange(0, group, tileHeads, [&](Value first) { emitTiles(sizes, first); });
}

/// Values of other sequences are brought together, in the order of their keys.
void AttentionBuilder::gatherValues() {
  if (!attention.getKeySequences())
    return;
  Value from = e.at(operands->values, e.mul(item.head, valueRowBytes)), to = e.at(scratch, valuesOffset);
  e.forRange(e.cI64(0), item.keyCount, e.cI64(1), [&](Value key) {
    Value row = e.extendS(e.load(e.i32(), e.at(scratch, e.mul(key, 4), keyRowsOffset)), e.i64());
    Value source = e.at(from, e.mul(row, kvHeads * valueRowBytes)),
          target = e.at(to, e.mul(key, valueRowBytes));
    copyFloats(source, target, valueDim);
  });
}

void AttentionBuilder::emitTiles(ArrayRef<int> sizes, Value head) {
  int rows = sizes.front();
  auto tiles = [&] {
    Value last = e.sub(item.rowCount, e.cI64(rows));
    e.forRange(e.cI64(0), item.rowCount, e.cI64(rows),
               [&](Value row) { emitDenseTile(rows, e.minS(row, last), head); });
  };
  if (sizes.size() == 1)
    return tiles();
  e.ifThenElse(e.lessThan(item.rowCount, e.cI64(rows)), [&] { emitTiles(sizes.drop_front(), head); }, tiles);
}

void AttentionBuilder::emitDenseTile(int rows, Value row, Value head) {
  Tile tile;
  tile.rows = rows;
  tile.heads = tileHeads;
  tile.count = rows * tileHeads;
  tile.row = row;
  tile.head = head;
  tile.query = e.at(item.query, e.mul(e.add(e.mul(row, queryHeads), head), keyDim * 4));
  emitTile(tile);
}

void AttentionBuilder::resetState(const Tile &tile) {
  e.forRange(0, tile.count, 1, [&](Value v) {
    Value at = e.at(scratch, e.mul(v, 4));
    e.store(e.cF32(-INFINITY), e.at(at, maximaOffset));
    e.store(e.cF32(0), e.at(at, sumsOffset));
  });
  e.forRange(0, tile.count * valueDim, kLanes, [&](Value i) { // the area is a whole number of vectors
    e.store(e.constant(floats, 0), e.at(scratch, e.mul(i, 4), outputsOffset));
  });
}

void AttentionBuilder::emitTile(Tile &tile) {
  emitSpans(tile);
  if (attention.isSplit()) {
    Range own = ownChunks();
    return e.forRange(own.begin, own.end, e.cI64(1), [&](Value number) {
      resetState(tile);
      atChunk(tile, number, [&](Chunk &chunk) { emitChunk(tile, chunk); });
      storeChunk(tile, number);
    });
  }
  resetState(tile);
  forChunks(tile, [&](Chunk &chunk) { emitChunk(tile, chunk); });
  finishTile(tile);
}

/// The chunks that this item works on: its share of those up to the record's last position.
AttentionBuilder::Range AttentionBuilder::ownChunks() {
  Value count = e.add(e.divU(e.add(item.position, e.add(item.rowCount, -1)), kChunk), 1);
  int64_t splits = attentionSplits(attention);
  return {e.divU(e.mul(split, count), splits), e.divU(e.mul(e.add(split, 1), count), splits)};
}

/// What a chunk came to, for `merge_chunks`.
void AttentionBuilder::storeChunk(const Tile &tile, Value number) {
  e.forRange(0, tile.count, 1, [&](Value v) {
    Value to = e.at(resultAddress(rowOf(tile, v), headOf(tile, v)), e.mul(number, (valueDim + 2) * 4)),
          from = e.at(scratch, e.mul(v, valueDim * 4), outputsOffset), state = e.at(scratch, e.mul(v, 4));
    copyFloats(from, to, valueDim);
    e.store(e.load(e.f32(), e.at(state, sumsOffset)), e.at(to, valueDim * 4));
    e.store(e.load(e.f32(), e.at(state, maximaOffset)), e.at(to, valueDim * 4 + 4));
  });
}

/// Copies `count` numbers; zeros where `from` is null.
void AttentionBuilder::copyFloats(Value from, Value to, int64_t count) {
  auto copy = [&](Value d, int width) {
    VectorType type = e.vec(e.f32(), width);
    e.store(from ? e.load(type, e.at(from, e.mul(d, 4))) : e.constant(type, 0), e.at(to, e.mul(d, 4)));
  };
  int64_t full = count / kLanes * kLanes;
  if (full > 0)
    e.forRange(0, full, kLanes, [&](Value d) { copy(d, kLanes); });
  if (full < count)
    copy(e.cI64(full), int(count - full));
}

void AttentionBuilder::emitChunk(const Tile &tile, Chunk &chunk) {
  auto attend = [&] {
    emitScores(tile, chunk);
    emitSoftmax(tile, chunk);
    emitValues(tile, chunk);
  };
  if (!keys)
    return attend();
  listKeys(tile, chunk);
  e.ifThen(e.lessThan(e.cI64(0), chunk.groupCount), attend);
}

Values AttentionBuilder::forGroups(const Chunk &chunk, ValueRange initial,
                                   function_ref<Values(Value, ValueRange)> body) {
  if (chunk.groups)
    return e.forRange(e.cI64(0), chunk.groupCount, e.cI64(1), initial, [&](Value i, ValueRange carried) {
      return body(e.extendS(e.load(e.i32(), e.at(chunk.groups, e.mul(i, 4))), e.i64()), carried);
    });
  Value first = e.divU(e.sub(chunk.keys.begin, chunk.begin), 16);
  Value end = e.divU(e.add(e.sub(chunk.keys.end, chunk.begin), 15), 16);
  return e.forRange(first, end, e.cI64(1), initial, body);
}

void AttentionBuilder::emitSoftmax(const Tile &tile, const Chunk &chunk) {
  SmallVector<int32_t> numbers;
  for (int i = 0; i < kLanes; ++i)
    numbers.push_back(i);
  Value lane = e.create<arith::ConstantOp>(DenseElementsAttr::get(ints, ArrayRef<int32_t>(numbers)));
  Type bits = e.i16();
  VectorType lanesMask = e.vec(e.getI1Type(), kLanes);
  RegionCode score(e, op.getScore(), operands->captured);
  std::optional<RegionCode> masks;
  if (!mask.exact)
    masks.emplace(e, op.getMask(), operands->captured);

  e.forRange(0, tile.count, 1, [&](Value v) {
    RegionRow row = regionRow(tile, v);
    SmallVector<Range> spans; // as numbers, and on all lanes
    SmallVector<Range> splats;
    for (size_t s = 0; s < mask.spans.size(); ++s) {
      spans.push_back(spanOf(v, s));
      splats.push_back({e.splat(i32(spans[s].begin), ints), e.splat(i32(spans[s].end), ints)});
    }
    Value scores = e.at(scratch, e.mul(v, kScoreRow));
    auto firstKey = [&](Value g) { return i32(e.add(chunk.begin, e.mul(g, 16))); };
    auto inSpans = [&](Value g) {
      Value key = e.add(e.splat(firstKey(g), ints), lane), any;
      for (const Range &span : splats) {
        Value from = e.create<arith::CmpIOp>(arith::CmpIPredicate::sge, key, span.begin);
        Value inside = both(from, e.create<arith::CmpIOp>(arith::CmpIPredicate::slt, key, span.end));
        any = any ? either(any, inside) : inside;
      }
      return any;
    };
    score.begin(row);
    if (masks)
      masks->begin(row);

    Value least = e.constant(floats, -INFINITY);
    Values found = forGroups(chunk, {least, e.constantInt(bits, 0)}, [&](Value g, ValueRange carried) {
      Value at = e.at(scores, e.mul(g, 64)), seenLanes = inSpans(g), any = carried[1];
      Value position = firstKey(g);
      if (!cached)
        position = e.add(position, i32(item.keyStart));
      Value dot = e.mulF(e.load(floats, at), e.constant(floats, op.getScale().convertToFloat()));
      Value result = score.emit(dot, position);
      if (masks)
        seenLanes = both(seenLanes, masks->emit(dot, position));
      if (storesMasks) {
        Value packed = e.bitcast(seenLanes, bits);
        if (keys) {
          packed = both(packed, selectedLanes(rowOf(tile, v), chunk, g));
          seenLanes = e.bitcast(packed, lanesMask);
        }
        e.store(packed, e.at(scratch, e.mul(g, 2), masksOffset));
        any = either(any, packed);
      }
      result = e.select(seenLanes, result, least);
      e.store(result, at);
      return Values{maxKeepingFirst(e, result, carried[0]), any};
    });
    Value chunkMaximum = e.maxLanes(found[0]), maxima = e.splat(chunkMaximum, floats), visible;
    if (storesMasks) {
      visible = e.create<arith::CmpIOp>(arith::CmpIPredicate::ne, found[1], e.constantInt(bits, 0));
    } else {
      for (const Range &span : spans) {
        Value some = e.lessThan(e.maxS(span.begin, chunk.keys.begin), e.minS(span.end, chunk.keys.end));
        visible = visible ? either(visible, some) : some;
      }
    }

    // Lanes that are not seen hold minus infinity, whose weight is 0.
    Values sums = forGroups(chunk, {e.constant(floats, 0)}, [&](Value g, ValueRange carried) {
      Value at = e.at(scores, e.mul(g, 64)), weight = expOfNegative(e, e.subF(e.load(floats, at), maxima));
      Value stored = weight;
      if (hasScales) // what the values' codes are multiplied by goes into their weights
        stored = e.mulF(weight, scalesAt(e.at(keyAddress(e.add(chunk.begin, e.mul(g, 16))), valueScales())));
      e.store(e.bitAnd(e.bitcast(stored, ints), 0x7fffffff), at);
      return Values{e.addF(carried[0], weight)};
    });
    // The values' sums must tell such keys from those whose weight is 0. With one span only groups at its
    // ends have any.
    auto markUnseen = [&](Value g) {
      Value at = e.at(scores, e.mul(g, 64));
      Value seenLanes = storesMasks
                            ? e.bitcast(e.load(bits, e.at(scratch, e.mul(g, 2), masksOffset)), lanesMask)
                            : inSpans(g);
      e.store(e.select(seenLanes, e.load(floats, at), e.constant(floats, kUnseen)), at);
    };
    if (storesMasks || spans.size() > 1) {
      forGroups(chunk, {}, [&](Value g, ValueRange) {
        markUnseen(g);
        return Values{};
      });
    } else {
      Value firstGroup = e.divU(e.sub(chunk.keys.begin, chunk.begin), 16);
      Value endGroup = e.divU(e.add(e.sub(chunk.keys.end, chunk.begin), 15), 16);
      auto groupOf = [&](Value key) {
        return clamp(e.divU(e.maxS(e.sub(key, chunk.begin), e.cI64(0)), 16), {firstGroup, endGroup});
      };
      Value fromEnd = groupOf(spans[0].end);
      e.forRange(firstGroup, e.minS(groupOf(e.add(spans[0].begin, 15)), fromEnd), e.cI64(1), markUnseen);
      e.forRange(fromEnd, endGroup, e.cI64(1), markUnseen);
    }
    Value own = e.at(scratch, e.mul(v, 4));
    e.store(e.sumPairs(sums[0]), e.at(own, chunkSumsOffset));
    e.store(chunkMaximum, e.at(own, chunkMaximaOffset));
    e.store(e.extendU(visible, e.i32()), e.at(own, visibleOffset));
  });
  mergeStates();
}

/// Adds the chunk to the state of all tile rows at once, one a lane. A chunk without a visible key leaves a
/// row's state as it is; its factor marks it for the outputs.
void AttentionBuilder::mergeStates() {
  static_assert(kLanes >= 12, "tile rows");
  auto at = [&](int64_t offset) { return e.at(scratch, offset); };
  ChunkSum old{e.load(floats, at(sumsOffset)), e.load(floats, at(maximaOffset))};
  ChunkSum next{e.load(floats, at(chunkSumsOffset)), e.load(floats, at(chunkMaximaOffset))};
  Value visible = isSet(e, e.load(ints, at(visibleOffset)));
  MergedSum merged = mergeChunk(e, old, next);
  e.store(e.select(visible, merged.total.maximum, old.maximum), at(maximaOffset));
  e.store(e.select(visible, merged.total.sum, old.sum), at(sumsOffset));
  e.store(merged.oldFactor, at(oldFactorsOffset));
  e.store(e.select(visible, merged.newFactor, e.constant(floats, kUnseen)), at(newFactorsOffset));
}

void AttentionBuilder::emitValues(const Tile &tile, const Chunk &chunk) {
  int vectors = std::max(1, accumulators / tile.count);
  vectors = int(std::min<int64_t>({vectors, 8, std::max<int64_t>(valueDim / kLanes, 1)}));
  int64_t step = vectors * kLanes, full = valueDim / step * step;
  if (full > 0)
    e.forRange(0, full, step, [&](Value d) { emitValueSlice(tile, chunk, d, vectors, kLanes); });
  int64_t rest = valueDim - full;
  if (rest >= kLanes)
    emitValueSlice(tile, chunk, e.cI64(full), int(rest / kLanes), kLanes);
  if (rest % kLanes != 0)
    emitValueSlice(tile, chunk, e.cI64(valueDim - rest % kLanes), 1, int(rest % kLanes));
}

Value AttentionBuilder::seen(Value weight) {
  Type bits =
      isa<VectorType>(weight.getType()) ? Type(cast<VectorType>(weight.getType()).clone(e.i32())) : e.i32();
  return e.create<arith::CmpIOp>(arith::CmpIPredicate::sge, e.bitcast(weight, bits), e.constantInt(bits, 0));
}

void AttentionBuilder::emitValueSlice(const Tile &tile, const Chunk &chunk, Value d, int vectors, int width) {
  int count = tile.count;
  VectorType type = e.vec(e.f32(), width);
  auto addKey = [&](Value from, Value weights, bool selects, ValueRange carried) {
    Values next(carried);
    auto value = [&](int i) { return loadF32(type, e.at(from, i * width * elementBytes), element); };
    auto weight = [&](int v) { return e.loadSplat(type, e.at(weights, v * kScoreRow)); };
    multiplyAll(count, vectors, weight, value, [&](int v, int i, Value w, Value x) {
      Value &sum = next[v * vectors + i];
      Value added = e.fma(w, x, sum);
      sum = selects ? e.select(seen(w), added, sum) : added;
    });
    return next;
  };
  // Keys of `range`, which lie at `base` + key * valueRowBytes.
  auto accumulate = [&](Value base, Value ahead, Range range, bool selects, ValueRange initial) {
    return e.forRange(range.begin, range.end, e.cI64(1), initial, [&](Value key, ValueRange carried) {
      Value from = e.at(base, e.mul(key, valueRowBytes));
      if (ahead)
        prefetchLines(e.at(from, ahead), vectors * width * elementBytes);
      return addKey(from, e.at(scratch, e.mul(e.sub(key, chunk.begin), 4)), selects, carried);
    });
  };
  // Ascending keys: those that some rows see, those that all see, again those that some see.
  auto segment = [&](Value base, Value ahead, Range range, ValueRange initial) {
    Value commonBegin = clamp(chunk.common.begin, range), commonEnd = clamp(chunk.common.end, range);
    Values sums = accumulate(base, ahead, {range.begin, commonBegin}, true, initial);
    sums = accumulate(base, ahead, {commonBegin, commonEnd}, false, sums);
    return accumulate(base, ahead, {commonEnd, range.end}, true, sums);
  };
  Value first = e.at(valueBase(), e.mul(d, elementBytes));
  Values sums(count * vectors, e.constant(type, 0));
  if (keys) {
    auto listed = [&](bool selects) {
      return e.forRange(e.cI64(0), keyCount, e.cI64(1), sums, [&](Value i, ValueRange carried) {
        Value entry = e.at(scratch, e.mul(i, 16), keyListOffset);
        return addKey(e.at(first, e.load(e.i64(), entry)), e.at(scratch, e.load(e.i64(), e.at(entry, 8))),
                      selects, carried);
      });
    };
    sums = e.ifValues(seenByAll, [&] { return listed(false); }, [&] { return listed(true); });
  } else if (cached) {
    Value endPage = e.divU(e.add(chunk.keys.end, kPage - 1), kPage);
    sums = e.forRange(
        e.divU(chunk.keys.begin, kPage), endPage, e.cI64(1), sums, [&](Value page, ValueRange carried) {
          Value start = e.mul(page, kPage);
          Value base = e.at(first, e.sub(pageOffset(page), e.mul(start, valueRowBytes)));
          return segment(base, bytesToNextPage(tile, page),
                         {e.maxS(start, chunk.keys.begin), e.minS(e.add(start, kPage), chunk.keys.end)},
                         carried);
        });
  } else {
    sums = segment(first, Value(), chunk.keys, sums);
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
  e.forRange(0, tile.count, 1, [&](Value v) {
    Value to = resultAddress(rowOf(tile, v), headOf(tile, v)),
          from = e.at(scratch, e.mul(v, valueDim * 4), outputsOffset);
    Value sum = e.load(e.f32(), e.at(scratch, e.mul(v, 4), sumsOffset));
    Value factor = inverseSum(e, sum);
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
