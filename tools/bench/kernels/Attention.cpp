// Times generated attention and rows kernels on one thread.
//
//   heddle-bench-attention [--level NAME] [--query-heads N] [--kv-heads N] [--width N] [--rows N] [--position
//   N] [--window N] [--no-cache] [--layers N] heddle-bench-attention --kernel FILE --rows N    a rows kernel
//   of IR text whose operands are f32 tensors or activations heddle-bench-attention --attention FILE --rows N
//   --position N [--keep N] [--layers N]    an attention kernel of IR text with a cache; of what a selection
//   chooses among every N-th is selected
//
// With --layers N caches take turns, so that keys and values come from memory as in a model of N layers.
//
// Attention: microseconds per layer, GF/s of the products that the mask lets through with their share of a
// register-only loop of fused multiply-adds, GB/s of keys and values. Rows kernels: nanoseconds per row.
#include "codegen/AttentionItems.h"
#include "codegen/cpu/Kernels.h"
#include "ir/ActivationLayout.h"
#include "mlir/Parser/Parser.h"
#include "passes/Passes.h"
#include "tools/bench/kernels/Timing.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>
#include <random>

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::cpu::testing;
namespace cl = llvm::cl;

namespace {
struct Options {
  std::string level, kernel, attention;
  int64_t keep = 1, layers = 1;
  int64_t queryHeads = 9, kvHeads = 3, width = 64, rows = 512, position = 0, window = 0;
  bool noCache = false;
};

/// A kernel of IR text, compiled, with all that it needs to run.
struct BenchKernel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::heddle::KernelOp kernel;
  std::unique_ptr<LoadedImage> image;
  std::unique_ptr<GuardedBuffer<uint8_t>> scratch;
  KernelFacts facts;
};
} // namespace

/// Parses into plain values: lld resets every cl::opt of the process when it links.
static Options parse(int argc, char **argv) {
  static cl::opt<std::string> level("level", cl::desc("CPU level; the best of this host by default"));
  static cl::opt<std::string> kernel("kernel", cl::desc("file of IR text with one rows kernel"));
  static cl::opt<std::string> attention("attention", cl::desc("file of IR text with one attention kernel"));
  static cl::opt<int64_t> keep("keep", cl::init(1), cl::desc("selections select every N-th"));
  static cl::opt<int64_t> queryHeads("query-heads", cl::init(9), cl::desc("query heads"));
  static cl::opt<int64_t> kvHeads("kv-heads", cl::init(3), cl::desc("KV heads"));
  static cl::opt<int64_t> width("width", cl::init(64), cl::desc("width of a head, a multiple of 16"));
  static cl::opt<int64_t> rows("rows", cl::init(512), cl::desc("rows of the call"));
  static cl::opt<int64_t> position("position", cl::init(0), cl::desc("position of the first row"));
  static cl::opt<int64_t> window("window", cl::init(0), cl::desc("keys that a row sees back; 0: all"));
  static cl::opt<int64_t> layers("layers", cl::init(1), cl::desc("caches that take turns"));
  static cl::opt<bool> noCache("no-cache",
                               cl::desc("keys and values of the call, all visible, as in encoders"));
  cl::ParseCommandLineOptions(argc, argv, "Times generated attention and rows kernels.\n");
  return {level,   kernel, attention, keep,     layers, queryHeads,
          kvHeads, width,  rows,      position, window, noCache};
}

[[noreturn]] static void stop(const llvm::Twine &message) {
  llvm::errs() << "heddle-bench-attention: " << message << "\n";
  exit(1);
}

