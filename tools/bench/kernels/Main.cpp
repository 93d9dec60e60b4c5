// Times generated contractions on one thread beside what this core can do, measured in the same process.
//
//   heddle-bench-kernels [--level NAME] [--format NAME] [--planes N] [--rows N] [--columns N] [--products N]
//   [--m LIST] [--asm]
//
// For every number of input rows: GOP/s (or GF/s) with its share of a register-only loop of the same
// instruction, and GB/s of packed weights with its share of a pure read of the same bytes. Calls take turns
// in a footprint of weights, so few rows show memory and many show arithmetic.
#include "codegen/cpu/Contraction.h"
#include "codegen/package/Pack.h"
#include "tools/bench/kernels/Timing.h"
#include "llvm/Support/CommandLine.h"
#include <memory>

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::cpu::testing;
namespace cl = llvm::cl;

namespace {
struct Options {
  std::string level, format = "q4_1";
  int planes = 1, products = 1;
  int64_t rows = 1536, columns = 576, footprint = 96;
  std::vector<int64_t> ms;
  bool assembly = false;
};
} // namespace

/// Parses into plain values: lld resets every cl::opt of the process when it links.
static Options parse(int argc, char **argv) {
  static cl::opt<std::string> level("level", cl::desc("CPU level; the best of this host by default"));
  static cl::opt<std::string> format("format", cl::init("q4_1"), cl::desc("storage format of the weights"));
  static cl::opt<int> planes("planes", cl::init(1),
                             cl::desc("planes of quantized activations; 0: bf16 on tiles"));
  static cl::opt<int64_t> rows("rows", cl::init(1536), cl::desc("rows of the weight matrix"));
  static cl::opt<int64_t> columns("columns", cl::init(576), cl::desc("columns of the weight matrix"));
  static cl::opt<int> products("products", cl::init(1), cl::desc("weight matrices, 1 or 2"));
  static cl::opt<int64_t> footprint("footprint", cl::init(96),
                                    cl::desc("MB of weights that calls take turns in"));
  static cl::opt<bool> assembly("asm", cl::desc("print the kernel's assembly and stop"));
  static cl::list<int64_t> ms("m", cl::CommaSeparated, cl::desc("numbers of input rows"));
  cl::ParseCommandLineOptions(argc, argv, "Times generated contraction kernels.\n");
  return {level, format, planes, products, rows, columns, footprint, {ms.begin(), ms.end()}, assembly};
}

/// Items are kilobytes: reads them all in order and stores a value that depends on every byte.
static void buildRead(mlir::ModuleOp module, const CpuLevel &level) {
  Emitter e(module, level);
  e.kernel("read", [&](const KernelArguments &arguments) {
    Value out = e.operand(arguments, 0), from = e.operand(arguments, 1);
    const int vectors = 1024 / (e.lanes * 4);
    Values sums = e.forRange(arguments.begin, arguments.end, e.cI64(1), Values(4, e.vecConstI32(0)),
                             [&](Value item, ValueRange carried) {
                               Values next(carried);
                               Value base = e.at(from, e.mul(item, 1024));
                               for (int v = 0; v < vectors; ++v)
                                 next[v % 4] =
                                     e.add(next[v % 4], e.load(e.vecI32(), e.at(base, v * e.lanes * 4), 32));
                               return next;
                             });
    e.store(e.add(e.add(sums[0], sums[1]), e.add(sums[2], sums[3])), out);
  });
}

