// Attention of what is selected: lists of pairs of rows and heads, and of keys.
#include "codegen/cpu/AttentionBuilder.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

static constexpr int64_t kPage = HEDDLE_PAGE_TOKENS, kChunk = HEDDLE_CHUNK_TOKENS;

Value AttentionBuilder::listPairs() {
  Value pairs = e.at(scratch, pairsOffset), first = e.mul(item.head, group);
  auto store = [&](Value row, Value head, Value count) -> Values {
    Value pair = e.at(pairs, e.mul(count, 8));
    e.store(i32(row), pair);
    e.store(i32(head), e.at(pair, 4));
    return {e.add(count, 1)};
  };
  auto skip = [&](Value row, Value head, Value count) -> Values {
    Value to = resultAddress(row, head);
    Value from = operands->skip ? e.at(operands->skip, e.mul(e.add(first, head), valueDim * 4)) : Value();
    if (!attention.isSplit()) {
      copyFloats(from, to, valueDim);
      return {count};
    }
    // The first chunk is the whole; the others hold nothing.
    Range own = ownChunks();
    e.forRange(own.begin, own.end, e.cI64(1), [&](Value number) {
      Value part = e.at(to, e.mul(number, (valueDim + 2) * 4)), isFirst = e.equal(number, e.cI64(0));
      copyFloats(from, part, valueDim);
      e.store(e.select(isFirst, e.cF32(1), e.cF32(0)), e.at(part, valueDim * 4));
      e.store(e.cF32(0), e.at(part, valueDim * 4 + 4));
    });
    return {count};
  };
  return e.forRange(e.cI64(0), item.rowCount, e.cI64(1), {e.cI64(0)}, [&](Value row, ValueRange carried) {
    Value bytes = e.at(operands->heads, e.add(e.mul(e.add(item.rowBegin, row), queryHeads), first));
    return e.forRange(e.cI64(0), e.cI64(group), e.cI64(1), carried, [&](Value head, ValueRange inner) {
      return e.ifValues(
          isSet(e, e.load(e.i8(), e.at(bytes, head))), [&] { return store(row, head, inner[0]); },
          [&] { return skip(row, head, inner[0]); });
    });
  })[0];
}

void AttentionBuilder::emitListedTiles(Value left) {
  Value pairs = e.at(scratch, pairsOffset);
  SmallVector<int> sizes{mostRows};
  for (int size : {6, 4, 3, 2, 1})
    if (size < mostRows)
      sizes.push_back(size);
  for (int size : sizes) {
    // Whole tiles of this size, then smaller ones.
    Value tiles = e.divU(left, size);
    e.forRange(e.cI64(0), tiles, e.cI64(1), [&](Value number) {
      Tile tile;
      tile.count = tile.rows = size;
      tile.heads = 1;
      tile.listed = true;
      tile.pairs = e.at(pairs, e.mul(number, size * 8));
      tile.query = e.at(scratch, queriesOffset);
      e.forRange(0, size, 1, [&](Value v) {
        Value head = e.add(e.mul(rowOf(tile, v), queryHeads), headOf(tile, v));
        Value from = e.at(item.query, e.mul(head, keyDim * 4)), to = e.at(tile.query, e.mul(v, keyDim * 4));
        copyFloats(from, to, keyDim);
      });
      emitTile(tile);
    });
    pairs = e.at(pairs, e.mul(tiles, size * 8));
    left = e.sub(left, e.mul(tiles, size));
  }
}

Value AttentionBuilder::selectedLanes(Value row, const Chunk &chunk, Value group) {
  Value key = e.add(chunk.begin, e.mul(group, 16));
  Value bytes = e.at(operands->selectedKeys, e.mul(e.add(item.rowBegin, row), keys->getShape()[1]));
  if (keys->getKind() == SelectionKind::Blocks) {
    Value block = e.load(e.i8(), e.at(bytes, e.divU(key, keys->getBlockTokens())));
    return e.select(isSet(e, block), e.constantInt(e.i16(), -1), e.constantInt(e.i16(), 0));
  }
  return e.bitcast(isSet(e, e.load(e.vec(e.i8(), kLanes), e.at(bytes, key))), e.i16());
}

