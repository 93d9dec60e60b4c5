#include "tools/heddle-run-ir/Check.h"
#include "ir/SourceNames.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

namespace heddle::run_ir {
namespace {

std::string textOf(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream out(text);
  module.print(out, OpPrintingFlags().enableDebugInfo());
  return text;
}

/// A result of an op, as a program made it.
struct Made {
  Operation *op;
  Datum datum;
};

std::string describe(Operation *op) {
  return ("'" + op->getName().getStringRef() + "' of " + describeSource(op->getLoc())).str();
}

class Check {
public:
  Check(ModuleOp module, const ParameterSource &parameters, ArrayRef<Calls> calls,
        const CheckOptions &options)
      : module(module), source(parameters), calls(calls), options(options) {}

  std::optional<Finding> run() {
    stage = "text";
    if (auto message = survivesText(module); !message.empty())
      return Finding{stage, "", message};
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
    return Finding{stage, "", llvm::toString(std::move(error))};
  }

  llvm::Expected<Results> interpret(ModuleOp program, Arithmetic arithmetic, double epsilon) {
    return runAll(*interpreterBackend(program, {arithmetic, epsilon}, source), calls);
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
      return Finding{stage, "", message};
    return std::nullopt;
  }

  std::optional<Finding> checkPasses() {
    CompileOptions compileOptions;
    compileOptions.activations = options.activations;
    compileOptions.rowBounds = options.rowBounds;
    if (options.level)
      compileOptions.levels = {options.level}; // precision may depend on it
    std::string failed;
    auto stages = stagesOf(module, compileOptions, failed);
    ModuleOp before = *stages[0].module;
    auto expected = interpret(before, Arithmetic::F64, kF64Epsilon);
    if (!expected)
      return failure(expected.takeError());
    for (auto &[pass, module] : llvm::drop_begin(stages)) {
      ModuleOp after = *module;
      stage = "after " + pass;
      if (auto message = survivesText(after); !message.empty())
        return Finding{stage, "", message};
      auto found = interpret(after, Arithmetic::F64, kF64Epsilon);
      if (!found)
        return failure(found.takeError());
      if (!addsRounding(before, after)) {
        if (auto message = disagreement(*found, *expected); !message.empty())
          return Finding{stage, firstNewResult(before, after), message};
      } else {
        auto plainBefore = withoutRounding(before), plainAfter = withoutRounding(after);
        auto exactBefore = interpret(*plainBefore, Arithmetic::F64, kF64Epsilon),
             exactAfter = interpret(*plainAfter, Arithmetic::F64, kF64Epsilon);
        for (auto *each : {&exactBefore, &exactAfter})
          if (!*each)
            return failure(each->takeError());
        if (auto message = disagreement(*exactAfter, *exactBefore); !message.empty())
          return Finding{stage, firstNewResult(*plainBefore, *plainAfter), "without rounding: " + message};
      }
      before = after;
      expected = std::move(found);
    }
    if (!failed.empty())
      return Finding{"pass " + failed, "", "failed"};
    ModuleOp lowered = before;

    stage = "kernels";
    auto exact = interpret(lowered, Arithmetic::F64, kF32Epsilon);
    if (!exact)
      return failure(exact.takeError());
    if (auto finding = compareInterpreted(lowered, *exact))
      return finding;
    if (!options.level)
      return std::nullopt;
    stage = "code for " + std::string(options.level->name);
    auto found = runAll(*cpuBackend(module, compileOptions, source), calls);
    if (!found)
      return failure(found.takeError());
    if (auto message = disagreement(*found, *exact); !message.empty())
      return Finding{stage, firstObserved(compileOptions), message};
    return std::nullopt;
  }

  /// All numbers that ops of `program` make, kernels included, in order.
  std::vector<Made> madeBy(ModuleOp program) {
    std::vector<Made> made;
    Interpreter interpreter(program, {Arithmetic::F64, kF64Epsilon}, &source);
    interpreter.setObserver([&](Operation *op, ArrayRef<Datum>, ArrayRef<Datum> results) {
      if (isa<GetParamOp>(op))
        return;
      for (const Datum &result : results)
        if (result.numbers())
          made.push_back({op, result});
    });
    for (const Calls &each : calls) {
      interpreter.clearState();
      for (const auto &inputs : each.inputs)
        if (auto results = interpreter.run(each.function, inputs); !results)
          llvm::consumeError(results.takeError());
    }
    return made;
  }

