// The attention generator against a plain reference in f64.
#include "test/unit/codegen_rows/KernelTest.h"
#include <cmath>

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::cpu::testing;

namespace {

struct Shape {
  int queryHeads, kvHeads, keyDim, valueDim;
};

/// Score and mask as IR and as the reference computes them.
struct Regions {
  std::string score, mask;
  std::function<double(double score, int queryHead, int queryPosition, int keyPosition)> scoreOf;
  std::function<bool(int queryPosition, int keyPosition)> sees;
};

const std::string kArguments = "(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32)";
const std::string kPlainScore = "^bb0" + kArguments + ":\n heddle.yield %s : f32\n";
const std::string kCausalMask =
    "^bb0" + kArguments + ":\n %0 = arith.cmpi sle, %kp, %qp : i32\n heddle.yield %0 : i1\n";

double sameScore(double score, int, int, int) { return score; }

Regions causal() {
  return {kPlainScore, kCausalMask, sameScore, [](int q, int k) { return k <= q; }};
}

Regions window(int size) {
  std::string mask =
      "^bb0" + kArguments +
      ":\n %0 = arith.cmpi sle, %kp, %qp : i32\n %1 = arith.subi %qp, %kp : i32\n %w = arith.constant " +
      std::to_string(size) +
      " : i32\n %2 = arith.cmpi slt, %1, %w : i32\n %3 = arith.andi %0, %2 : i1\n heddle.yield %3 : i1\n";
  return {kPlainScore, mask, sameScore, [size](int q, int k) { return k <= q && q - k < size; }};
}

/// Soft-capped scores with a slope per head; a mask that no range describes.
Regions unusual() {
  std::string score = "^bb0" + kArguments + R"(:
    %cap = arith.constant 2.000000e+00 : f32
    %0 = arith.divf %s, %cap : f32
    %1 = math.tanh %0 : f32
    %2 = arith.mulf %1, %cap : f32
    %d = arith.subi %kp, %qp : i32
    %df = arith.sitofp %d : i32 to f32
    %hf = arith.sitofp %qh : i32 to f32
    %slope = arith.constant 1.000000e-02 : f32
    %3 = arith.mulf %df, %slope : f32
    %4 = arith.mulf %3, %hf : f32
    %5 = arith.addf %2, %4 : f32
    heddle.yield %5 : f32
)";
  std::string mask = "^bb0" + kArguments + R"(:
    %0 = arith.cmpi sle, %kp, %qp : i32
    %c3 = arith.constant 3 : i32
    %c1 = arith.constant 1 : i32
    %r = arith.remsi %kp, %c3 : i32
    %1 = arith.cmpi eq, %r, %c1 : i32
    %2 = arith.andi %0, %1 : i1
    heddle.yield %2 : i1
)";
  return {score, mask,
          [](double s, int head, int q, int k) { return 2 * std::tanh(s / 2) + 0.01 * head * (k - q); },
          [](int q, int k) { return k <= q && k % 3 == 1; }};
}

std::string kernelText(const Shape &shape, const Regions &regions, bool cached) {
  std::string q =
      "tensor<?x" + std::to_string(shape.queryHeads) + "x" + std::to_string(shape.keyDim) + "xf32>";
  std::string o =
      "tensor<?x" + std::to_string(shape.queryHeads) + "x" + std::to_string(shape.valueDim) + "xf32>";
  std::string k = "tensor<?x" + std::to_string(shape.kvHeads) + "x" + std::to_string(shape.keyDim) + "xf32>";
  std::string v =
      "tensor<?x" + std::to_string(shape.kvHeads) + "x" + std::to_string(shape.valueDim) + "xf32>";
  std::string c = "!heddle.kv_cache<" + std::to_string(shape.kvHeads) + "x" + std::to_string(shape.keyDim) +
                  "x" + std::to_string(shape.valueDim) + "xf16>";
  std::string flat = "tensor<?x" + std::to_string(shape.queryHeads * shape.keyDim) + "xf32>";
  return "heddle.kernel @k family <attention> target \"cpu\" {\n^bb0(%flat: " + flat +
         (cached ? ", %c: " + c : ", %k: " + k + ", %v: " + v) +
         ", %slots: tensor<?xi32>, %positions: tensor<?xi32>):\n" + "%q = heddle.reshape %flat : " + flat +
         " -> " + q + "\n%o = heddle.attention %q " + (cached ? "cache %c" : "keys %k values %v") +
         " at %slots, %positions {scale = 2.500000e-01 : f32} score {\n" + regions.score + "} mask {\n" +
         regions.mask + "} : " + q + (cached ? " cache " + c : ", " + k + ", " + v) +
         ", tensor<?xi32>, tensor<?xi32> -> " + o + "\nheddle.yield %o : " + o + "\n}";
}