int main(int argc, char **argv) {
  Options options = parse(argc, argv);
  const auto &[levelName, formatName, planes, products, rows, columns, footprint, given, assembly] = options;
  std::vector<int64_t> ms = given;
  const CpuLevel *level = levelName.empty() ? nullptr : cpuLevelByName(levelName);
  if (levelName.empty())
    for (const CpuLevel &candidate : cpuLevels())
      if (hostHas(candidate))
        level = &candidate;
  auto format = formatByName(formatName);
  if (!level || !format || !hostHas(*level)) {
    llvm::errs() << "unknown level or format, or a level that this host cannot run\n";
    return 2;
  }
  if (ms.empty())
    ms = {1, 2, 4, 8, 16, 32, 128, 512};
  const bool integer = formatInfo(*format).scheme.has_value();
  mlir::MLIRContext context;
  loadKernelDialects(context);

  ContractionSpec spec;
  spec.symbol = "contraction";
  spec.rows = rows;
  spec.columns = columns;
  spec.weights.assign(products, *format);
  spec.planes = integer ? planes : 0; // 0: bf16 on tiles
  spec.tiles = integer && planes == 0;
  spec.maxRows = 512;
  if (products == 2)
    spec.epilogue = [](EpilogueContext &context, ValueRange sums) {
      return context.e.mulF(sums[0], sums[1]);
    };
  if (std::string why = checkContraction(spec); !why.empty()) {
    llvm::errs() << why << "\n";
    return 2;
  }
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  double start = now();
  buildContraction(*module, *level, spec);
  if (!assembly)
    buildRead(*module, *level);
  if (assembly) {
    fputs(llvm::cantFail(compileToText(*module, *level, TextForm::Assembly)).c_str(), stdout);
    return 0;
  }
  LoadedImage image(*module, *level, {spec.symbol, "read"});
  double compileSeconds = now() - start;

  const double top = peak(context, *level, integer);
  ContractionLaunch launch = contractionLaunch(spec);
  const int64_t inputBytes = columns * 8 + 64;
  const uint64_t matrixBytes = packedGroupBytes(*format, columns) * launch.items;
  const int copies = std::max<int64_t>(1, footprint * 1000000 / int64_t(matrixBytes * products));
  auto allocate = [](uint64_t bytes) {
    bytes = (bytes + (2 << 20)) & ~uint64_t((2 << 20) - 1);
    auto *memory = static_cast<uint8_t *>(aligned_alloc(2 << 20, bytes));
    madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 0x2c, bytes); // a plain number as f16, f32 and integer: no subnormal slows the arithmetic
    return memory;
  };
  uint8_t *weights = allocate(matrixBytes * products * copies), *input = allocate(inputBytes * spec.maxRows);
  uint8_t *output = allocate(rows * spec.maxRows * 4), *scratch = allocate(launch.scratchBytes + 64);
  printf("%s %s planes %d, %d x %d x %d: compiled in %.0f ms; peak %.0f G%s/s; scratch %d KB\n",
         level->name.data(), formatName.c_str(), spec.planes, products, int(rows), int(columns),
         compileSeconds * 1e3, top / 1e9, integer ? "OP" : "F", int(launch.scratchBytes / 1000));
  for (int64_t m : ms) {
    int64_t dims[HEDDLE_DIM_COUNT] = {m};
    int turn = 0;
    auto contract = [&] {
      std::vector<void *> operands = {output, input};
      for (int p = 0; p < products; ++p)
        operands.push_back(weights + matrixBytes * (turn * products + p));
      turn = (turn + 1) % copies;
      image.function(0)(operands.data(), dims, scratch, 0, launch.items);
    };
    auto read = [&] {
      void *operands[] = {output, weights + matrixBytes * turn * products};
      turn = (turn + 1) % copies;
      image.function(1)(operands, dims, scratch, 0, matrixBytes * products / 1024);
    };
    // Taken in turns: other tenants of the machine change what memory gives from one second to the next.
    double seconds = 1e9, readSeconds = 1e9;
    for (int i = 0; i < 3; ++i) {
      readSeconds = std::min(readSeconds, best(read));
      seconds = std::min(seconds, best(contract));
    }
    double operations = 2.0 * m * rows * columns * products / seconds;
    printf("m %4d: %8.1f us  %7.1f G/s  %5.1f %% of peak  %6.1f GB/s  %5.1f %% of a pure read\n", int(m),
           seconds * 1e6, operations / 1e9, 100 * operations / top,
           double(matrixBytes * products) / seconds / 1e9, 100 * readSeconds / seconds);
  }
  return 0;
}
