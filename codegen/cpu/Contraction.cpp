#include "codegen/cpu/Contraction.h"
#include "codegen/cpu/ContractionPlan.h"
#include "codegen/cpu/ContractionTiles.h"
#include "codegen/cpu/ContractionWeights.h"
#include "heddle/program.h"
#include "ir/ActivationLayout.h"

namespace heddle::cpu {

/// How far ahead packed weights are fetched into the second-level cache, which has room for more misses in
/// flight than the first. Hardware prefetchers stop at pages of 4 KiB, huge pages or not. On Sapphire Rapids,
/// shares of a pure read in matrix-vector products out of 300 MB, 8 KiB ahead into the first and 16 into the
/// second: Q8_0 93 and 98 %, Q4_K 63 and 87 %.
static constexpr int64_t kPrefetchBytes = 16384;

Value EpilogueContext::loadF32(Value base, int64_t rowStride) {
  Value element = rowStride == 0 ? column : e.add(e.mul(row, rowStride), column);
  Value address = e.at(base, e.mul(element, 4));
  return mask ? e.loadMasked(e.vecF32(), address, mask, e.vecConst(0)) : e.load(e.vecF32(), address, 4);
}

void storeColumns(Emitter &e, const ContractionSpec &spec, Value output, llvm::ArrayRef<Value> operands,
                  Value row, Value column, ValueRange accumulators) {
  const int64_t stride = spec.outputStride ? spec.outputStride : spec.rows;
  Value mask;
  if (spec.rows % kGroup != 0)
    mask = e.firstLanes(e.sub(e.cI64(spec.rows), column), e.lanes);
  EpilogueContext context{e, row, column, operands, mask};
  Value result = spec.epilogue ? spec.epilogue(context, accumulators) : accumulators[0];
  Value address = e.at(output, e.mul(e.add(e.mul(row, stride), column), 4));
  if (mask)
    e.storeMasked(result, address, mask);
  else
    e.store(result, address, 4);
}

std::string checkContraction(const ContractionSpec &spec) {
  if (spec.rows <= 0 || spec.columns <= 0 || spec.maxRows <= 0)
    return "expected positive sizes";
  if (spec.weights.empty() || spec.weights.size() > 2)
    return "expected one or two weight matrices, but found " + std::to_string(spec.weights.size());
  if (spec.weights.size() == 2 && !spec.epilogue)
    return "expected an epilogue that joins two weight matrices";
  for (StorageFormat format : spec.weights) {
    const FormatInfo &info = formatInfo(format);
    if (info.scheme.has_value() != (spec.planes != 0 || spec.tiles))
      return "expected " +
             std::string(spec.planes || spec.tiles ? "a block format with quantized"
                                                   : "a dense format with f32") +
             " activations, but found '" + std::string(info.name) + "'";
    if (spec.columns % info.blockElements != 0)
      return "expected rows of whole blocks of " + std::to_string(info.blockElements) + " for '" +
             std::string(info.name) + "', but found " + std::to_string(spec.columns) + " columns";
  }
  return "";
}

namespace {

class Generator {
public:
  Generator(Emitter &e, const ContractionSpec &spec)
      : e(e), spec(spec), plan(e.level, spec), activation{spec.columns, spec.planes} {}

  void emit(const KernelArguments &arguments);

private:
  struct Row {
    Value index; // of the input
    Value input; // address
    Value corrections;
    Value valid; // i1; null when always
    Value wide;  // activations as s16; null when no panel needs them
  };
  /// Weights of a chunk: how to get its vectors.
  struct ChunkSource {
    llvm::function_ref<Value(int quad, int vector)> codes; // pairs of s16 when wide
    llvm::function_ref<Value(int sub, int vector)> scale, negativeMinimum;
    bool wide;
    bool nibblePairs; // quads j and j + 4 of a run come from one load: take them together, so that it lives
                      // shortly
  };
  /// A vector of output columns: its row group and half.
  struct Place {
    Value group;
    Half half;
  };

  void emitQuantized();
  void emitDense();
  void prefetchChunk(const Product &product, Value block, Value chunk);
  Value widePair(Value codes, int pair, int zero);
  void widenActivations();
  void prepareCorrections();
  void prepareCorrection(const Product &product);
  void expandPanel(const Panel &panel, int index, Value unit, int width);
  void panelTile(Value unit, Value firstRow, int rowCount, int width);
  void unpackTile(Value group, Value firstRow, int rows);
  Values unpackProduct(size_t product, llvm::ArrayRef<Row> rows, llvm::ArrayRef<Place> places);
  void accumulate(const Product &product, llvm::ArrayRef<Row> rows, Value k, int elements, int vectors,
                  const ChunkSource &source, Values &sums);
  void denseTile(llvm::ArrayRef<Place> places, Value firstRow, int rows);
  void storeTile(llvm::ArrayRef<Row> rows, llvm::ArrayRef<Place> places, llvm::ArrayRef<Values> sums);