/// softmax(score) V for one row and head; `key` and `value` give elements of position j.
template <typename Element>
void reference(const Shape &shape, const Regions &regions, const float *query, int head, int position,
               int keys, Element key, Element value, double *out) {
  std::vector<double> scores(keys);
  double maximum = -INFINITY, sum = 0;
  bool any = false;
  for (int j = 0; j < keys; ++j) {
    if (!regions.sees(position, j))
      continue;
    double dot = 0;
    for (int d = 0; d < shape.keyDim; ++d)
      dot += double(query[d]) * key(j, d);
    scores[j] = regions.scoreOf(dot * 0.25, head, position, j);
    maximum = std::max(maximum, scores[j]);
    any = true;
  }
  std::fill(out, out + shape.valueDim, 0);
  if (!any)
    return;
  for (int j = 0; j < keys; ++j) {
    if (!regions.sees(position, j))
      continue;
    double weight = std::exp(scores[j] - maximum);
    sum += weight;
    for (int d = 0; d < shape.valueDim; ++d)
      out[d] += weight * value(j, d);
  }
  for (int d = 0; d < shape.valueDim; ++d)
    out[d] /= sum;
}

/// Scores of f32 sums over the head, then outputs of size 1.
double tolerance(const Shape &shape) { return 1e-6 + 2.5e-8 * shape.keyDim; }

constexpr int kContext = 768, kSlots = 3;

/// A paged cache whose unused tokens are NaN.
struct Cache {
  Cache(const Shape &shape, std::vector<int> lengths)
      : shape(shape), pageElements(size_t(128) * shape.kvHeads * (shape.keyDim + shape.valueDim)),
        cache(pageElements * kSlots * kContext / 128), table(kSlots * kContext / 128) {
    for (uint16_t &x : cache)
      x = 0x7e00;
    std::vector<int> numbers(table.size());
    for (size_t i = 0; i < numbers.size(); ++i)
      numbers[i] = int(i * 7 % numbers.size()); // 18 pages: 7 is coprime
    std::copy(numbers.begin(), numbers.end(), table.begin());
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    for (int slot = 0; slot < int(lengths.size()); ++slot)
      for (int j = 0; j < lengths[slot]; ++j)
        for (int h = 0; h < shape.kvHeads; ++h) {
          for (int d = 0; d < shape.keyDim; ++d)
            put(*keyAt(slot, h, j, d), normal(random));
          for (int d = 0; d < shape.valueDim; ++d)
            put(*valueAt(slot, h, j, d), normal(random));
        }
  }
  uint16_t *page(int slot, int j) { return &cache[table[slot * (kContext / 128) + j / 128] * pageElements]; }
  uint16_t *keyAt(int slot, int h, int j, int d) {
    int t = j % 128;
    return page(slot, j) + ((h * 8 + t / 16) * shape.keyDim + d) * 16 + t % 16;
  }
  uint16_t *valueAt(int slot, int h, int j, int d) {
    return page(slot, j) + shape.kvHeads * 128 * shape.keyDim + (h * 128 + j % 128) * shape.valueDim + d;
  }
  static void put(uint16_t &to, float x) {
    _Float16 half = _Float16(x);
    memcpy(&to, &half, 2);
  }
  static double get(uint16_t bits) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return half;
  }
  Shape shape;
  size_t pageElements;
  GuardedBuffer<uint16_t> cache;
  GuardedBuffer<int32_t> table;
};

struct Piece {
  int rows, slot, position;
};

