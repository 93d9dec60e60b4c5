#include "tools/heddle-random-modules/Check.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "tools/heddle-run-ir/Stages.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

namespace heddle::random_modules {
using run_ir::Calls;
using run_ir::disagreement;
using run_ir::readCalls;
using run_ir::Results;
using run_ir::runAll;

namespace {

std::string textOf(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream out(text);
  module.print(out, OpPrintingFlags().enableDebugInfo());
  return text;
}

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
    if (options.level)
      compileOptions.levels = {options.level}; // precision may depend on it
    std::string failed;
    auto stages = run_ir::stagesOf(module, compileOptions, failed);
    ModuleOp before = *stages[0].module;
    auto expected = interpret(before, Arithmetic::F64, kF64Epsilon);
    if (!expected)
      return failure(expected.takeError());
    for (auto &[pass, module] : llvm::drop_begin(stages)) {
      ModuleOp after = *module;
      stage = "after " + pass;
      if (auto message = survivesText(after); !message.empty())
        return Finding{stage, message};
      auto found = interpret(after, Arithmetic::F64, kF64Epsilon);
      if (!found)
        return failure(found.takeError());
      if (!run_ir::addsRounding(before, after)) {
        if (auto message = disagreement(*found, *expected); !message.empty())
          return Finding{stage, message};
      } else {
        auto exactBefore = interpret(*run_ir::withoutRounding(before), Arithmetic::F64, kF64Epsilon),
             exactAfter = interpret(*run_ir::withoutRounding(after), Arithmetic::F64, kF64Epsilon);
        for (auto *each : {&exactBefore, &exactAfter})
          if (!*each)
            return failure(each->takeError());
        if (auto message = disagreement(*exactAfter, *exactBefore); !message.empty())
          return Finding{stage, "without rounding: " + message};
      }
      before = after;
      expected = std::move(found);
    }
    if (!failed.empty())
      return Finding{"pass " + failed, "failed"};
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
    auto found = runAll(*run_ir::cpuBackend(module, compileOptions, *source), calls);
    if (!found)
      return failure(found.takeError());
    if (auto message = disagreement(*found, *exact); !message.empty())
      return Finding{stage, message};
    return std::nullopt;
  }

  ModuleOp module;
  const CheckOptions &options;
  std::string stage;
  const ExampleFiles *source = nullptr;
  std::vector<Calls> calls;
};

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
  run_ir::setExpected(module, *all, *results);
  return llvm::Error::success();
}

} // namespace heddle::random_modules