static BenchKernel build(mlir::MLIRContext &context, llvm::StringRef text, const CpuLevel &level,
                         const CpuKernelContext &facts) {
  BenchKernel result;
  result.module = mlir::parseSourceString<mlir::ModuleOp>(text, mlir::ParserConfig(&context));
  if (!result.module || result.module->getOps<mlir::heddle::KernelOp>().empty())
    stop("expected IR text with one heddle.kernel");
  result.kernel = *result.module->getOps<mlir::heddle::KernelOp>().begin();
  mlir::OwningOpRef<mlir::ModuleOp> out = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  auto emitted = emitKernels(*result.module, level, facts, *out);
  if (!emitted)
    stop(llvm::toString(emitted.takeError()));
  result.facts = emitted->front();
  CompileOptions options;
  options.expandMath = [](mlir::OpPassManager &passes) {
    passes.addPass(mlir::heddle::createExpandMathPass());
  };
  result.image = std::make_unique<LoadedImage>(
      *out, level, std::vector<std::string>{result.kernel.getSymName().str()}, options);
  result.scratch = std::make_unique<GuardedBuffer<uint8_t>>(result.facts.scratchBytes + 1);
  return result;
}

static std::string attentionText(const Options &o) {
  auto n = [](int64_t x) { return std::to_string(x); };
  std::string query = "tensor<?x" + n(o.queryHeads) + "x" + n(o.width) + "xf32>",
              keys = "tensor<?x" + n(o.kvHeads) + "x" + n(o.width) + "xf32>";
  std::string cache = "!heddle.kv_cache<" + n(o.kvHeads) + "x" + n(o.width) + "x" + n(o.width) + "xf16>";
  std::string block = "^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):\n";
  std::string mask = block + "%0 = arith.cmpi sle, %kp, %qp : i32\n";
  if (o.window)
    mask += "%1 = arith.subi %qp, %kp : i32\n%w = arith.constant " + n(o.window) +
            " : i32\n%2 = arith.cmpi slt, %1, %w : i32\n%3 = arith.andi %0, %2 : i1\nheddle.yield %3 : i1\n";
  else
    mask += "heddle.yield %0 : i1\n";
  return "heddle.kernel @attention family <attention> target \"cpu\" {\n^bb0(%q: " + query +
         (o.noCache ? ", %k: " + keys + ", %v: " + keys : ", %c: " + cache) +
         ", %slots: tensor<?xi32>, %positions: tensor<?xi32>):\n%o = heddle.attention %q " +
         (o.noCache ? "keys %k values %v" : "cache %c") +
         " at %slots, %positions {scale = 1.250000e-01 : f32} score {\n" + block +
         "heddle.yield %s : f32\n} mask {\n" + (o.noCache ? "" : mask) + "} : " + query +
         (o.noCache ? ", " + keys + ", " + keys : " cache " + cache) + ", tensor<?xi32>, tensor<?xi32> -> " +
         query + "\nheddle.yield %o : " + query + "\n}";
}

template <typename T> static void fill(T *begin, T *end) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::generate(begin, end, [&] { return T(normal(random)); });
}
template <typename T> static void fill(GuardedBuffer<T> &buffer) { fill(buffer.begin(), buffer.end()); }

/// Keys and values of all layers, which take turns.
class Caches {
public:
  Caches(int64_t pages, const Options &o)
      : layers(o.layers), size(pages * HEDDLE_PAGE_TOKENS * o.kvHeads * o.width * 2), memory(size * layers) {
    madvise(memory.data(), memory.size() * sizeof(_Float16), MADV_HUGEPAGE); // as the driver does
    fill(memory.begin(), memory.begin() + size);
    for (int64_t layer = 1; layer < layers; ++layer)
      std::copy_n(memory.begin(), size, memory.begin() + layer * size);
  }
  _Float16 *next() { return memory.data() + size * (turn++ % layers); }

private:
  int64_t layers, size, turn = 0;
  GuardedBuffer<_Float16> memory;
};

/// The rows of one sequence, cut as the runtime does.
static std::vector<heddle_work> workOf(const Options &o, uint32_t mostRows) {
  std::vector<heddle_work> work;
  for (int64_t row = 0; row < o.rows; row += mostRows)
    work.push_back({int32_t(row),
                    int32_t(std::min<int64_t>(mostRows, o.rows - row)),
                    0,
                    int32_t(o.position + row),
                    0,
                    int32_t(o.rows),
                    {}});
  return work;
}