/// Runs the pieces as one call and checks every row; returns the outputs.
std::vector<float> runCached(TestKernel &kernel, const Shape &shape, const Regions &regions, Cache &cache,
                             const std::vector<Piece> &pieces, const std::vector<float> &queries,
                             bool check = true) {
  int rows = 0;
  GuardedBuffer<heddle_work> work(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    work[i] = {rows, pieces[i].rows, pieces[i].slot, pieces[i].position, rows, pieces[i].rows, {}};
    rows += pieces[i].rows;
  }
  const int queryRow = shape.queryHeads * shape.keyDim, outRow = shape.queryHeads * shape.valueDim;
  GuardedBuffer<float> query(rows * queryRow), out(rows * outRow);
  REQUIRE(queries.size() == query.size());
  std::copy(queries.begin(), queries.end(), query.begin());
  for (float &x : out)
    x = NAN;
  void *unused = nullptr;
  // Items in two ranges: what they compute does not depend on it.
  int items = int(pieces.size()) * shape.kvHeads;
  std::vector<void *> operands{query.data(), cache.cache.data(), cache.table.data(), unused,
                               unused,       out.data(),         work.data()};
  kernel(operands, rows, 0, items / 2, pieces.size());
  kernel(operands, rows, items / 2, items, pieces.size());
  double worst = 0;
  std::vector<double> expected(shape.valueDim);
  for (size_t i = 0; check && i < pieces.size(); ++i)
    for (int r = 0; r < pieces[i].rows; ++r)
      for (int h = 0; h < shape.queryHeads; ++h) {
        int row = work[i].row_begin + r, position = pieces[i].position + r,
            kv = h / (shape.queryHeads / shape.kvHeads), slot = pieces[i].slot;
        std::function<double(int, int)> key = [&](int j, int d) {
          return Cache::get(*cache.keyAt(slot, kv, j, d));
        };
        std::function<double(int, int)> value = [&](int j, int d) {
          return Cache::get(*cache.valueAt(slot, kv, j, d));
        };
        reference(shape, regions, &query[row * queryRow + h * shape.keyDim], h, position, position + 1, key,
                  value, expected.data());
        for (int d = 0; d < shape.valueDim; ++d) {
          double error = std::fabs(out[row * outRow + h * shape.valueDim + d] - expected[d]);
          worst = std::max(worst, std::isnan(error) ? INFINITY : error); // values are of size 1
        }
      }
  CHECK(worst <= tolerance(shape));
  return {out.begin(), out.end()};
}

std::vector<float> randomQueries(const Shape &shape, int rows, uint32_t seed) {
  std::vector<float> queries(rows * shape.queryHeads * shape.keyDim);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.5f);
  for (float &x : queries)
    x = normal(random);
  return queries;
}
} // namespace

TEST_CASE("attention on a paged cache: slots, page and chunk boundaries, windows, regions") {
  const CpuKernelContext facts{.maxContext = kContext, .maxRows = 512, .maxSlots = kSlots};
  for (Shape shape : {Shape{9, 3, 64, 64}, Shape{4, 1, 256, 256}, Shape{2, 2, 32, 32}, Shape{7, 1, 20, 40},
                      Shape{26, 2, 16, 8}}) {
    INFO("heads " << shape.queryHeads << "/" << shape.kvHeads << " width " << shape.keyDim << "/"
                  << shape.valueDim);
    Cache cache(shape, {600, 131, 40});
    int number = 0;
    for (const Regions &regions : {causal(), window(5), window(200), unusual()}) {
      INFO("regions " << number++);
      forWidths([&](const CpuLevel &level) {
        TestKernel kernel(kernelText(shape, regions, true), level, facts);
        REQUIRE(kernel.error == "");
        // One row at the ends of groups, pages and chunks.
        for (int position : {0, 1, 15, 16, 127, 128, 255, 256, 257, 511, 512, 599})
          runCached(kernel, shape, regions, cache, {{1, 0, position}}, randomQueries(shape, 1, position));
        // Several slots in one call, tiles that are full and not.
        std::vector<Piece> pieces{{40, 0, 230}, {13, 1, 118}, {1, 2, 39}, {3, 0, 0}, {40, 2, 0}};
        runCached(kernel, shape, regions, cache, pieces, randomQueries(shape, 97, 1));
      });
    }
  }
}