  /// The first op of `after` that makes what no op of `before` made: the one that a pass broke, or that it
  /// made of others.
  std::string firstNewResult(ModuleOp before, ModuleOp after) {
    llvm::DenseMap<size_t, std::vector<const Numbers *>> known; // by count
    auto old = madeBy(before);
    for (const Made &each : old)
      known[each.datum.numbers()->data.size()].push_back(each.datum.numbers());
    for (const Made &each : madeBy(after)) {
      const Numbers &found = *each.datum.numbers();
      bool same = llvm::any_of(known[found.data.size()], [&](const Numbers *other) {
        for (size_t i = 0; i < found.data.size(); ++i)
          if (!agrees(found.data[i], other->data[i], found.toleranceAt(i) + other->toleranceAt(i)))
            return false;
        return true;
      });
      if (!same)
        return describe(each.op);
    }
    return "";
  }

  /// The first value that compiled code and the interpreter see differently, of those that observers show.
  std::string firstObserved(CompileOptions compileOptions) {
    compileOptions.observe = "linear,attention";
    std::string failed;
    auto stages = stagesOf(module, compileOptions, failed);
    auto exact = interpret(*stages.back().module, Arithmetic::F64, kF32Epsilon);
    auto found = runAll(*cpuBackend(module, compileOptions, source), calls);
    if (!exact || !found || !failed.empty()) {
      llvm::consumeError(exact.takeError());
      llvm::consumeError(found.takeError());
      return "";
    }
    auto function = *stages.back().module->getOps<func::FuncOp>().begin();
    for (size_t call = 0; call < exact->size(); ++call)
      for (size_t result = 0; result < std::min((*exact)[call].size(), (*found)[call].size()); ++result) {
        auto name = function.getResultAttrOfType<StringAttr>(result, kNameAttr);
        if (!name || !name.getValue().starts_with("observe."))
          continue;
        Agreement agreement =
            compare((*found)[call][result], (*exact)[call][result], [&](size_t, size_t element) {
              const Numbers *numbers = (*exact)[call][result].numbers();
              return numbers ? numbers->toleranceAt(element) : 0;
            });
        if (!agreement.disagreement.empty())
          return name.getValue().str();
      }
    return "";
  }

  ModuleOp module;
  const ParameterSource &source;
  ArrayRef<Calls> calls;
  const CheckOptions &options;
  std::string stage;
};

} // namespace

std::optional<Finding> checkModule(ModuleOp module, const ParameterSource &parameters, ArrayRef<Calls> calls,
                                   const CheckOptions &options) {
  std::string diagnostics;
  ScopedDiagnosticHandler collect(module.getContext(), [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      diagnostics += "\n" + diagnostic.str();
    return success();
  });
  auto finding = Check(module, parameters, calls, options).run();
  if (finding)
    finding->message += diagnostics;
  return finding;
}

std::optional<Finding> checkModule(ModuleOp module, const CheckOptions &options) {
  auto files = ExampleFiles::read(module);
  if (!files)
    return Finding{"reference", "", llvm::toString(files.takeError())};
  auto calls = readCalls(module);
  if (!calls)
    return Finding{"reference", "", llvm::toString(calls.takeError())};
  return checkModule(module, *files, *calls, options);
}

llvm::Error setExpected(ModuleOp module) {
  auto files = ExampleFiles::read(module);
  if (!files)
    return files.takeError();
  auto all = readCalls(module);
  if (!all)
    return all.takeError();
  auto results = runAll(*interpreterBackend(module, {Arithmetic::F64}, *files), *all);
  if (!results)
    return results.takeError();
  setExpected(module, *all, *results);
  return llvm::Error::success();
}

} // namespace heddle::run_ir
