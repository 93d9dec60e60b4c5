#include "codegen/cpu/ContractionTiles.h"
#include "codegen/cpu/ContractionWeights.h"
#include "heddle/program.h"
#include "ir/ActivationLayout.h"

namespace heddle::cpu {
namespace {

constexpr int64_t kTileBytes = 1024; // 16 rows of 64 bytes
constexpr int64_t kStep = 32;        // elements along k of one tile product
constexpr int64_t kColumns = 16;     // of a tile: a row group of the weights

constexpr int kTiles = 2; // of weights that are multiplied together

// Tile registers: results of both halves of the rows by both weight tiles, rows, weights.
constexpr int kResults[2][kTiles] = {{0, 1}, {2, 3}};
constexpr int kRows[2] = {4, 5};
constexpr int kWeights[kTiles] = {6, 7};

/// Offsets in scratch.
struct TilePlan {
  int groups; // of output columns in a unit
  int64_t config = 0, saved = 64, sums = 128, panel, bytes;

  explicit TilePlan(const ContractionSpec &spec) : groups(spec.weights.size() == 1 ? 2 : 1) {
    panel = sums + kTiledRows * kTiles * 64;
    bytes = panel + spec.columns / kStep * kTiles * kTileBytes;
  }
};

class TileGenerator {
public:
  TileGenerator(Emitter &e, const ContractionSpec &spec, const KernelArguments &arguments)
      : e(e), spec(spec), plan(spec), scratch(arguments.scratch), begin(arguments.begin), end(arguments.end),
        rowStride(ActivationLayout{spec.columns, 0}.stride()) {
    int next = 0;
    output = e.operand(arguments, next++);
    input = e.operand(arguments, next++);
    for (size_t p = 0; p < spec.weights.size(); ++p)
      weights.push_back(e.operand(arguments, next++));
    for (int i = 0; i < spec.epilogueOperands; ++i)
      epilogueOperands.push_back(e.operand(arguments, next++));
    m = e.dimension(arguments, spec.rowDimension);
  }

  void emit() {
    configure();
    e.forRange(begin, end, e.cI64(plan.groups), [&](Value group) { emitUnit(group); });
    // The caller's thread keeps its configuration: other libraries (ggml) set theirs once and rely on it.
    e.effect("llvm.x86.ldtilecfg", e.at(scratch, plan.saved));
  }

private:
  Value tile(int number) { return e.constantInt(e.i8(), number); }