static void timeAttention(mlir::MLIRContext &context, const CpuLevel &level, const Options &o) {
  const int64_t keys = o.position + o.rows, pages = (keys + HEDDLE_PAGE_TOKENS - 1) / HEDDLE_PAGE_TOKENS;
  BenchKernel bench =
      build(context, attentionText(o), level, {pages * int64_t(HEDDLE_PAGE_TOKENS), o.rows, 1});
  GuardedBuffer<float> query(o.rows * o.queryHeads * o.width), result(query.size()),
      ownKeys(o.rows * o.kvHeads * o.width), ownValues(ownKeys.size());
  Caches caches(pages, o);
  GuardedBuffer<int32_t> table(pages);
  fill(query), fill(ownKeys), fill(ownValues);
  for (int64_t i = 0; i < pages; ++i)
    table[i] = int32_t(i);
  std::vector<heddle_work> work = workOf(o, bench.facts.workRows);
  std::vector<void *> operands{query.data()};
  if (o.noCache)
    operands.insert(operands.end(), {ownKeys.data(), ownValues.data()});
  else
    operands.insert(operands.end(), {caches.next(), table.data()});
  operands.insert(operands.end(), {nullptr, nullptr, result.data(), work.data()});
  int64_t dims[HEDDLE_DIM_COUNT] = {o.rows, 1, int64_t(work.size())};
  double seconds = best([&] {
    if (!o.noCache)
      operands[1] = caches.next();
    bench.image->function(0)(operands.data(), dims, bench.scratch->data(), 0, work.size() * o.kvHeads);
  });
  double seen = 0;
  for (int64_t row = 0; row < o.rows; ++row)
    seen += o.noCache ? o.rows : std::min(o.window ? o.window : INT64_MAX, o.position + row + 1);
  double flops = seen * o.queryHeads * o.width * 4 / seconds,
         bytes = seen * o.kvHeads * o.width * (o.noCache ? 8 : 4) / seconds;
  double most = peak(context, level, false);
  printf("%s %lld/%lld heads of %lld, %lld rows at %lld: %.1f us, %.1f GF/s (%.0f %% of %.1f), %.1f GB/s\n",
         level.name.data(), (long long)o.queryHeads, (long long)o.kvHeads, (long long)o.width,
         (long long)o.rows, (long long)o.position, seconds * 1e6, flops * 1e-9, flops / most * 100,
         most * 1e-9, bytes * 1e-9);
}

static int64_t bytesOf(mlir::Type type, int64_t rows) {
  auto shape = mlir::heddle::shapeOf(type);
  int64_t elements = 1;
  for (int64_t size : shape)
    elements *= mlir::ShapedType::isDynamic(size) ? rows : size;
  if (auto stored = mlir::dyn_cast<mlir::heddle::StoredType>(type)) {
    if (!stored.getEncoding().isActivation())
      stop("expected operands that are tensors or quantized activations");
    return rows * ActivationLayout{shape.back(),
                                   stored.getEncoding().getFormat() == mlir::heddle::Format::ACT_I8 ? 1 : 2}
                      .stride();
  }
  return elements * 4;
}

static void timeRows(mlir::MLIRContext &context, const CpuLevel &level, const Options &o,
                     llvm::StringRef text) {
  BenchKernel bench = build(context, text, level, {4096, o.rows, 1});
  std::vector<std::unique_ptr<GuardedBuffer<float>>> buffers;
  std::vector<void *> operands;
  auto add = [&](mlir::Type type) {
    if (mlir::isa<mlir::heddle::KvCacheType>(type))
      stop("expected a kernel without a cache");
    buffers.push_back(std::make_unique<GuardedBuffer<float>>(bytesOf(type, o.rows) / 4));
    fill(*buffers.back());
    operands.push_back(buffers.back()->data());
  };
  mlir::Block &body = bench.kernel.getBody().front();
  for (mlir::Type type : body.getArgumentTypes())
    add(type);
  for (mlir::Type type : body.getTerminator()->getOperandTypes())
    add(type);
  int64_t dims[HEDDLE_DIM_COUNT] = {o.rows, o.rows, 0};
  double seconds =
      best([&] { bench.image->function(0)(operands.data(), dims, bench.scratch->data(), 0, o.rows); });
  printf("%s %s, %lld rows: %.0f ns per row\n", level.name.data(), bench.kernel.getSymName().str().c_str(),
         (long long)o.rows, seconds * 1e9 / o.rows);
}

