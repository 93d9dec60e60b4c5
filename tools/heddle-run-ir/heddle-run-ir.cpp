// heddle-run-ir: runs the executable examples of an IR file and checks their results. For tests;
// docs/interpreter.md.
#include "codegen/Pipelines.h"
#include "codegen/plugin/Plugin.h"
#include "frontends/Import.h"
#include "heddle/npu_sim.h"
#include "mlir/IR/AsmState.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "passes/TargetDescription.h"
#include "tools/DriverLibrary.h"
#include "tools/heddle-run-ir/Backend.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"

using namespace heddle;
using namespace heddle::run_ir;
using namespace mlir::heddle::interpreter;

static llvm::cl::opt<std::string> inputFile(llvm::cl::Positional, llvm::cl::desc("FILE.mlir|MODEL.gguf"),
                                            llvm::cl::Required);
static llvm::cl::opt<std::string>
    examplesFile("examples", llvm::cl::desc("Take the examples from the functions of this IR file"));
static llvm::cl::opt<std::string>
    targetOption("target",
                 llvm::cl::desc("What runs the examples: interpreter, interpreter:cpu (after the passes of "
                                "cpu), cpu, cpu:LEVEL, cuda, npu:edge, npu:mobile"),
                 llvm::cl::init("interpreter"));
static llvm::cl::opt<std::string> device(
    "device",
    llvm::cl::desc("Run compiled code with this driver (docs/adding-a-target.md): ./LIBRARY.so:FUNCTION"));
static llvm::cl::opt<bool> counts("counts", llvm::cl::desc("Say how busy the NPU was after each example"));
static llvm::cl::opt<std::string> only("function", llvm::cl::desc("Run the example of this function alone"));
static llvm::cl::opt<std::string>
    activations("activations", llvm::cl::desc("Activations of a compiled target: mixed, i8, i16"),
                llvm::cl::init("mixed"));
static llvm::cl::opt<bool> tensorCores("tensor-cores",
                                       llvm::cl::desc("Target cuda: multiply on tensor cores"),
                                       llvm::cl::init(true));
static llvm::cl::opt<std::string>
    pipeline("pass-pipeline", llvm::cl::desc("Run these passes on a copy and compare it with the original"));

namespace {

double toleranceOf(const Datum &datum, size_t element) {
  return datum.numbers() ? datum.numbers()->toleranceAt(element) : 0;
}

/// Runs examples against the reference: f64 arithmetic of the module as it was read.
class Checker {
public:
  Checker(mlir::ModuleOp module, mlir::ModuleOp transformed, Backend &backend, llvm::StringRef target,
          const ParameterSource &parameters)
      : module(module), exact(interpreterBackend(module, {Arithmetic::F64, kF64Epsilon}, parameters)),
        isFixedPoint(target.starts_with("npu")),
        reference(interpreterBackend(module, {Arithmetic::F64, epsilon()}, parameters)), backend(backend),
        target(target) {
    if (!transformed)
      return;
    Options options{Arithmetic::F64, epsilon()};
    // What the passes may have made less precise shows in the tolerance of their own program.
    options.quantizationBound = true;
    transformedReference = interpreterBackend(transformed, options, parameters);
  }