  Row rowAt(Value index);
  /// `count` rows that follow each other: constant offsets from the first, which leaves address registers
  /// free.
  llvm::SmallVector<Row> rowsFrom(Value first, int count);
  /// A unit is the columns of one panel or dense tile, named by its first row group (or half a group).
  Place placeInUnit(Value unit, int vector);
  /// Calls `tile` if some of `count` rows from `first` on needs results of `groups` row groups from `group`
  /// on.
  void ifNeeded(Value first, int count, Value group, int64_t groups, llvm::function_ref<void()> tile);
  /// Calls `body` for the input's elements in steps of `step` (an index of `scale` for each), without those
  /// of heads that none of `count` rows from `first` on needs.
  Values forInputs(Value first, int count, int64_t step, int64_t scale, ValueRange initial,
                   llvm::function_ref<Values(Value index, ValueRange carried)> body);
  /// i1: some of `count` rows from `first` on selects `head`.
  Value isSelected(Value first, int count, Value head);
  /// Elements of a head of the inputs; 0 when no inputs are left out.
  int64_t inputHeadWidth() const {
    return spec.selection && spec.selection->ofInputs ? spec.columns / spec.selection->heads : 0;
  }
  /// Covers [0, m) with tiles of the given row counts, largest first.
  void coverRows(llvm::ArrayRef<int> counts, llvm::function_ref<void(Value first, int count)> tile);
  /// Calls `body` for units of each width (vectors per matrix, descending), and `rest` for groups that no
  /// unit takes.
  void forUnits(llvm::ArrayRef<int> widths, llvm::function_ref<void(Value unit, int width)> body,
                llvm::function_ref<void(Value group)> rest);