/// An attention kernel with any regions and selections: prints its microseconds.
static void timeVariant(mlir::MLIRContext &context, const CpuLevel &level, const Options &o,
                        llvm::StringRef text) {
  const int64_t keys = o.position + o.rows, pages = (keys + HEDDLE_PAGE_TOKENS - 1) / HEDDLE_PAGE_TOKENS;
  BenchKernel bench = build(context, text, level, {pages * int64_t(HEDDLE_PAGE_TOKENS), o.rows, 1});
  mlir::Block &body = bench.kernel.getBody().front();
  std::vector<std::unique_ptr<GuardedBuffer<float>>> floats;
  std::vector<std::unique_ptr<GuardedBuffer<uint8_t>>> bytes;
  std::vector<void *> operands;
  Caches caches(pages, o);
  std::optional<size_t> cacheOperand;
  GuardedBuffer<int32_t> table(pages), indices(o.rows);
  for (int64_t i = 0; i < pages; ++i)
    table[i] = int32_t(i);
  auto add = [&](mlir::Type type) {
    if (mlir::isa<mlir::heddle::KvCacheType>(type)) {
      cacheOperand = operands.size();
      operands.insert(operands.end(), {caches.next(), table.data()});
    } else if (auto selection = mlir::dyn_cast<mlir::heddle::SelectionType>(type)) {
      int64_t count = selection.getShape()[1];
      bytes.push_back(std::make_unique<GuardedBuffer<uint8_t>>(o.rows * count));
      for (int64_t i = 0; i < o.rows * count; ++i)
        (*bytes.back())[i] = i % count % o.keep == 0;
      operands.push_back(bytes.back()->data());
    } else if (mlir::getElementTypeOrSelf(type).isF32()) {
      floats.push_back(std::make_unique<GuardedBuffer<float>>(bytesOf(type, o.rows) / 4));
      fill(*floats.back());
      operands.push_back(floats.back()->data());
    } else {
      operands.push_back(indices.data()); // slots and positions, which work records stand for
    }
  };
  for (mlir::Type type : body.getArgumentTypes())
    add(type);
  for (mlir::Type type : body.getTerminator()->getOperandTypes())
    add(type);
  std::vector<heddle_work> work = workOf(o, bench.facts.workRows);
  operands.push_back(work.data());
  int64_t dims[HEDDLE_DIM_COUNT] = {o.rows, 1, int64_t(work.size())};
  auto scoring = *body.getOps<mlir::heddle::ScoringOpInterface>().begin();
  int64_t items = work.size() * attentionItems(scoring);
  double seconds = best([&] {
    if (cacheOperand)
      operands[*cacheOperand] = caches.next();
    bench.image->function(0)(operands.data(), dims, bench.scratch->data(), 0, items);
  });
  printf("%s %.3f us\n", level.name.data(), seconds * 1e6);
}

static std::unique_ptr<llvm::MemoryBuffer> readFile(const std::string &path) {
  auto text = llvm::MemoryBuffer::getFile(path);
  if (!text)
    stop("cannot read '" + path + "': " + text.getError().message());
  return std::move(*text);
}

int main(int argc, char **argv) {
  Options options = parse(argc, argv);
  const CpuLevel *level = options.level.empty() ? nullptr : cpuLevelByName(options.level);
  for (const CpuLevel &candidate : cpuLevels())
    if (options.level.empty() && hostHas(candidate))
      level = &candidate;
  if (!level || !hostHas(*level))
    stop("unknown level '" + options.level + "', or one that this host lacks");
  mlir::MLIRContext context;
  loadKernelDialects(context);
  context.loadDialect<mlir::heddle::HeddleDialect>();
  if (!options.attention.empty())
    timeVariant(context, *level, options, readFile(options.attention)->getBuffer());
  else if (options.kernel.empty())
    timeAttention(context, *level, options);
  else
    timeRows(context, *level, options, readFile(options.kernel)->getBuffer());
}
