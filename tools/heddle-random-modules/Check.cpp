#include "tools/heddle-random-modules/Check.h"
#include "codegen/Pipelines.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "tools/heddle-run-ir/Backend.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;
using ::heddle::run_ir::Backend;

namespace heddle::random_modules {
namespace {

struct Calls {
  std::string function;
  std::vector<SmallVector<Datum>> inputs;
};

/// Results of all calls of all functions, in order.
using Results = std::vector<SmallVector<Datum>>;

llvm::Expected<std::vector<Calls>> readCalls(ModuleOp module) {
  std::vector<Calls> all;
  for (auto function : module.getOps<func::FuncOp>()) {
    auto examples = function->getAttrOfType<ArrayAttr>(kExampleAttr);
    if (!examples)
      continue;
    Calls calls{function.getName().str(), {}};
    for (Attribute example : examples) {
      auto entries = dyn_cast<DictionaryAttr>(example);
      auto inputs = entries ? entries.getAs<ArrayAttr>("inputs") : ArrayAttr();
      if (!inputs || inputs.size() != function.getNumArguments())
        return llvm::createStringError("expected an input for each argument of '" + calls.function + "'");
      auto &data = calls.inputs.emplace_back();
      for (auto [input, type] : llvm::zip(inputs, function.getArgumentTypes())) {
        auto elements = dyn_cast<ElementsAttr>(input);
        auto datum = elements ? datumOf(elements) : std::nullopt;
        if (!datum || !datum->fits(type))
          return llvm::createStringError("expected inputs of '" + calls.function + "' to fit its arguments");
        data.push_back(*datum);
      }
    }
    all.push_back(std::move(calls));
  }
  if (all.empty())
    return llvm::createStringError("expected functions with 'heddle.example', but found none");
  return all;
}

llvm::Expected<Results> runAll(Backend &backend, ArrayRef<Calls> all) {
  Results results;
  for (const Calls &calls : all) {
    backend.reset();
    for (const auto &inputs : calls.inputs) {
      auto outputs = backend.run(calls.function, inputs);
      if (!outputs)
        return outputs.takeError();
      results.push_back(std::move(*outputs));
    }
  }
  return results;
}

double toleranceOf(const Results &results, size_t call, size_t result, size_t element) {
  const Numbers *numbers = results[call][result].numbers();
  return numbers ? numbers->toleranceAt(element) : 0;
}

/// Empty when `found` agrees with `expected` within both tolerances.
std::string disagreement(const Results &found, const Results &expected) {
  for (size_t call = 0; call < expected.size(); ++call) {
    Agreement agreement = compare(found[call], expected[call], [&](size_t result, size_t element) {
      return toleranceOf(expected, call, result, element) + toleranceOf(found, call, result, element);
    });
    if (!agreement.disagreement.empty())
      return "call " + std::to_string(call) + ": " + agreement.disagreement;
  }
  return "";
}

std::string textOf(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream out(text);
  module.print(out, OpPrintingFlags().enableDebugInfo());
  return text;
}

size_t quantizeOps(ModuleOp module) {
  size_t count = 0;
  module->walk([&](QuantizeOp) { ++count; });
  return count;
}

/// A copy without `quantize` and what undoes it: all in f32. What rounding alone moves has a statistical
/// bound; without it the rest of a pass can be held to the last bits.
OwningOpRef<ModuleOp> withoutRounding(ModuleOp module) {
  OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone()));
  SmallVector<Operation *> removed;
  copy->walk([&](Operation *op) {
    if (auto quantize = dyn_cast<QuantizeOp>(op)) {
      quantize.getResult().replaceAllUsesWith(quantize.getInput());
      removed.push_back(op);
    } else if (auto dequantize = dyn_cast<DequantizeOp>(op);
               dequantize && dequantize.getInput().getType() == dequantize.getType()) {
      dequantize.getResult().replaceAllUsesWith(dequantize.getInput());
      removed.push_back(op);
    }
  });
  for (Operation *op : llvm::reverse(removed))
    op->erase();
  return copy;
}