  Emitter &e;
  const ContractionSpec &spec;
  const ContractionPlan plan;
  const ActivationLayout activation;
  static constexpr int kInverseBits = 20;
  Value output, input, scratch, begin, end, m;
  Value inverseRows; // of dense weights: 2^kInverseBits / m, or 0 for many rows
  Values weights, epilogueOperands;
};

void Generator::emit(const KernelArguments &arguments) {
  output = e.operand(arguments, 0);
  input = e.operand(arguments, 1);
  int next = 2;
  for (size_t p = 0; p < spec.weights.size(); ++p)
    weights.push_back(e.operand(arguments, next++));
  for (int i = 0; i < spec.epilogueOperands; ++i)
    epilogueOperands.push_back(e.operand(arguments, next++));
  scratch = arguments.scratch;
  begin = arguments.begin;
  end = arguments.end;
  m = e.dimension(arguments, spec.rowDimension);
  if (spec.planes == 0)
    emitDense();
  else
    emitQuantized();
}

Generator::Row Generator::rowAt(Value index) {
  if (spec.planes == 0) {
    int64_t stride = spec.inputStride ? spec.inputStride : spec.columns;
    return {index, e.at(input, e.mul(index, stride * 4)), {}, {}, {}};
  }
  return {index,
          e.at(input, e.mul(index, activation.stride())),
          e.at(scratch, e.mul(index, plan.correctionStride)),
          {},
          plan.wideRows ? e.at(scratch, e.mul(index, plan.wideStride), plan.wideRows) : Value()};
}

llvm::SmallVector<Generator::Row> Generator::rowsFrom(Value first, int count) {
  const int64_t dense = (spec.inputStride ? spec.inputStride : spec.columns) * 4;
  const int64_t stride = spec.planes == 0 ? dense : activation.stride();
  llvm::SmallVector<Row> rows = {rowAt(first)};
  for (int i = 1; i < count; ++i)
    rows.push_back({e.add(first, i),
                    e.at(rows[0].input, i * stride),
                    spec.planes ? e.at(rows[0].corrections, i * plan.correctionStride) : Value(),
                    {},
                    {}});
  return rows;
}

Generator::Place Generator::placeInUnit(Value unit, int vector) {
  const int perGroup = kGroup / e.lanes;
  if (plan.unitColumns < kGroup) // with 8 lanes and two matrices: half a group
    return {e.shiftRightU(unit, 1), {0, e.bitAnd(unit, 1)}};
  return {e.add(unit, vector / perGroup), {vector % perGroup, {}}};
}

void Generator::coverRows(llvm::ArrayRef<int> counts, llvm::function_ref<void(Value, int)> tile) {
  Value first = e.cI64(0);
  for (int count : counts) {
    Value last = e.add(first, e.mul(e.divU(e.sub(m, first), count), count));
    e.forRange(first, last, e.cI64(count), [&](Value row) { tile(row, count); });
    first = last;
  }
}

Value Generator::isSelected(Value first, int count, Value head) {
  Value any, last = e.sub(m, e.cI64(1));
  for (int i = 0; i < count; ++i) {
    Value row = i ? e.minS(e.add(first, i), last) : first;
    Value at = e.at(epilogueOperands[spec.selection->operand], e.mul(row, spec.selection->heads));
    Value byte = e.load(e.i8(), e.at(at, head));
    any = any ? e.create<mlir::arith::OrIOp>(any, byte).getResult() : byte;
  }
  return e.create<mlir::arith::CmpIOp>(mlir::arith::CmpIPredicate::ne, any, e.constantInt(e.i8(), 0));
}

void Generator::ifNeeded(Value first, int count, Value group, int64_t groups,
                         llvm::function_ref<void()> tile) {
  // Heads of whole row groups: a group belongs to one.
  const int64_t width = spec.selection && !spec.selection->ofInputs ? spec.rows / spec.selection->heads : 0;
  if (width == 0 || width % kGroup != 0)
    return tile();
  Value needed;
  for (int64_t i = 0; i < groups; ++i) {
    Value selected = isSelected(first, count, e.divU(e.add(group, i), width / kGroup));
    needed = needed ? e.create<mlir::arith::OrIOp>(needed, selected).getResult() : selected;
  }
  e.ifThen(needed, tile);
}

Values Generator::forInputs(Value first, int count, int64_t step, int64_t scale, ValueRange initial,
                            llvm::function_ref<Values(Value, ValueRange)> body) {
  const int64_t width = inputHeadWidth();
  if (width == 0 || width % step != 0)
    return e.forRange(e.cI64(0), e.cI64(spec.columns / step * scale), e.cI64(scale), initial, body);
  const int64_t perHead = width / step * scale;
  return e.forRange(
      e.cI64(0), e.cI64(spec.selection->heads), e.cI64(1), initial, [&](Value head, ValueRange carried) {
        auto ofHead = [&] {
          Value begin = e.mul(head, perHead);
          return e.forRange(begin, e.add(begin, perHead), e.cI64(scale), carried, body);
        };
        return e.ifValues(isSelected(first, count, head), ofHead, [&] { return Values(carried); });
      });
}

void Generator::forUnits(llvm::ArrayRef<int> widths, llvm::function_ref<void(Value, int)> body,
                         llvm::function_ref<void(Value)> rest) {
  if (plan.unitColumns < kGroup) {
    e.forRange(e.mul(begin, 2), e.mul(end, 2), e.cI64(1), [&](Value unit) { body(unit, widths[0]); });
    return;
  }
  Value first = begin;
  for (int width : widths) {
    const int64_t groups = width * e.lanes / kGroup;
    Value last = e.add(first, e.mul(e.divU(e.sub(end, first), groups), groups));
    e.forRange(first, last, e.cI64(groups), [&](Value unit) { body(unit, width); });
    first = last;
  }
  e.forRange(first, end, e.cI64(1), rest);
}

// Quantized activations
// ---------------------------------------------------------------------------------------------

void Generator::prepareCorrections() {
  llvm::SmallVector<int64_t> done;
  for (const Product &product : plan.products) {
    if (product.correction == Correction::None || product.inActivation ||
        llvm::is_contained(done, product.correctionOffset))
      continue;
    done.push_back(product.correctionOffset);
    prepareCorrection(product);
  }
}

void Generator::prepareCorrection(const Product &product) {
  const BlockScheme &scheme = product.layout.scheme;
  const int64_t count = spec.columns / scheme.sub;
  // The sums are per 16 elements; two make those of a sub-block of 32.
  auto convert = [&](Value row, Value from, Value to, Value block, int width) {
    auto element = [&](Type type) -> Type { return width == 1 ? type : Type(e.vec(type, width)); };
    Value sum;
    if (scheme.sub == 16) {
      sum = e.load(element(e.i32()), e.at(from, e.mul(block, 4)), 4);
    } else {
      Value pair = e.load(element(e.i64()), e.at(from, e.mul(block, 8)), 4);
      sum = e.add(e.truncate(pair, e.i32()), e.truncate(e.shiftRightU(pair, 32), e.i32()));
    }
    Value result = sum;
    if (product.correction == Correction::Start) {
      result = e.mul(sum, -scheme.zero);
    } else {
      Value scale = e.load(element(e.f32()), e.at(e.at(row, activation.scale()), e.mul(block, 4)), 4);
      result = e.mulF(scale, e.toF32(sum));
    }
    e.store(result, e.at(to, e.mul(block, 4)), 4);
  };
  const int64_t whole = count / 8 * 8;
  e.forRange(e.cI64(0), m, e.cI64(1), [&](Value index) {
    Row row = rowAt(index);
    Value from = e.at(row.input, activation.isum()), to = e.at(row.corrections, product.correctionOffset);
    if (whole)
      e.forRange(0, whole, 8, [&](Value block) { convert(row.input, from, to, block, 8); });
    if (whole != count)
      e.forRange(whole, count, 1, [&](Value block) { convert(row.input, from, to, block, 1); });
  });
}

void Generator::accumulate(const Product &product, llvm::ArrayRef<Row> rows, Value k, int elements,
                           int vectors, const ChunkSource &source, Values &sums) {
  const BlockScheme &scheme = product.layout.scheme;
  const int bits = source.wide ? 16 : product.layout.codeBits(),
            quadsPerSub = scheme.sub / (source.wide ? 2 : 4);
  const bool twoPlanes = spec.planes == 2 && !source.wide;
  // A lone tile needs a second chain of dot products to hide their latency; more planes, rows or vectors are
  // chains.
  const bool twoChains = !twoPlanes && rows.size() * vectors == 1 && quadsPerSub == 8 && e.level.vnni;

  Value scaleOffset = e.shiftRightU(k, 3);                                // k / 32 * 4
  Value subOffset = scheme.sub == 32 ? scaleOffset : e.shiftRightU(k, 2); // k / sub * 4
  llvm::SmallVector<Value> codes, high, low, scales, corrections;
  for (const Row &row : rows) {
    high.push_back(source.wide ? e.at(row.wide, e.mul(k, 2)) : e.at(row.input, k));
    if (twoPlanes)
      low.push_back(e.at(row.input, k, activation.low()));
    scales.push_back(e.at(row.input, scaleOffset, activation.scale()));
    Value base = product.inActivation ? row.input : row.corrections;
    if (product.correction != Correction::None)
      corrections.push_back(e.at(base, subOffset, product.correctionOffset));
  }
  for (int sub = 0; sub < elements / scheme.sub; ++sub) {
    // The plane that counts once starts at the correction; the high plane of two, or the second chain, at
    // zero.
    llvm::SmallVector<DotSum> first, second;
    for (size_t r = 0; r < rows.size(); ++r) {
      Value start;
      if (product.correction == Correction::Start && !source.wide)
        start = e.loadSplat(e.vecI32(), e.at(corrections[r], sub * 4));
      for (int v = 0; v < vectors; ++v) {
        first.emplace_back(e, bits, start);
        second.emplace_back(e, bits);
      }
    }
    for (int q = 0; q < quadsPerSub; ++q) {
      const int quad = sub * quadsPerSub + (source.nibblePairs ? q / 2 + q % 2 * 4 : q);
      codes.clear();
      for (int v = 0; v < vectors; ++v)
        codes.push_back(source.codes(quad, v));
      for (size_t r = 0; r < rows.size(); ++r) {
        Value x = e.loadSplat(e.vecI32(), e.at(twoPlanes ? low[r] : high[r], quad * 4));
        Value xHigh = twoPlanes ? e.loadSplat(e.vecI32(), e.at(high[r], quad * 4)) : Value();
        for (int v = 0; v < vectors; ++v) {
          const size_t cell = r * vectors + v;
          (twoChains && q % 2 ? second : first)[cell].add({codes[v], x});
          if (twoPlanes)
            second[cell].add({codes[v], xHigh});
        }
      }
    }
    llvm::SmallVector<Value> weightScales, minimums;
    for (int v = 0; v < vectors; ++v) {
      weightScales.push_back(source.scale(sub, v));
      if (scheme.hasMin)
        minimums.push_back(source.negativeMinimum(sub, v));
    }
    for (size_t r = 0; r < rows.size(); ++r) {
      Value scale = e.loadSplat(e.vecF32(), e.at(scales[r], sub * scheme.sub / 32 * 4));
      Value sumX;
      if (scheme.hasMin)
        sumX = e.loadSplat(e.vecF32(), e.at(corrections[r], sub * 4));
      for (int v = 0; v < vectors; ++v) {
        const size_t cell = r * vectors + v;
        Value dot = first[cell].total();
        if (twoPlanes)
          dot = e.add(e.shiftLeft(second[cell].total(), 8), dot);
        else if (twoChains)
          dot = e.add(dot, second[cell].total());
        sums[cell] = e.fma(e.toF32(dot), e.mulF(weightScales[v], scale), sums[cell]);
        if (scheme.hasMin)
          sums[cell] = e.fma(minimums[v], sumX, sums[cell]);
      }
    }
  }
}

/// The share of one chunk in reading ahead.
void Generator::prefetchChunk(const Product &product, Value block, Value chunk) {
  const PackedLayout &layout = product.layout;
  const int64_t bytes = layout.bytes() * layout.chunk() / layout.scheme.super;
  // Where columns are left out, the same ones of a later row group: those will be read.
  const bool leavesOut = spec.selection && spec.selection->ofInputs;
  Value ahead =
      e.at(block, leavesOut ? int64_t(llvm::alignTo(kPrefetchBytes, product.groupBytes)) : kPrefetchBytes);
  if (chunk)
    ahead = e.at(ahead, e.mul(chunk, bytes));
  for (int64_t line = 0; line < bytes; line += 64)
    e.prefetch(e.at(ahead, line), 2);
}

/// Bytes 2 * pair and 2 * pair + 1 of every dword as s16, less the zero point.
Value Generator::widePair(Value codes, int pair, int zero) {
  Value low = e.bitAnd(e.shiftRightU(codes, pair * 16), 0xff);
  Value high = e.bitAnd(pair ? e.shiftRightU(codes, 8) : e.shiftLeft(codes, 8), 0xff0000);
  auto halves = e.vec(e.i16(), e.lanes * 2);
  Value both = e.bitcast(e.create<mlir::arith::OrIOp>(low, high), halves);
  return zero ? e.bitcast(e.sub(both, e.constantInt(halves, zero)), e.vecI32()) : e.bitcast(both, e.vecI32());
}

/// Activations of all rows as s16.
void Generator::widenActivations() {
  e.forRange(e.cI64(0), m, e.cI64(1), [&](Value index) {
    Row row = rowAt(index);
    e.forRange(0, spec.columns, 16, [&](Value k) {
      auto plane = [&](int64_t offset) {
        return e.extendS(e.load(e.vec(e.i8(), 16), e.at(row.input, k, offset), 16), e.i16());
      };
      Value codes = plane(0);
      if (spec.planes == 2)
        codes = e.add(e.shiftLeft(codes, 8), plane(activation.low()));
      e.store(codes, e.at(row.wide, e.mul(k, 2)), 32);
    });
  });
}

/// Expands matrix `index` of the panel.
void Generator::expandPanel(const Panel &panel, int index, Value unit, int width) {
  const Product &product = plan.products[panel.products[index]];
  const PackedLayout &layout = product.layout;
  const BlockScheme &scheme = layout.scheme;
  const int vectors = width * int(panel.products.size()), chunk = layout.chunk(),
            perDword = panel.wide ? 2 : 4;
  const int64_t vectorBytes = e.lanes * 4;
  for (int v = index * width; v < (index + 1) * width; ++v) {
    Place place = placeInUnit(unit, v % width);
    Value group = e.at(weights[panel.products[index]], e.mul(place.group, product.groupBytes));
    e.forRange(0, spec.columns / scheme.super, 1, [&](Value super) {
      Value block = e.at(group, e.mul(super, layout.bytes()));
      Value superScale = superFactor(e, block, layout.scale(), place.half);
      Value superMinimum = scheme.hasMin ? superFactor(e, block, layout.minimum(), place.half) : Value();
      auto expandChunk = [&](Value number) {
        prefetchChunk(product, block, number);
        PackedChunk packed(e, layout, block, number, place.half);
        Value k = e.mul(super, scheme.super);
        if (number)
          k = e.add(k, e.mul(number, chunk));
        Value codes =
            e.at(scratch, e.mul(k, vectors * vectorBytes / perDword), panel.codes + v * vectorBytes);
        for (int quad = 0; quad < chunk / 4; ++quad)
          if (panel.wide)
            for (int pair = 0; pair < 2; ++pair)
              e.store(widePair(packed.codes(quad), pair, scheme.zero),
                      e.at(codes, (quad * 2 + pair) * vectors * vectorBytes), 32);
          else
            e.store(packed.codes(quad), e.at(codes, quad * vectors * vectorBytes), 32);
        Value subOffset = e.mul(e.divU(k, scheme.sub), vectors * vectorBytes);
        for (int sub = 0; sub < chunk / scheme.sub; ++sub) {
          const int64_t offset = (sub * vectors + v) * vectorBytes;
          e.store(packed.scale(sub, superScale), e.at(scratch, subOffset, panel.scales + offset), 32);
          if (scheme.hasMin)
            e.store(packed.negativeMinimum(sub, superMinimum),
                    e.at(scratch, subOffset, panel.minimums + offset), 32);
        }
      };
      if (scheme.super == chunk)
        expandChunk({});
      else
        e.forRange(0, scheme.super / chunk, 1, expandChunk);
    });
  }
}

void Generator::panelTile(Value unit, Value firstRow, int rowCount, int width) {
  const int64_t vectorBytes = e.lanes * 4;
  llvm::SmallVector<Row> rows;
  for (int i = 0; i < rowCount; ++i) { // rows past the end repeat the last one and are not stored
    Value index = e.add(firstRow, i);
    Row row = rowAt(i ? e.minS(index, e.sub(m, e.cI64(1))) : index);
    row.valid = i ? e.lessThan(index, m) : Value();
    rows.push_back(row);
  }
  const size_t cells = rowCount * width;
  Values zero(cells * plan.products.size(), e.vecConst(0));
  Values all = forInputs(firstRow, rowCount, 32, 32, zero, [&](Value k, ValueRange carried) {
    Values next;
    for (const Panel &panel : plan.panels) {
      const Product &product = plan.products[panel.products[0]];
      const int vectors = width * int(panel.products.size());
      Value codes = e.at(scratch, e.mul(k, vectors * vectorBytes / (panel.wide ? 2 : 4)), panel.codes);
      Value subOffset = e.mul(k, vectors * vectorBytes / product.layout.scheme.sub);
      auto part = [&](int64_t base, int index, int v) {
        return e.load(e.vecF32(), e.at(scratch, subOffset, base + (index * vectors + v) * vectorBytes), 32);
      };
      auto loadCodes = [&](int quad, int v) {
        return e.load(e.vecI32(), e.at(codes, (quad * vectors + v) * vectorBytes), 32);
      };
      auto loadScale = [&](int sub, int v) { return part(panel.scales, sub, v); };
      auto loadMinimum = [&](int sub, int v) { return part(panel.minimums, sub, v); };
      Values sums(carried.slice(next.size(), rowCount * vectors));
      accumulate(product, rows, k, 32, vectors, {loadCodes, loadScale, loadMinimum, panel.wide, false}, sums);
      next.append(sums);
    }
    return next;
  });
  llvm::SmallVector<Place> places;
  for (int v = 0; v < width; ++v)
    places.push_back(placeInUnit(unit, v));
  llvm::SmallVector<Values> sums(plan.products.size());
  size_t first = 0;
  for (const Panel &panel : plan.panels) {
    const int vectors = width * int(panel.products.size());
    for (int cell = 0; cell < rowCount * vectors; ++cell)
      sums[panel.products[cell % vectors / width]].push_back(all[first + cell]);
    first += rowCount * vectors;
  }
  storeTile(rows, places, sums);
}

Values Generator::unpackProduct(size_t index, llvm::ArrayRef<Row> rows, llvm::ArrayRef<Place> places) {
  const Product &product = plan.products[index];
  const PackedLayout &layout = product.layout;
  const BlockScheme &scheme = layout.scheme;
  const int vectors = places.size(), chunk = layout.chunk();
  Value group = e.at(weights[index], e.mul(places[0].group, product.groupBytes));
  Values zero(rows.size() * vectors, e.vecConst(0));
  const int64_t headWidth = inputHeadWidth();
  const bool skipsChunks = headWidth != 0 && headWidth < scheme.super && headWidth % chunk == 0;
  return forInputs(
      rows[0].index, int(rows.size()), scheme.super, 1, zero, [&](Value super, ValueRange carried) {
        Value block = e.at(group, e.mul(super, layout.bytes()));
        llvm::SmallVector<Value> superScales, superMinimums;
        for (const Place &place : places) {
          superScales.push_back(superFactor(e, block, layout.scale(), place.half));
          if (scheme.hasMin)
            superMinimums.push_back(superFactor(e, block, layout.minimum(), place.half));
        }
        auto addChunk = [&](Value number, ValueRange carried) {
          prefetchChunk(product, block, number);
          llvm::SmallVector<PackedChunk> packed;
          for (const Place &place : places)
            packed.emplace_back(e, layout, block, number, place.half);
          Value k = e.mul(super, scheme.super);
          if (number)
            k = e.add(k, e.mul(number, chunk));
          Values sums(carried);
          accumulate(product, rows, k, chunk, vectors,
                     {[&](int quad, int v) { return packed[v].codes(quad); },
                      [&](int sub, int v) { return packed[v].scale(sub, superScales[v]); },
                      [&](int sub, int v) { return packed[v].negativeMinimum(sub, superMinimums[v]); }, false,
                      scheme.lowBits == 4 && scheme.sub == 32},
                     sums);
          return sums;
        };
        if (scheme.super == chunk)
          return addChunk({}, carried);
        auto chunkIfSelected = [&](Value number, ValueRange carried) {
          if (!skipsChunks)
            return addChunk(number, carried);
          Value head = e.divU(e.add(e.mul(super, scheme.super), e.mul(number, chunk)), headWidth);
          return e.ifValues(
              isSelected(rows[0].index, int(rows.size()), head), [&] { return addChunk(number, carried); },
              [&] { return Values(carried); });
        };
        return e.forRange(e.cI64(0), e.cI64(scheme.super / chunk), e.cI64(1), carried, chunkIfSelected);
      });
}

void Generator::unpackTile(Value group, Value firstRow, int rowCount) {
  llvm::SmallVector<Row> rows = rowsFrom(firstRow, rowCount);
  llvm::SmallVector<Place> places;
  for (int half = 0; half < kGroup / e.lanes; ++half)
    places.push_back({group, {half, {}}});
  llvm::SmallVector<Values> sums;
  for (size_t p = 0; p < plan.products.size(); ++p)
    sums.push_back(unpackProduct(p, rows, places));
  storeTile(rows, places, sums);
}

void Generator::emitQuantized() {
  prepareCorrections();
  auto unpackGroup = [&](Value group) {
    coverRows(plan.tiling.unpackRows, [&](Value row, int count) {
      ifNeeded(row, count, group, 1, [&] { unpackTile(group, row, count); });
    });
  };
  if (spec.maxRows < plan.tiling.panelFrom) {
    e.forRange(begin, end, e.cI64(1), unpackGroup);
    return;
  }
  auto panels = [&](Value unit, int width) {
    for (const Panel &panel : plan.panels)
      for (size_t p = 0; p < panel.products.size(); ++p)
        expandPanel(panel, p, unit, width);
    const int rows = width == plan.vectorsPerProduct ? plan.tiling.panelRows : plan.tiling.narrowRows;
    e.forRange(e.cI64(0), m, e.cI64(rows), [&](Value row) {
      ifNeeded(row, rows, placeInUnit(unit, 0).group, std::max<int64_t>(1, width * e.lanes / kGroup),
               [&] { panelTile(unit, row, rows, width); });
    });
  };
  // A worker's share may end inside a whole panel: half of one serves what is left, before single groups do.
  llvm::SmallVector<int> widths = {plan.vectorsPerProduct};
  if (plan.unitColumns >= 2 * kGroup)
    widths.push_back(plan.vectorsPerProduct / 2);
  e.ifThenElse(
      e.lessThan(m, e.cI64(plan.tiling.panelFrom)), [&] { e.forRange(begin, end, e.cI64(1), unpackGroup); },
      [&] {
        if (plan.wideRows)
          widenActivations();
        forUnits(widths, panels, unpackGroup);
      });
}

// Dense weights
// -----------------------------------------------------------------------------------------------------

void Generator::denseTile(llvm::ArrayRef<Place> places, Value firstRow, int rowCount) {
  llvm::SmallVector<Row> rows = rowsFrom(firstRow, rowCount);
  // Vectors of all matrices side by side: they share the broadcast of an input element.
  struct Vector {
    StorageFormat format;
    Value base;        // of its matrix at the unit's first row group
    int64_t offset;    // from there
    int64_t stride;    // bytes between elements k and k + 1
    Value scales = {}; // of FP8: where its f32 scales begin; null without
    int64_t scaleSpan = 0;
    Value address(Emitter &e, Value k, int64_t more) const {
      return e.at(base, e.mul(k, stride), offset + more * stride);
    }
    Value scale(Emitter &e, Value k) const {
      return e.load(e.vecF32(), e.at(scales, e.mul(e.divU(k, scaleSpan), kGroup * 4)), 4);
    }
  };
  const int perGroup = kGroup / e.lanes;
  llvm::SmallVector<Vector> vectors;
  for (size_t p = 0; p < plan.products.size(); ++p) {
    const Product &product = plan.products[p];
    const int64_t bytes = denseBytes(product.format);
    Value group = e.at(weights[p], e.mul(places[0].group, product.groupBytes)), base = group;
    if (places[0].half.index)
      base = places[0].half.offset(e, base, bytes * e.lanes);
    for (size_t v = 0; v < places.size(); ++v) {
      const int64_t before = int64_t(v) / perGroup * product.groupBytes;
      vectors.push_back(
          {product.format, base, before + places[v].half.known * bytes * e.lanes, bytes * kGroup});
      if (int64_t span = denseScaleSpan(product.format, spec.columns)) {
        Value scales = e.at(group, before + spec.columns * kGroup);
        vectors.back().scales = places[v].half.offset(e, scales, e.lanes * 4);
        vectors.back().scaleSpan = span;
      }
    }
  }
  const int unroll = spec.columns % 4 == 0 ? 4 : 1;
  const size_t width = vectors.size();
  const int64_t groups = std::max<int64_t>(1, places.size() * e.lanes / kGroup);
  Values zero(rows.size() * width, e.vecConst(0));
  Values all = forInputs(firstRow, rowCount, unroll, unroll, zero, [&](Value k, ValueRange carried) {
    Values sums(carried);
    // Elements of the next unit whose turn it is when the tiles of all m rows share it out.
    Value done = e.add(e.mul(firstRow, spec.columns), e.mul(k, rowCount));
    Value next = e.shiftRightU(e.mul(done, inverseRows), kInverseBits);
    for (int step = 0; step < std::min(unroll, rowCount >= 6 ? 2 : 4); ++step)
      for (const Vector &vector : vectors)
        e.prefetch(vector.address(e, next, step + spec.columns * groups), 2);
    for (int step = 0; step < unroll; ++step) {
      llvm::SmallVector<Value> w;
      for (const Vector &vector : vectors) {
        w.push_back(loadDense(e, vector.format, vector.address(e, k, step)));
        if (vector.scales)
          w.back() = e.mulF(w.back(), vector.scale(e, k));
      }
      for (size_t r = 0; r < rows.size(); ++r) {
        Value x = e.loadSplat(e.vecF32(), e.at(rows[r].input, e.mul(k, 4), step * 4));
        for (size_t v = 0; v < width; ++v)
          sums[r * width + v] = e.fma(x, w[v], sums[r * width + v]);
      }
    }
    return sums;
  });
  llvm::SmallVector<Values> sums(plan.products.size());
  for (size_t r = 0; r < rows.size(); ++r)
    for (size_t v = 0; v < width; ++v)
      sums[v / places.size()].push_back(all[r * width + v]);
  storeTile(rows, places, sums);
}

void Generator::emitDense() {
  // Weights of a unit are read once from memory and m / 6 times from the second-level cache. With few rows
  // the first pass is what takes the time, so every tile fetches its share of the next unit. With many it
  // does not matter, and fetching lines that are there would cost a tenth: they then name one line again and
  // again, which costs nothing to speak of.
  Value inverse = e.create<mlir::arith::DivUIOp>(e.cI64(int64_t(1) << kInverseBits), e.maxS(m, e.cI64(1)));
  inverseRows = e.select(e.lessThan(m, e.cI64(257)), inverse, e.cI64(0));
  auto tiles = [&](llvm::ArrayRef<Place> places) {
    coverRows(plan.tiling.denseRows, [&](Value row, int count) {
      const int64_t groups = std::max<int64_t>(1, places.size() * e.lanes / kGroup);
      ifNeeded(row, count, places[0].group, groups, [&] { denseTile(places, row, count); });
    });
  };
  forUnits(
      {plan.vectorsPerProduct},
      [&](Value unit, int width) {
        llvm::SmallVector<Place> places;
        for (int v = 0; v < width; ++v)
          places.push_back(placeInUnit(unit, v));
        tiles(places);
      },
      [&](Value group) {
        llvm::SmallVector<Place> places;
        for (int half = 0; half < kGroup / e.lanes; ++half)
          places.push_back({group, {half, {}}});
        tiles(places);
      });
}

// Output
// ------------------------------------------------------------------------------------------------------------

void Generator::storeTile(llvm::ArrayRef<Row> rows, llvm::ArrayRef<Place> places,
                          llvm::ArrayRef<Values> sums) {
  for (size_t r = 0; r < rows.size(); ++r) {
    auto storeRow = [&] {
      for (size_t v = 0; v < places.size(); ++v) {
        const Half &half = places[v].half;
        Value column = e.mul(places[v].group, kGroup);
        column = half.index ? e.add(column, e.mul(half.index, e.lanes)) : e.add(column, half.known * e.lanes);
        Values accumulators;
        for (const Values &product : sums)
          accumulators.push_back(product[r * places.size() + v]);
        storeColumns(e, spec, output, epilogueOperands, rows[r].index, column, accumulators);
      }
    };
    if (rows[r].valid)
      e.ifThen(rows[r].valid, storeRow);
    else
      storeRow();
  }
}

} // namespace

ContractionLaunch contractionLaunch(const ContractionSpec &spec) {
  ContractionLaunch launch{(spec.rows + kGroup - 1) / kGroup, 1, 0};
  if (spec.tiles) {
    launch.scratchBytes = tiledContractionScratch(spec);
    return launch;
  }
  for (const CpuLevel &level : cpuLevels()) {
    ContractionPlan plan(level, spec);
    launch.scratchBytes = std::max<uint64_t>(launch.scratchBytes, plan.scratchBytes);
  }
  return launch;
}

void buildContraction(mlir::ModuleOp module, const CpuLevel &level, const ContractionSpec &spec) {
  assert(checkContraction(spec).empty() && "spec not checked");
  Emitter e(module, level);
  // Plain AVX2 keeps several s16 sums per cell; scheduling costs a Q4_1 panel a fifth of its speed there.
  const bool sourceOrder = spec.planes != 0 && !level.vnni;
  e.kernel(
      spec.symbol,
      [&](const KernelArguments &arguments) {
        if (spec.tiles)
          emitTiledContraction(e, spec, arguments);
        else
          Generator(e, spec).emit(arguments);
      },
      sourceOrder);
}

} // namespace heddle::cpu
