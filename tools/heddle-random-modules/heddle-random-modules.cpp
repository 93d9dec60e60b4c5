// heddle-random-modules: checks passes and generated code on random modules, shrinks what fails and prints it
// as a lit test. docs/testing.md.
#include "codegen/cpu/Emit.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Parser/Parser.h"
#include "tools/HostFeatures.h"
#include "tools/heddle-random-modules/Generator.h"
#include "tools/heddle-random-modules/Random.h"
#include "tools/heddle-reduce/Reducer.h"
#include "tools/heddle-run-ir/Check.h"
#include "tools/heddle-run-ir/Isolate.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include <chrono>

using namespace heddle;
using namespace heddle::random_modules;
using namespace heddle::run_ir;

static llvm::cl::opt<uint64_t>
    seedOption("seed", llvm::cl::desc("Seed of the first module (1); the others follow"), llvm::cl::init(1));
static llvm::cl::opt<unsigned> countOption("count", llvm::cl::desc("Number of modules (100)"),
                                           llvm::cl::init(100));
static llvm::cl::opt<unsigned> secondsOption("seconds", llvm::cl::desc("Stop after this time; 0: never"));
static llvm::cl::opt<std::string>
    levelsOption("levels",
                 llvm::cl::desc("CPU levels to compile for: some (one for every third seed), "
                                "one (drawn by the seed), none"),
                 llvm::cl::init("some"));
static llvm::cl::opt<bool> print("print", llvm::cl::desc("Print the module of --seed and end"));
static llvm::cl::opt<std::string>
    checkFile("check", llvm::cl::desc("Check this file instead, which holds executable examples"));
static llvm::cl::opt<std::string> activationsOption("activations",
                                                    llvm::cl::desc("For --check: mixed, i8 or i16"),
                                                    llvm::cl::init("mixed"));
static llvm::cl::opt<std::string>
    boundsOption("row-bounds", llvm::cl::desc("For --check: row bounds of variants"), llvm::cl::init("4"));
static llvm::cl::opt<std::string> levelOption("level",
                                              llvm::cl::desc("For --check: the CPU level to compile for"));
static llvm::cl::opt<std::string> outputFolder("output",
                                               llvm::cl::desc("Folder that failing cases are written to"));
static llvm::cl::opt<unsigned>
    reduceTests("reduce-tests", llvm::cl::desc("Most candidates when shrinking (500)"), llvm::cl::init(500));
static llvm::cl::opt<unsigned> maxFindings("max-findings", llvm::cl::desc("Stop after as many (20)"),
                                           llvm::cl::init(20));

namespace {
constexpr unsigned kSecondsForOne = 120;

std::vector<const cpu::CpuLevel *> hostLevels() {
  std::vector<const cpu::CpuLevel *> levels;
  uint32_t host = hostCpuFeatures();
  for (const cpu::CpuLevel &level : cpu::cpuLevels())
    if ((level.features & ~host) == 0)
      levels.push_back(&level);
  return levels;
}

/// How a seed's module is checked: drawn from the seed too.
CheckOptions optionsOf(uint64_t seed) {
  Random random(seed ^ 0x636865636b);
  CheckOptions options;
  options.activations = random.pick({"mixed", "i8", "i16"});
  options.rowBounds = random.pick({"4", "1", "1,4", "2", ""});
  auto levels = hostLevels();
  if (!levels.empty() && (levelsOption == "one" || (levelsOption == "some" && seed % 3 == 0)))
    options.level = random.pick(levels.data(), levels.size());
  return options;
}

mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &text, mlir::MLIRContext &context) {
  return mlir::parseSourceString<mlir::ModuleOp>(text, &context);
}

std::optional<Finding> checkIsolated(mlir::ModuleOp module, const CheckOptions &options) {
  return isolatedCheck(
      options, [&](const CheckOptions &inChild) { return checkModule(module, inChild); }, kSecondsForOne);
}

std::string flagsOf(const CheckOptions &options) {
  std::string flags = " --activations " + options.activations + " --row-bounds '" + options.rowBounds + "'";
  if (options.level)
    flags += " --level " + std::string(options.level->name);
  return flags;
}

/// One line that a comment can hold.
std::string oneLine(llvm::StringRef text) {
  std::string line;
  for (char c : text.take_front(400))
    line += c == '\n' || c == '\r' ? ' ' : llvm::isPrint(c) ? c : '?';
  return line;
}

std::string describe(const Finding &finding) {
  return finding.stage + (finding.op.empty() ? "" : ": " + oneLine(finding.op)) + ": " +
         oneLine(finding.message);
}