  /// Prints a line; false when something disagrees or cannot run.
  bool check(const Example &example) {
    size_t compared = 0;
    double worst = 0;
    for (auto *each : {exact.get(), reference.get(), &backend, transformedReference.get()})
      if (each)
        each->reset();
    for (auto [number, call] : llvm::enumerate(example.calls)) {
      auto complain = [&](llvm::StringRef what, llvm::StringRef message) {
        llvm::outs() << "@" << example.function << ": call " << number << ": " << what << ": " << message
                     << "\n";
        return false;
      };
      auto exactly = exact->run(example.function, call.inputs);
      if (!exactly)
        return complain("reference", llvm::toString(exactly.takeError()));
      Agreement agreement = compare(call.expected, *exactly, [&](size_t r, size_t i) {
        return toleranceOf((*exactly)[r], i) + roundingToF32((*exactly)[r].numbers()->data[i]);
      });
      if (!agreement.disagreement.empty())
        return complain("constants against f64 arithmetic", agreement.disagreement);

      auto expected = reference->run(example.function, call.inputs);
      if (!expected)
        return complain("reference", llvm::toString(expected.takeError()));
      llvm::SmallVector<Datum> bounds;
      if (transformedReference) {
        auto bound = transformedReference->run(example.function, call.inputs);
        if (!bound)
          return complain("reference after the passes", llvm::toString(bound.takeError()));
        bounds = *bound;
      }
      auto found = backend.run(example.function, call.inputs);
      if (!found)
        return complain(target, llvm::toString(found.takeError()));
      agreement = compare(*found, *expected, [&](size_t r, size_t i) {
        return toleranceOf((*expected)[r], i) + (r < bounds.size() ? toleranceOf(bounds[r], i) : 0) +
               (isFixedPoint ? fixedPointBound(example.function, (*expected)[r]) : 0);
      });
      if (!agreement.disagreement.empty())
        return complain(target, agreement.disagreement);
      compared += agreement.compared;
      worst = std::max(worst, agreement.worst);
    }
    llvm::outs() << "@" << example.function << ": " << compared << " numbers agree, at most "
                 << llvm::format("%.3f", worst) << " of the tolerance\n";
    return true;
  }

private:
  double fixedPointBound(llvm::StringRef function, const Datum &result) {
    double largest = 0;
    bool attends = false;
    module.lookupSymbol(function)->walk([&](mlir::heddle::AttentionOp) { attends = true; });
    for (double number : attends &&result.numbers() ? result.numbers()->data : std::vector<double>())
      largest = std::max(largest, std::abs(number));
    return kFixedPointStep + kCodedAttention * largest;
  }
  double epsilon() const { return isFixedPoint ? kFixedPointEpsilon : kF32Epsilon; }