/// Bits `begin` to `end` less one of 16; bounds outside are clamped. i32.
Value AttentionBuilder::bitsBetween(Value begin, Value end) {
  auto below = [&](Value bound) {
    Value bits = i32(clamp(bound, {e.cI64(0), e.cI64(16)}));
    return e.add(e.create<arith::ShLIOp>(e.cI32(1), bits), -1);
  };
  return e.create<arith::XOrIOp>(below(begin), below(end));
}

Values AttentionBuilder::listGroup(const Chunk &chunk, Value lanes, Value g, ValueRange counts) {
  Value keyList = e.at(scratch, keyListOffset), key = e.add(chunk.begin, e.mul(g, 16));
  e.store(i32(g), e.at(scratch, e.mul(counts[0], 4), groupListOffset));
  // Where the group's values lie, past the head's values at key 0 or in page 0.
  Value values = e.mul(key, valueRowBytes);
  if (cached)
    values = e.add(pageOffset(e.divU(key, kPage)), e.mul(e.bitAnd(key, kPage - 1), valueRowBytes));
  // Of the bits of `lanes` those from the tile's first key up to its last.
  Value inside = bitsBetween(e.sub(chunk.keys.begin, key), e.sub(chunk.keys.end, key));
  Value bits = both(e.extendU(lanes, e.i32()), inside), scores = e.mul(g, 64);
  Value end = e.add(counts[1], e.extendU(e.create<math::CtPopOp>(bits), e.i64()));
  e.forRange(counts[1], end, e.cI64(1), {bits}, [&](Value place, ValueRange left) -> Values {
    Value lane = e.extendU(e.create<math::CountTrailingZerosOp>(left[0]), e.i64());
    Value entry = e.at(keyList, e.mul(place, 16));
    e.store(e.add(values, e.mul(lane, valueRowBytes)), entry);
    e.store(e.add(scores, e.mul(lane, 4)), e.at(entry, 8));
    return {both(left[0], e.add(left[0], -1))};
  });
  return {e.add(counts[0], 1), end};
}

void AttentionBuilder::listKeys(const Tile &tile, Chunk &chunk) {
  // As many groups as a block has, which all are selected or none, where blocks divide a chunk.
  int64_t block = keys->getBlockTokens();
  int64_t unit = block > 16 && kChunk % block == 0 ? block / 16 : 1;
  Value first = e.divU(e.sub(chunk.keys.begin, chunk.begin), 16);
  Value end = e.divU(e.add(e.sub(chunk.keys.end, chunk.begin), 15), 16);
  Value isCommon =
      both(e.equal(chunk.common.begin, chunk.keys.begin), e.equal(chunk.common.end, chunk.keys.end));
  Values found =
      e.forRange(e.divU(first, unit), e.divU(e.add(end, unit - 1), unit), e.cI64(1),
                 {e.cI64(0), e.cI64(0), isCommon}, [&](Value number, ValueRange carried) -> Values {
                   Value start = e.mul(number, unit), lanes, all;
                   for (int r = 0; r < tile.rows; ++r) {
                     Value row = tile.listed ? rowOf(tile, e.cI64(r)) : e.add(tile.row, r);
                     Value selected = selectedLanes(row, chunk, start);
                     lanes = lanes ? either(lanes, selected) : selected;
                     all = all ? both(all, selected) : selected;
                   }
                   Values counts = e.ifValues(
                       isSet(e, lanes),
                       [&] {
                         return e.forRange(e.maxS(start, first), e.minS(e.add(start, unit), end), e.cI64(1),
                                           {carried[0], carried[1]}, [&](Value g, ValueRange inner) {
                                             return listGroup(chunk, lanes, g, inner);
                                           });
                       },
                       [&]() -> Values { return {carried[0], carried[1]}; });
                   return {counts[0], counts[1], both(carried[2], e.equal(all, lanes))};
                 });
  chunk.groups = e.at(scratch, groupListOffset);
  chunk.groupCount = found[0];
  keyCount = found[1];
  seenByAll = found[2];
}

} // namespace heddle::cpu