TEST_CASE("the bits of a row do not depend on the rows beside it, the range of items or the level") {
  const CpuKernelContext facts{.maxContext = kContext, .maxRows = 512, .maxSlots = kSlots};
  for (Shape shape : {Shape{9, 3, 64, 64}, Shape{4, 1, 256, 256}, Shape{3, 3, 32, 32}}) {
    for (const Regions &regions : {causal(), window(7), window(100), unusual()}) {
      Cache cache(shape, {600});
      const int rows = 40, position = 240, width = shape.queryHeads * shape.keyDim,
                out = shape.queryHeads * shape.valueDim;
      // A row that others cannot see may hold anything.
      for (int h = 0; h < shape.kvHeads; ++h) {
        Cache::put(*cache.valueAt(0, h, position + 21, 3), INFINITY);
        Cache::put(*cache.keyAt(0, h, position + 21, 3), NAN);
      }
      std::vector<float> queries = randomQueries(shape, rows, 5), first;
      forWidths([&](const CpuLevel &level) {
        TestKernel kernel(kernelText(shape, regions, true), level, facts);
        REQUIRE(kernel.error == "");
        auto together = runCached(kernel, shape, regions, cache, {{rows, 0, position}}, queries, false);
        for (int r = 0; r < rows; ++r) {
          std::vector<float> query(queries.begin() + r * width, queries.begin() + (r + 1) * width);
          auto alone = runCached(kernel, shape, regions, cache, {{1, 0, position + r}}, query, false);
          INFO("row " << r);
          CHECK(memcmp(alone.data(), &together[r * out], out * 4) == 0);
          if (r < 21)
            for (float x : alone)
              REQUIRE(std::isfinite(x));
        }
        if (first.empty())
          first = together;
        // NaN may differ in its bits; nothing else.
        int differ = 0;
        for (size_t i = 0; i < first.size(); ++i)
          differ +=
              memcmp(&first[i], &together[i], 4) != 0 && !(std::isnan(first[i]) && std::isnan(together[i]));
        CHECK(differ == 0);
      });
    }
  }
}

TEST_CASE("NaN that a row sees reaches its result, and no other row's") {
  const CpuKernelContext facts{.maxContext = kContext, .maxRows = 512, .maxSlots = kSlots};
  const Shape shape{6, 2, 32, 32};
  const int rows = 20, position = 250, out = shape.queryHeads * shape.valueDim;
  for (const Regions &regions : {causal(), window(6), unusual()}) {
    forWidths([&](const CpuLevel &level) {
      TestKernel kernel(kernelText(shape, regions, true), level, facts);
      REQUIRE(kernel.error == "");
      Cache cache(shape, {600});
      std::vector<float> queries = randomQueries(shape, rows, 5);
      // Head 1 of row 4; key 259 of KV head 1; value 262, element 7, of KV head 0.
      queries[(4 * shape.queryHeads + 1) * shape.keyDim] = NAN;
      Cache::put(*cache.keyAt(0, 1, 259, 3), -NAN);
      Cache::put(*cache.valueAt(0, 0, 262, 7), NAN);
      auto found = runCached(kernel, shape, regions, cache, {{rows, 0, position}}, queries, false);
      int wrong = 0;
      for (int r = 0; r < rows; ++r)
        for (int h = 0; h < shape.queryHeads; ++h)
          for (int d = 0; d < shape.valueDim; ++d) {
            bool nan = (r == 4 && h == 1) || (h >= 3 && regions.sees(position + r, 259)) ||
                       (h < 3 && d == 7 && regions.sees(position + r, 262));
            wrong += std::isnan(found[r * out + h * shape.valueDim + d]) != nan;
          }
      CHECK(wrong == 0);
    });
  }
}

TEST_CASE("inner loops of products keep everything in registers, and nothing is called") {
  const CpuLevel &level = cpuLevels().back();
  mlir::MLIRContext context;
  loadKernelDialects(context);
  context.loadDialect<mlir::heddle::HeddleDialect>();
  for (const std::string &text :
       {kernelText({9, 3, 64, 64}, causal(), true), kernelText({4, 1, 256, 256}, window(512), true),
        kernelText({12, 12, 32, 32}, {kPlainScore, "", sameScore, {}}, false)}) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, mlir::ParserConfig(&context));
    REQUIRE(module);
    mlir::OwningOpRef<mlir::ModuleOp> out = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    auto kernel = *module->getOps<mlir::heddle::KernelOp>().begin();
    REQUIRE(!!emitAttentionKernel(kernel, level, {.maxContext = kContext, .maxRows = 512, .maxSlots = kSlots},
                                  *out));
    auto assembly = compileToText(*out, level, TextForm::Assembly);
    REQUIRE(!!assembly);
    CHECK_THAT(*assembly, !Catch::Contains("\tcall"));
    // Loops of one block: those whose last jump goes to their own label.
    int loops = 0;
    llvm::SmallVector<llvm::StringRef> lines;
    llvm::StringRef(*assembly).split(lines, '\n');
    llvm::StringRef label;
    int products = 0, stack = 0;
    for (llvm::StringRef line : lines) {
      if (line.starts_with(".LBB")) {
        label = line.split(':').first;
        products = stack = 0;
      }
      products += line.contains("vfmadd");
      stack += line.contains("(%rsp)") || line.contains("(%rbp)");
      if (line.starts_with("\tj") && line.ends_with(label) && !label.empty() && products >= 12) {
        INFO(label.str());
        CHECK(stack == 0);
        ++loops;
      }
    }
    CHECK(loops >= 4); // scores and values, of full and of smaller tiles
  }
}