  mlir::ModuleOp module;
  std::unique_ptr<Backend> exact;
  bool isFixedPoint;
  std::unique_ptr<Backend> reference, transformedReference;
  Backend &backend;
  llvm::StringRef target;
};

struct Program {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::shared_ptr<const ParameterSource> parameters;
};

/// IR text with the files that it carries, or a model that a frontend reads.
llvm::Expected<Program> readProgram(mlir::MLIRContext &context) {
  if (!llvm::StringRef(inputFile).ends_with(".mlir")) {
    auto model = importModel(context, inputFile);
    if (!model)
      return model.takeError();
    return Program{std::move(model->module), model->files};
  }
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(inputFile, &context);
  if (!module)
    return llvm::createStringError("expected IR in '" + inputFile + "'");
  auto files = ExampleFiles::read(*module);
  if (!files)
    return files.takeError();
  return Program{std::move(module), std::make_shared<ExampleFiles>(std::move(*files))};
}

/// By the rules of docs/npu-isa.md.
void printCounts(void *, const heddle_npu_sim_counts *counts) {
  auto percent = [](uint64_t part, uint64_t whole) { return llvm::format("%.1f %%", 100.0 * part / whole); };
  llvm::outs() << "  " << counts->kernel << ": " << counts->cycles << " cycles, array "
               << percent(counts->multiply_adds, counts->peak_multiply_adds) << " of its peak, DMA "
               << percent(counts->bytes_loaded + counts->bytes_stored, counts->peak_bytes) << "\n";
}

int reportError(llvm::Error error, int status) {
  llvm::errs() << "heddle-run-ir: " << llvm::toString(std::move(error)) << "\n";
  return status;
}

} // namespace

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  mlir::registerTransformsPasses();
  mlir::heddle::registerPasses();
  if (llvm::Error error = loadPlugins(argc, argv))
    return reportError(std::move(error), 2);
  llvm::cl::ParseCommandLineOptions(argc, argv,
                                    "Runs the executable examples of an IR file and checks their results\n");
  const std::string target = targetOption, chosen = only,
                    library = device; // copies: linking compiled code resets all options

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlir::heddle::HeddleDialect>();
  pluginDialects().appendTo(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  auto program = readProgram(context);
  if (!program)
    return reportError(program.takeError(), 3);
  auto &[module, parameters] = *program;
  mlir::OwningOpRef<mlir::ModuleOp> declarations;
  if (!examplesFile.empty()) {
    declarations = mlir::parseSourceFile<mlir::ModuleOp>(examplesFile, &context);
    if (!declarations)
      return 3;
  }
  auto examples = readExamples(declarations ? *declarations : *module);
  if (!examples)
    return reportError(examples.takeError(), 3);

  mlir::OwningOpRef<mlir::ModuleOp> transformed;
  if (!pipeline.empty()) {
    transformed = mlir::cast<mlir::ModuleOp>((*module)->clone());
    mlir::PassManager passes(&context, "builtin.module");
    // With or without the anchor, which heddle-opt asks for; nested once more it would match nothing.
    llvm::StringRef list = pipeline;
    if (list.consume_front("builtin.module("))
      list.consume_back(")");
    if (mlir::failed(mlir::parsePassPipeline(list, passes)))
      return 2;
    if (mlir::failed(passes.run(*transformed)))
      return 1;
  }
  std::unique_ptr<Backend> backend;
  mlir::ModuleOp lowered = transformed ? *transformed : mlir::ModuleOp();
  llvm::StringRef name = target, level;
  std::tie(name, level) = name.split(':');
  llvm::StringRef passesOf = name == "interpreter" ? level : name;
  // A machine of the NPU is a target of its own.
  std::string npu = ("npu:" + (level.empty() ? "mobile" : level)).str();
  if (name == "npu") {
    passesOf = npu;
    level = "";
  }
  bool hasPasses = mlir::heddle::findTarget(passesOf);
  if (hasPasses && !pipeline.empty())
    return reportError(
        llvm::createStringError("expected either --pass-pipeline or a target that has its own passes"), 2);
  if (hasPasses) {
    // Precision is what the target's passes choose: their program says how far results may be from the
    // original.
    CompileOptions options;
    options.target = passesOf;
    options.activations = activations;
    transformed = mlir::cast<mlir::ModuleOp>((*module)->clone());
    mlir::PassManager passes(&context, "builtin.module");
    addPipeline(passes, options);
    if (mlir::failed(passes.run(*transformed)))
      return 1;
    lowered = *transformed;
  }
  if (name == "interpreter" && (level.empty() || hasPasses)) {
    backend = interpreterBackend(lowered ? lowered : *module, {}, *parameters);
  } else if (name == "cpu" || ((name == "cuda" || hasPasses) && level.empty())) {
    CompileOptions options;
    options.target = passesOf;
    options.tensorCores = tensorCores;
    options.activations = activations;
    if (!level.empty()) {
      auto *found = cpu::cpuLevelByName(level);
      if (!found)
        return reportError(
            llvm::createStringError("unknown CPU level '" + level + "'; heddle targets lists them"), 2);
      options.levels = {found};
    }
    const heddle_driver *driver = nullptr;
    if (!library.empty()) {
      std::string why = "expected ./LIBRARY.so:FUNCTION";
      if (!namesDriverLibrary(library) || !(driver = loadDriverLibrary(library, why)))
        return reportError(llvm::createStringError("device '" + library + "': " + why), 2);
    }
    backend = cpuBackend(*module, options, *parameters, driver);
  } else {
    return reportError(
        llvm::createStringError(
            "unknown target '" + target +
            "'; known targets: interpreter, interpreter:cpu, interpreter:cuda, cpu, cpu:LEVEL, "
            "cuda, npu:edge, npu:mobile (on the simulators)"),
        2);
  }

  Checker checker(*module, lowered, *backend, target, *parameters);
  size_t ran = 0;
  bool good = true;
  for (const Example &example : *examples) {
    if (!chosen.empty() && example.function != chosen)
      continue;
    ++ran;
    if (name != "interpreter" && !example.skipCompiled.empty()) {
      llvm::outs() << "@" << example.function << ": skipped: " << example.skipCompiled << "\n";
      continue;
    }
    good &= checker.check(example);
    if (counts)
      heddle_npu_sim_visit_counts(printCounts, nullptr);
  }
  if (ran == 0)
    return reportError(
        llvm::createStringError("expected functions with 'heddle.example', but found none to run"), 3);
  return good ? 0 : 1;
}