  /// Palette 1, all tiles of 16 rows of 64 bytes.
  void configure() {
    auto words = [&](int64_t offset, uint64_t word, int count) {
      for (int i = 0; i < count; ++i)
        e.store(e.cI64(int64_t(word)), e.at(scratch, plan.config + offset + i * 8), 8);
    };
    words(0, 1, 1);
    words(8, 0, 1);
    words(16, 0x0040'0040'0040'0040, 2); // bytes of a row
    words(32, 0, 2);
    words(48, 0x1010'1010'1010'1010, 1); // rows
    words(56, 0, 1);
    e.effect("llvm.x86.sttilecfg", e.at(scratch, plan.saved));
    e.effect("llvm.x86.ldtilecfg", e.at(scratch, plan.config));
  }

  /// The row groups of the weights that fill the weight tiles, from `group` on: two of one matrix, or one of
  /// both. Past the end of the range the last group fills its tile again and is not stored again.
  void emitUnit(Value group) {
    if (plan.groups == 1)
      for (int product = 0; product < kTiles; ++product)
        expandTile(e.cI64(product), product, group);
    else
      e.forRange(0, kTiles, 1,
                 [&](Value t) { expandTile(t, 0, e.minS(e.add(group, t), e.sub(end, e.cI64(1)))); });
    Value count = e.minS(e.cI64(plan.groups), e.sub(end, group));
    e.forRange(e.cI64(0), m, e.cI64(kTiledRows), [&](Value row) {
      Value first = e.maxS(e.minS(row, e.sub(m, e.cI64(kTiledRows))), e.cI64(0));
      Value stop = e.sub(e.minS(e.add(row, kTiledRows), m), first);
      multiply(first);
      e.forRange(e.sub(row, first), stop, e.cI64(1), [&](Value r) {
        Value from = e.at(scratch, e.mul(r, kTiles * 64), plan.sums);
        e.forRange(e.cI64(0), count, e.cI64(1), [&](Value g) {
          Values accumulators;
          for (size_t p = 0; p < spec.weights.size(); ++p)
            accumulators.push_back(e.load(e.vecF32(), e.at(from, e.mul(g, 64), int64_t(p) * 64), 64));
          storeColumns(e, spec, output, epilogueOperands, e.add(first, r), e.mul(e.add(group, g), kColumns),
                       accumulators);
        });
      });
    });
  }

  /// Weight tile `t`: in each step along k sixteen rows, which hold elements 2i and 2i + 1 of all
  /// columns.
  void expandTile(Value t, size_t product, Value group) {
    PackedLayout layout{schemeOf(spec.weights[product], spec.columns)};
    const BlockScheme &scheme = layout.scheme;
    const int64_t chunk = layout.chunk();
    Value rows =
        e.at(weights[product], e.mul(group, int64_t(packedGroupBytes(spec.weights[product], spec.columns))));
    e.forRange(0, spec.columns / scheme.super, 1, [&](Value super) {
      Value block = e.at(rows, e.mul(super, layout.bytes()));
      Value superScale = superFactor(e, block, layout.scale(), {});
      Value superMinimum = scheme.hasMin ? superFactor(e, block, layout.minimum(), {}) : Value();
      auto expandChunk = [&](Value number) {
        PackedChunk packed(e, layout, block, number, {});
        Value step = e.mul(super, scheme.super / kStep);
        if (number)
          step = e.add(step, e.mul(number, chunk / kStep));
        Value to = e.at(scratch, e.mul(e.add(e.mul(step, kTiles), t), kTileBytes), plan.panel);
        for (int sub = 0; sub < chunk / scheme.sub; ++sub) {
          Value scale = packed.scale(sub, superScale);
          Value minimum = scheme.hasMin ? packed.negativeMinimum(sub, superMinimum) : Value();
          for (int quad = sub * scheme.sub / 4; quad < (sub + 1) * scheme.sub / 4; ++quad)
            expandQuad(packed.codes(quad), scheme, scale, minimum,
                       e.at(to, quad / 8 * kTiles * kTileBytes + quad % 8 * 128));
        }
      };
      if (scheme.super == chunk)
        expandChunk({});
      else
        e.forRange(0, scheme.super / chunk, 1, expandChunk);
    });
  }

  /// Four elements of sixteen columns: two rows of a tile.
  void expandQuad(Value codes, const BlockScheme &scheme, Value scale, Value minimum, Value to) {
    Values numbers;
    for (int i = 0; i < 4; ++i) {
      Value code = i ? e.shiftRightU(codes, i * 8) : codes;
      if (i < 3)
        code = e.bitAnd(code, 0xff);
      if (!scheme.hasMin && scheme.zero)
        code = e.add(code, -scheme.zero);
      // Products of a minimum's formats are exact, so one rounding is what `decode` does too.
      numbers.push_back(minimum ? e.fma(e.toF32(code), scale, minimum) : e.mulF(e.toF32(code), scale));
    }
    static constexpr auto interleave = [] {
      std::array<int64_t, 32> lanes{};
      for (int i = 0; i < 32; ++i)
        lanes[i] = i / 2 + i % 2 * 16;
      return lanes;
    }();
    for (int pair = 0; pair < 2; ++pair) {
      Value words = e.intrinsic("llvm.x86.avx512bf16.cvtne2ps2bf16.512", e.vec(e.getBF16Type(), 32),
                                {numbers[pair * 2 + 1], numbers[pair * 2]});
      words = e.bitcast(words, e.vec(e.i16(), 32));
      e.store(e.create<mlir::vector::ShuffleOp>(words, words, interleave), e.at(to, pair * 64), 64);
    }
  }

  /// kTiledRows rows from `first` on by the weight tiles, into the sums.
  void multiply(Value first) {
    Value rows[2] = {e.at(input, e.mul(first, rowStride)), {}};
    rows[1] = e.at(rows[0], 16 * rowStride);
    Value rowBytes = e.cI64(rowStride), lineBytes = e.cI64(64);
    for (const auto &results : kResults)
      for (int t = 0; t < kTiles; ++t)
        e.effect("llvm.x86.tilezero", tile(results[t]));
    e.forRange(0, spec.columns / kStep, 1, [&](Value step) {
      Value panel = e.at(scratch, e.mul(step, kTiles * kTileBytes), plan.panel);
      Value offset = e.mul(step, kStep * 2);
      for (int half = 0; half < 2; ++half) {
        e.effect("llvm.x86.tileloadd64", {tile(kRows[half]), e.at(rows[half], offset), rowBytes});
        for (int t = 0; t < kTiles; ++t) {
          if (half == 0)
            e.effect("llvm.x86.tileloadd64", {tile(kWeights[t]), e.at(panel, t * kTileBytes), lineBytes});
          e.effect("llvm.x86.tdpbf16ps", {tile(kResults[half][t]), tile(kRows[half]), tile(kWeights[t])});
        }
      }
    });
    for (int half = 0; half < 2; ++half)
      for (int t = 0; t < kTiles; ++t)
        e.effect("llvm.x86.tilestored64",
                 {tile(kResults[half][t]), e.at(scratch, plan.sums + half * 16 * kTiles * 64 + t * 64),
                  e.cI64(kTiles * 64)});
  }

  Emitter &e;
  const ContractionSpec &spec;
  const TilePlan plan;
  Value scratch, begin, end, output, input, m;
  const int64_t rowStride;
  Values weights, epilogueOperands;
};

} // namespace

uint64_t tiledContractionScratch(const ContractionSpec &spec) { return TilePlan(spec).bytes; }

void emitTiledContraction(Emitter &e, const ContractionSpec &spec, const KernelArguments &arguments) {
  TileGenerator(e, spec, arguments).emit();
}

} // namespace heddle::cpu