TEST_CASE("attention without a cache: sequences of mixed length") {
  const std::vector<int> lengths{1, 40, 16, 300, 7};
  int rows = 0;
  for (int length : lengths)
    rows += length;
  for (Shape shape : {Shape{12, 12, 32, 32}, Shape{4, 2, 64, 48}, Shape{3, 1, 20, 20}}) {
    INFO("heads " << shape.queryHeads << "/" << shape.kvHeads << " width " << shape.keyDim);
    const int queryRow = shape.queryHeads * shape.keyDim, outRow = shape.queryHeads * shape.valueDim;
    const int keyRow = shape.kvHeads * shape.keyDim, valueRow = shape.kvHeads * shape.valueDim;
    GuardedBuffer<float> query(rows * queryRow), keys(rows * keyRow), values(rows * valueRow),
        out(rows * outRow);
    fillRandom(query, 1, 0.5f);
    fillRandom(keys, 2);
    fillRandom(values, 3);
    Regions all{kPlainScore, "", sameScore, [](int, int) { return true; }};
    for (const Regions &regions : {all, causal(), window(30), unusual()}) {
      std::vector<float> first;
      for (int pieceRows : {512, 5}) {
        std::vector<heddle_work> records;
        for (int s = 0, begin = 0; s < int(lengths.size()); begin += lengths[s++])
          for (int at = 0; at < lengths[s]; at += pieceRows)
            records.push_back(
                {begin + at, std::min(pieceRows, lengths[s] - at), s, at, begin, lengths[s], {}});
        GuardedBuffer<heddle_work> work(records.size());
        std::copy(records.begin(), records.end(), work.begin());
        forWidths([&](const CpuLevel &level) {
          TestKernel kernel(kernelText(shape, regions, false), level, {.maxRows = 512});
          REQUIRE(kernel.error == "");
          for (float &x : out)
            x = NAN;
          kernel({query.data(), keys.data(), values.data(), nullptr, nullptr, out.data(), work.data()}, rows,
                 0, int64_t(records.size()) * shape.kvHeads, records.size());
          if (!first.empty()) {
            CHECK(memcmp(first.data(), out.data(), out.size() * 4) == 0);
            return;
          }
          first.assign(out.begin(), out.end());
          double worst = 0;
          std::vector<double> expected(shape.valueDim);
          for (int s = 0, begin = 0; s < int(lengths.size()); begin += lengths[s++])
            for (int r = 0; r < lengths[s]; ++r)
              for (int h = 0; h < shape.queryHeads; ++h) {
                int kv = h / (shape.queryHeads / shape.kvHeads);
                std::function<double(int, int)> key = [&](int j, int d) {
                  return keys[(begin + j) * keyRow + kv * shape.keyDim + d];
                };
                std::function<double(int, int)> value = [&](int j, int d) {
                  return values[(begin + j) * valueRow + kv * shape.valueDim + d];
                };
                reference(shape, regions, &query[(begin + r) * queryRow + h * shape.keyDim], h, r, lengths[s],
                          key, value, expected.data());
                for (int d = 0; d < shape.valueDim; ++d) {
                  double error = std::fabs(out[(begin + r) * outRow + h * shape.valueDim + d] - expected[d]);
                  worst = std::max(worst, std::isnan(error) ? INFINITY : error);
                }
              }
          CHECK(worst <= tolerance(shape));
        });
      }
    }
  }
}

TEST_CASE("what attention kernels cannot hold is an error that says so") {
  const CpuLevel &level = cpuLevels().front();
  TestKernel noContext(kernelText({2, 1, 16, 16}, causal(), true), level, {});
  CHECK_THAT(noContext.error, Catch::Contains("expected the model to state 'max_context'"));
  TestKernel other(R"(heddle.kernel @k family <attention> target "cpu" {
    ^bb0(%x: tensor<?x32xf32>):
      %0 = heddle.unary <silu> %x : tensor<?x32xf32>
      heddle.yield %0 : tensor<?x32xf32> })",
                   level);
  CHECK_THAT(other.error, Catch::Contains("'heddle.unary' is not an op of the family 'attention'"));
}
