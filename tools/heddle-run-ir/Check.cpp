#include "tools/heddle-run-ir/Check.h"
#include "ir/SourceNames.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Parser/Parser.h"
#include "passes/Passes.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

namespace heddle::run_ir {
namespace {

constexpr uint64_t kTieSeeds = 64;

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
    enter("text");
    if (auto message = survivesText(module); !message.empty())
      return Finding{stage, "", message};
    enter("f32");
    auto exact = interpret(module, Arithmetic::F64, kF32Epsilon);
    if (!exact)
      return failure(exact.takeError());
    if (auto finding = compareInterpreted(module, *exact))
      return finding;
    return checkPasses();
  }

private:
  void enter(std::string next) {
    stage = std::move(next);
    if (options.atStage)
      options.atStage(stage);
  }

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
    if (auto message = disagreement(program, *rounded, exact); !message.empty())
      return Finding{stage, "", message};
    return std::nullopt;
  }

  /// Of f32 results with those of `program` in f64. Deviations of a sum count as independent (Tolerance.h),
  /// which what follows from one flipped code is not: where that seems wrong, programs that round such codes
  /// to either side show what flips do.
  std::string disagreement(ModuleOp program, const Results &found, const Results &exact) {
    std::string message = run_ir::disagreement(found, exact);
    if (message.empty())
      return message;
    std::vector<Results> others;
    for (uint64_t seed = 1; seed <= kTieSeeds; ++seed) {
      Options options{Arithmetic::F64, kF32Epsilon};
      options.tieSeed = seed;
      auto other = runAll(*interpreterBackend(program, options, source), calls);
      if (!other)
        return llvm::toString(other.takeError());
      others.push_back(std::move(*other));
    }
    return run_ir::disagreement(found, exact, others, &failedCall);
  }

  std::optional<Finding> checkPasses() {
    CompileOptions compileOptions;
    compileOptions.activations = options.activations;
    compileOptions.rowBounds = options.rowBounds;
    if (options.level)
      compileOptions.levels = {options.level}; // precision may depend on it
    std::string failed;
    auto stages =
        stagesOf(module, compileOptions, failed, [&](StringRef pass) { enter("pass " + pass.str()); });
    ModuleOp before = *stages[0].module;
    auto expected = interpret(before, Arithmetic::F64, kF64Epsilon);
    if (!expected)
      return failure(expected.takeError());
    for (auto &[pass, module] : llvm::drop_begin(stages)) {
      ModuleOp after = *module;
      enter("after " + pass);
      if (auto message = survivesText(after); !message.empty())
        return Finding{stage, "", message};
      auto found = interpret(after, Arithmetic::F64, kF64Epsilon);
      if (!found)
        return failure(found.takeError());
      if (!addsRounding(before, after)) {
        if (auto message = run_ir::disagreement(*found, *expected, {}, &failedCall); !message.empty())
          return Finding{stage, firstNewResult(before, after), message};
      } else {
        auto plainBefore = withoutRounding(before), plainAfter = withoutRounding(after);
        auto exactBefore = interpret(*plainBefore, Arithmetic::F64, kF64Epsilon),
             exactAfter = interpret(*plainAfter, Arithmetic::F64, kF64Epsilon);
        for (auto *each : {&exactBefore, &exactAfter})
          if (!*each)
            return failure(each->takeError());
        if (auto message = run_ir::disagreement(*exactAfter, *exactBefore, {}, &failedCall); !message.empty())
          return Finding{stage, firstNewResult(*plainBefore, *plainAfter), "without rounding: " + message};
      }
      before = after;
      expected = std::move(found);
    }
    if (!failed.empty())
      return Finding{"pass " + failed, "", "failed"};
    ModuleOp lowered = before;

    enter("kernels");
    auto exact = interpret(lowered, Arithmetic::F64, kF32Epsilon);
    if (!exact)
      return failure(exact.takeError());
    if (auto finding = compareInterpreted(lowered, *exact))
      return finding;
    if (!options.level)
      return std::nullopt;
    enter("code for " + std::string(options.level->name));
    SmallVector<Calls> compiled = llvm::to_vector(llvm::make_filter_range(calls, [&](const Calls &each) {
      return !module.lookupSymbol(each.function)->hasAttr(kSkipCompiledAttr);
    }));
    if (compiled.size() != calls.size()) {
      calls = compiled;
      if (exact = interpret(lowered, Arithmetic::F64, kF32Epsilon); !exact)
        return failure(exact.takeError());
    }
    auto found = runAll(*cpuBackend(module, compileOptions, source), calls);
    if (!found)
      return failure(found.takeError());
    if (auto message = disagreement(lowered, *found, *exact); !message.empty())
      return Finding{stage, firstWrongOp(compileOptions), message};
    return std::nullopt;
  }

  /// All numbers that ops of `program` make in the calls that fail, kernels included, in order.
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
    Calls failed = failedCalls();
    for (const auto &inputs : failed.inputs)
      if (auto results = interpreter.run(failed.function, inputs); !results)
        llvm::consumeError(results.takeError());
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

  /// The calls of the function whose results differ.
  Calls failedCalls() {
    size_t before = 0;
    for (const Calls &each : calls) {
      before += each.inputs.size();
      if (failedCall < before)
        return each;
    }
    return calls.back();
  }

  /// A value of the model that a caller can see: what an op makes for each row.
  struct Visible {
    Operation *op;
    size_t result; // of the function, where it is one
  };

  std::vector<Visible> visibleValues(func::FuncOp function) {
    std::vector<Visible> visible;
    Operation *end = function.getBody().front().getTerminator();
    for (Operation &op : function.getBody().front().without_terminator()) {
      auto type = op.getNumResults() == 1 ? dyn_cast<RankedTensorType>(op.getResult(0).getType()) : nullptr;
      if (!type || !type.getElementType().isF32() || type.getRank() == 0 || !type.isDynamicDim(0))
        continue;
      auto returned = llvm::find(end->getOperands(), op.getResult(0));
      visible.push_back({&op, size_t(returned - end->operand_begin())});
    }
    return visible;
  }

  /// Which of `watched` compiled code makes differently, when it returns them beside the results.
  std::optional<std::vector<bool>> wrongOnes(const Calls &failed, ArrayRef<Visible> watched,
                                             const CompileOptions &compileOptions) {
    IRMapping map;
    OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone(map)));
    auto function = copy->lookupSymbol<func::FuncOp>(failed.function);
    Operation *end = function.getBody().front().getTerminator();
    std::vector<size_t> results;
    const size_t own = function.getNumResults();
    for (const Visible &each : watched) {
      bool isReturned = each.result < own;
      results.push_back(isReturned ? each.result : function.getNumResults());
      if (isReturned)
        continue;
      Value value = map.lookup(each.op->getResult(0));
      Builder builder(copy->getContext());
      auto name = builder.getStringAttr(kObserverPrefix + std::to_string(results.back()));
      function.insertResult(function.getNumResults(), value.getType(),
                            builder.getDictionaryAttr(builder.getNamedAttr(kNameAttr, name)));
      end->insertOperands(end->getNumOperands(), value);
    }
    std::string failedPass;
    auto stages = stagesOf(*copy, compileOptions, failedPass);
    auto exact =
        runAll(*interpreterBackend(*stages.back().module, {Arithmetic::F64, kF32Epsilon}, source), failed);
    auto found = runAll(*cpuBackend(*copy, compileOptions, source), failed);
    if (!exact || !found || !failedPass.empty()) {
      llvm::consumeError(exact.takeError());
      llvm::consumeError(found.takeError());
      return std::nullopt;
    }
    std::vector<bool> wrong;
    for (size_t result : results)
      wrong.push_back(llvm::any_of(llvm::zip(*exact, *found), [&](auto both) {
        auto &[expected, made] = both;
        const Numbers *numbers = expected[result].numbers();
        return !compare(made[result], expected[result], [&](size_t, size_t element) {
                  return numbers->toleranceAt(element);
                }).disagreement.empty();
      }));
    return wrong;
  }

  /// The first op whose result compiled code makes differently. Values that are returned are not fused away:
  /// where all are right then, one at a time is returned, halving.
  std::string firstWrongOp(const CompileOptions &compileOptions) {
    Calls failed = failedCalls();
    auto visible = visibleValues(module.lookupSymbol<func::FuncOp>(failed.function));
    if (auto wrong = wrongOnes(failed, visible, compileOptions))
      if (auto first = llvm::find(*wrong, true); first != wrong->end())
        return describe(visible[first - wrong->begin()].op);
    size_t right = 0,
           end = visible.size(); // all before `right` are right; what the function returns is wrong
    while (right < end) {
      size_t middle = (right + end) / 2;
      auto wrong = wrongOnes(failed, visible[middle], compileOptions);
      if (wrong && wrong->front())
        end = middle;
      else
        right = middle + 1;
    }
    return right < visible.size() ? describe(visible[right].op) : "";
  }

  ModuleOp module;
  const ParameterSource &source;
  ArrayRef<Calls> calls;
  const CheckOptions &options;
  std::string stage;
  size_t failedCall = 0; // of all calls
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