/// Examples and files are most of a module's text, and no pass's business.
OwningOpRef<ModuleOp> copyWithoutExamples(ModuleOp module) {
  OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone()));
  copy->getOperation()->removeAttr(kFilesAttr);
  for (auto function : copy->getOps<func::FuncOp>())
    function->removeAttr(kExampleAttr);
  return copy;
}

/// Copies of the module after each pass.
struct Snapshots : PassInstrumentation {
  using Taken = std::vector<std::pair<std::string, OwningOpRef<ModuleOp>>>;
  explicit Snapshots(Taken &taken) : taken(taken) {}
  void runAfterPass(Pass *pass, Operation *op) override {
    if (auto module = dyn_cast<ModuleOp>(op); module && !module->getParentOp())
      taken.emplace_back(pass->getArgument().str(), copyWithoutExamples(module));
  }
  Taken &taken;
};

class Check {
public:
  Check(ModuleOp module, const CheckOptions &options) : module(module), options(options) {}

  std::optional<Finding> run() {
    stage = "text";
    if (auto message = survivesText(module); !message.empty())
      return Finding{stage, message};
    stage = "reference";
    auto files = ExampleFiles::read(module);
    if (!files)
      return failure(files.takeError());
    source = &*files;
    auto read = readCalls(module);
    if (!read)
      return failure(read.takeError());
    calls = std::move(*read);

    stage = "f32";
    auto exact = interpret(module, Arithmetic::F64, kF32Epsilon);
    if (!exact)
      return failure(exact.takeError());
    if (auto finding = compareInterpreted(module, *exact))
      return finding;
    return checkPasses();
  }

private:
  std::optional<Finding> failure(llvm::Error error) {
    return Finding{stage, llvm::toString(std::move(error))};
  }

  llvm::Expected<Results> interpret(ModuleOp program, Arithmetic arithmetic, double epsilon) {
    return runAll(*run_ir::interpreterBackend(program, {arithmetic, epsilon}, *source), calls);
  }

  std::string survivesText(ModuleOp program) {
    std::string text = textOf(program);
    auto parsed = parseSourceString<ModuleOp>(text, program.getContext());
    if (!parsed)
      return "what was printed does not parse";
    return textOf(*parsed) == text ? "" : "expected the same text after parsing, but found another";
  }

  std::optional<Finding> compareInterpreted(ModuleOp program, const Results &exact) {
    auto rounded = interpret(program, Arithmetic::F32, 0);
    if (!rounded)
      return failure(rounded.takeError());
    if (auto message = disagreement(*rounded, exact); !message.empty())
      return Finding{stage, message};
    return std::nullopt;
  }