/// Shrinks and prints a failing module.
void report(uint64_t seed, mlir::OwningOpRef<mlir::ModuleOp> module, const CheckOptions &options,
            llvm::StringRef first) {
  auto finding = checkIsolated(*module, options);
  if (!finding) {
    llvm::outs() << "seed " << seed << ": failed once, but not again: " << first << "\n";
    return;
  }
  llvm::outs() << "seed " << seed << ": " << describe(*finding) << "\n";
  llvm::outs().flush();
  const bool numbers = finding->numbers();
  auto same = [&](mlir::ModuleOp candidate) {
    auto other = checkIsolated(candidate, options);
    // A wrong number must not become a failure of another kind.
    return other && other->stage == finding->stage && other->numbers() == numbers;
  };
  ReduceResult result = reduceModule(module, same, reduceTests);
  if (auto smallest = checkIsolated(*module, options))
    finding = smallest;
  if (llvm::Error error = setExpected(*module))
    llvm::consumeError(std::move(error)); // the reference itself may be what fails
  std::string text;
  llvm::raw_string_ostream out(text);
  out << "// Found by heddle-random-modules --seed " << seed << ", reduced in " << result.tests
      << " tests.\n// " << describe(*finding) << "\n// RUN: heddle-random-modules --check %s"
      << flagsOf(options) << "\n"
      << *module << "\n";
  if (outputFolder.empty()) {
    llvm::outs() << text;
    return;
  }
  std::string path = outputFolder + "/seed-" + std::to_string(seed) + ".mlir";
  std::error_code code;
  llvm::raw_fd_ostream file(path, code);
  if (!code)
    file << text;
  llvm::outs() << (code ? "cannot write " : "written to ") << path << "\n";
}

int checkOneFile(mlir::MLIRContext &context) {
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(checkFile, &context);
  if (!module)
    return 3;
  CheckOptions options{activationsOption, boundsOption, nullptr};
  if (!levelOption.empty()) {
    auto *level = cpu::cpuLevelByName(levelOption);
    if (!level) {
      llvm::errs() << "unknown CPU level '" << levelOption << "'; heddle targets lists them\n";
      return 2;
    }
    if (!llvm::is_contained(hostLevels(), level)) {
      llvm::outs() << "skipped: this processor lacks features of " << levelOption << "\n";
      return 0;
    }
    options.level = level;
  }
  auto finding = checkIsolated(*module, options);
  if (!finding)
    return 0;
  llvm::outs() << finding->stage << ": " << finding->message << "\n";
  return 1;
}
} // namespace

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  llvm::cl::ParseCommandLineOptions(argc, argv, "Checks passes and generated code on random modules\n");
  if (print) {
    llvm::outs() << generateModule(seedOption);
    return 0;
  }
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlir::heddle::HeddleDialect>();
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  cpu::loadKernelDialects(context); // once, not in every child
  context.getOrLoadDialect<mlir::heddle::HeddleDialect>();
  if (!checkFile.empty())
    return checkOneFile(context);

  auto start = std::chrono::steady_clock::now();
  auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const uint64_t first = seedOption, end = first + countOption;
  unsigned findings = 0;
  uint64_t next = first;
  bool inTime = true;
  while (next < end && findings < maxFindings && inTime) {
    // A child goes from seed to seed until one fails; its last line names that one.
    Outcome outcome = isolated(
        [&](int descriptor) {
          for (uint64_t seed = next; seed < end; ++seed) {
            if (secondsOption && seconds() > secondsOption) {
              writeText(descriptor, "time " + std::to_string(seed) + "\n");
              return;
            }
            stillAlive(kSecondsForOne);
            writeText(descriptor, "at " + std::to_string(seed) + "\n");
            auto module = parse(generateModule(seed), context);
            auto finding = module ? checkModule(*module, optionsOf(seed)) : std::nullopt;
            if (!module || finding) {
              writeText(descriptor,
                        "failed " + std::to_string(seed) + (finding ? " " + describe(*finding) : "") + "\n");
              return;
            }
          }
          writeText(descriptor, "done " + std::to_string(end) + "\n");
        },
        kSecondsForOne);
    auto last = llvm::StringRef(outcome.text).rtrim('\n').rsplit('\n');
    auto [word, rest] = (last.second.empty() ? last.first : last.second).split(' ');
    auto [number, what] = rest.split(' ');
    uint64_t seed = next;
    number.getAsInteger(10, seed);
    if (word == "done" || word == "time") {
      next = seed;
      inTime = word == "done";
      continue;
    }
    ++findings;
    next = seed + 1;
    if (auto module = parse(generateModule(seed), context))
      report(seed, std::move(module), optionsOf(seed), outcome.death.empty() ? what : outcome.death);
    else
      llvm::outs() << "seed " << seed << ": the module is not valid\n";
  }
  llvm::outs() << "seeds " << first << " to " << next - 1 << ": " << next - first << " modules, " << findings
               << " findings, " << llvm::format("%.0f", seconds()) << " s\n";
  return findings ? 1 : 0;
}