  std::optional<Finding> checkPasses() {
    CompileOptions compileOptions;
    compileOptions.activations = options.activations;
    compileOptions.rowBounds = options.rowBounds;
    Snapshots::Taken taken;
    PassManager passes(module.getContext(), "builtin.module");
    passes.addInstrumentation(std::make_unique<Snapshots>(taken));
    addPipeline(passes, compileOptions);
    auto original = copyWithoutExamples(module), lowered = copyWithoutExamples(module);
    bool passed = succeeded(passes.run(*lowered));

    ModuleOp before = *original;
    auto expected = interpret(before, Arithmetic::F64, kF64Epsilon);
    std::string beforeText = textOf(before);
    for (auto &[name, after] : taken) {
      stage = "after " + name;
      if (!expected)
        return failure(expected.takeError());
      std::string text = textOf(*after);
      if (text == beforeText)
        continue;
      if (auto message = survivesText(*after); !message.empty())
        return Finding{stage, message};
      auto found = interpret(*after, Arithmetic::F64, kF64Epsilon);
      if (!found)
        return failure(found.takeError());
      // Kernels share what they hold; no pass below model level rounds.
      if (quantizeOps(*after) == quantizeOps(before) || !after->getOps<KernelOp>().empty()) {
        if (auto message = disagreement(*found, *expected); !message.empty())
          return Finding{stage, message};
      } else {
        auto exactBefore = interpret(*withoutRounding(before), Arithmetic::F64, kF64Epsilon),
             exactAfter = interpret(*withoutRounding(*after), Arithmetic::F64, kF64Epsilon);
        for (auto *each : {&exactBefore, &exactAfter})
          if (!*each)
            return failure(each->takeError());
        if (auto message = disagreement(*exactAfter, *exactBefore); !message.empty())
          return Finding{stage, "without rounding: " + message};
      }
      before = *after;
      beforeText = std::move(text);
      expected = std::move(found);
    }
    if (!expected)
      return failure(expected.takeError());
    if (!passed) {
      stage = "passes";
      return Finding{stage, "a pass failed"};
    }

    stage = "kernels";
    auto exact = interpret(*lowered, Arithmetic::F64, kF32Epsilon);
    if (!exact)
      return failure(exact.takeError());
    if (auto finding = compareInterpreted(*lowered, *exact))
      return finding;
    for (const cpu::CpuLevel *level : options.levels) {
      stage = "code for " + std::string(level->name);
      compileOptions.levels = {level};
      auto found = runAll(*run_ir::cpuBackend(module, compileOptions, *source), calls);
      if (!found)
        return failure(found.takeError());
      if (auto message = disagreement(*found, *exact); !message.empty())
        return Finding{stage, message};
    }
    return std::nullopt;
  }

  ModuleOp module;
  const CheckOptions &options;
  std::string stage;
  const ExampleFiles *source = nullptr;
  std::vector<Calls> calls;
};

Attribute constantOf(const Datum &datum, Builder builder) {
  if (const Numbers *numbers = datum.numbers()) {
    std::vector<float> values(numbers->data.begin(), numbers->data.end());
    return DenseElementsAttr::get(RankedTensorType::get(numbers->shape, builder.getF32Type()),
                                  ArrayRef(values));
  }
  const Integers *integers = datum.integers();
  std::vector<int32_t> values(integers->data.begin(), integers->data.end());
  return DenseElementsAttr::get(RankedTensorType::get(integers->shape, builder.getI32Type()),
                                ArrayRef(values));
}

} // namespace

std::optional<Finding> checkModule(ModuleOp module, const CheckOptions &options) {
  std::string diagnostics;
  ScopedDiagnosticHandler collect(module.getContext(), [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      diagnostics += "\n" + diagnostic.str();
    return success();
  });
  auto finding = Check(module, options).run();
  if (finding)
    finding->message += diagnostics;
  return finding;
}

llvm::Error setExpected(ModuleOp module) {
  auto files = ExampleFiles::read(module);
  if (!files)
    return files.takeError();
  auto all = readCalls(module);
  if (!all)
    return all.takeError();
  auto results = runAll(*run_ir::interpreterBackend(module, {Arithmetic::F64}, *files), *all);
  if (!results)
    return results.takeError();
  Builder builder(module.getContext());
  auto next = results->begin();
  for (const Calls &calls : *all) {
    auto function = module.lookupSymbol<func::FuncOp>(calls.function);
    SmallVector<Attribute> examples;
    for (auto call : function->getAttrOfType<ArrayAttr>(kExampleAttr).getAsRange<DictionaryAttr>()) {
      SmallVector<Attribute> expected;
      for (const Datum &datum : *next++)
        expected.push_back(constantOf(datum, builder));
      NamedAttrList entries(call);
      entries.set("expected", builder.getArrayAttr(expected));
      examples.push_back(entries.getDictionary(module.getContext()));
    }
    function->setAttr(kExampleAttr, builder.getArrayAttr(examples));
  }
  return llvm::Error::success();
}

} // namespace heddle::random_modules
