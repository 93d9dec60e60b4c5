// heddle bisect: which pass, or which generated code, makes a result wrong.
#include "codegen/plugin/Plugin.h"
#include "ir/Entries.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Parser/Parser.h"
#include "tools/heddle-reduce/Reducer.h"
#include "tools/heddle-run-ir/Check.h"
#include "tools/heddle-run-ir/Isolate.h"
#include "tools/heddle/ImportVerb.h"
#include "tools/heddle/Tensor.h"
#include "llvm/Support/raw_ostream.h"

namespace heddle::cli {
namespace {

using mlir::heddle::interpreter::Datum;
using run_ir::Calls;
using run_ir::CheckOptions;
using run_ir::Finding;

struct BisectVerb {
  ImportVerb import;
  std::string input, expected, against = "reference", output;
  unsigned reduceTests = 400;
};

constexpr unsigned kSecondsForCheck = 3600;

// The calls that a model's entry gets: one, of one sequence.
Calls callOf(mlir::func::FuncOp entry, const std::vector<int64_t> &tokens) {
  using mlir::heddle::EntryKind;
  EntryKind kind = mlir::heddle::entryKind(entry);
  if (kind == EntryKind::Tensors)
    fail(ExitUnsupported, "bisect makes calls of text and embedding entries only; write the model as IR with "
                          "examples (docs/interpreter.md)");
  int64_t rows = static_cast<int64_t>(tokens.size());
  std::vector<int64_t> zeros(rows), positions(rows);
  for (int64_t row = 0; row < rows; ++row)
    positions[row] = row;
  auto column = [&](const std::vector<int64_t> &data) {
    return Datum(mlir::heddle::interpreter::Integers{{rows}, data, {}});
  };
  Calls calls{entry.getName().str(), {{column(tokens), column(zeros), column(positions)}}};
  if (kind == EntryKind::Step)
    calls.inputs[0].push_back(column(positions)); // all rows are wanted
  return calls;
}

std::vector<int64_t> tokensOf(const std::string &input) {
  if (input.empty())
    return {1, 2, 3, 4};
  auto [name, value] = splitBinding(input, "--input");
  if (name != "tokens")
    fail(ExitUsage, "bisect takes --input tokens=..., but found '" + printable(name) + "'");
  Tensor ids = parseTensor(value, name, nullptr);
  std::vector<int64_t> tokens;
  for (int64_t index = 0; index < ids.count(); ++index)
    tokens.push_back(static_cast<int64_t>(ids.at(index)));
  if (tokens.empty())
    fail(ExitUsage, "tokens: expected at least one id");
  return tokens;
}

// Whether the reference itself gives what the user expects: the sum of squares of the difference against that
// of what is expected.
std::optional<Finding> compareReference(mlir::ModuleOp module, const ParameterSource &parameters,
                                        llvm::ArrayRef<Calls> calls, const std::string &expected) {
  auto [name, value] = splitBinding(expected, "--expected");
  Tensor wanted = parseTensor(value, name, nullptr);
  auto results = run_ir::runAll(
      *run_ir::interpreterBackend(module, {mlir::heddle::interpreter::Arithmetic::F64}, parameters), calls);
  if (!results)
    fail(ExitUnsupported, llvm::toString(results.takeError()));
  const auto *found = (*results)[0][0].numbers();
  if (!found || static_cast<int64_t>(found->data.size()) != wanted.count())
    fail(ExitUsage,
         "--expected: expected " + (*results)[0][0].describe() + ", but found " + shapeText(wanted.shape));
  double difference = 0, size = 0;
  for (int64_t index = 0; index < wanted.count(); ++index) {
    double delta = found->data[index] - wanted.at(index);
    difference += delta * delta;
    size += wanted.at(index) * wanted.at(index);
  }
  if (difference <= 1e-6 * size) // 0.1 %, what f32 evaluations of whole models differ by at most
    return std::nullopt;
  std::string message;
  llvm::raw_string_ostream(message) << "the model as it was read gives other results, relative L2 "
                                    << std::sqrt(difference / size);
  return Finding{"import", "", message};
}

std::string oneLine(llvm::StringRef text) {
  std::string line = printable(text.take_front(300).str());
  for (char &c : line)
    if (c == '\n' || c == '\r')
      c = ' ';
  return line;
}

// The ops of a reduced module, but for parameters and shapes: without any of them the finding is gone.
std::string opsLeft(mlir::ModuleOp module) {
  std::string names;
  for (auto function : module.getOps<mlir::func::FuncOp>())
    for (mlir::Operation &op : function.getBody().front().without_terminator())
      if (!mlir::isa<mlir::heddle::GetParamOp, mlir::heddle::GetCacheOp, mlir::heddle::ReshapeOp>(op) &&
          !op.hasTrait<mlir::OpTrait::ConstantLike>())
        names += ("'" + op.getName().getStringRef() + "', ").str();
  return names.empty() ? "" : names + "all that is left";
}

// Names the ops that are left in `finding` where none is named.
void writeReduced(const BisectVerb &verb, mlir::OwningOpRef<mlir::ModuleOp> &module, Finding &finding,
                  const CheckOptions &options) {
  auto check = [&](mlir::ModuleOp candidate) {
    return run_ir::isolatedCheck(
        options, [&](const CheckOptions &inChild) { return run_ir::checkModule(candidate, inChild); },
        kSecondsForCheck);
  };
  auto same = [&](mlir::ModuleOp candidate) {
    auto other = check(candidate);
    return other && other->stage == finding.stage && other->numbers() == finding.numbers();
  };
  ReduceResult reduced = reduceModule(module, same, verb.reduceTests);
  llvm::consumeError(run_ir::setExpected(*module)); // the reference may be what fails
  // Text of the model stands in comments and names only: nothing of it can be a command of lit.
  std::string text;
  llvm::raw_string_ostream out(text);
  auto smallest = check(*module);
  if (finding.op.empty())
    finding.op = opsLeft(*module);
  Finding last = smallest ? *smallest : finding;
  if (last.op.empty())
    last.op = finding.op;
  out << "// heddle bisect: " << oneLine(last.stage) << ": " << oneLine(last.op) << "\n// "
      << oneLine(last.message) << "\n// RUN: heddle-random-modules --check %s --activations "
      << options.activations;
  if (options.level)
    out << " --level " << options.level->name;
  out << "\n" << *module << "\n";
  writeFileAtomically(verb.output, text);
  std::fprintf(stderr, "heddle: reduced in %zu tests, written to %s\n", reduced.tests,
               printable(verb.output).c_str());
}

int report(const std::optional<Finding> &finding) {
  if (!finding) {
    std::printf("every pass and the compiled code agree with the reference\n");
    return ExitOk;
  }
  std::printf("stage    %s\n", printable(finding->stage).c_str());
  if (!finding->op.empty())
    std::printf("op       %s\n", printable(finding->op).c_str());
  std::printf("found    %s\n", printableText(finding->message).c_str());
  return ExitMismatch;
}

CheckOptions checkOptions(const BisectVerb &verb) {
  CheckOptions options;
  options.activations = verb.import.precise ? "i16" : verb.import.activations;
  std::vector<std::string> names = verb.import.targets;
  if (names == std::vector<std::string>{"cpu"})
    names = {"cpu:native"};
  Targets targets = parseTargets(names);
  if (targets.names != std::vector<std::string>{"cpu"})
    fail(ExitUnsupported, "bisect runs code of the CPU; found target '" + targets.names.back() + "'");
  options.level = targets.levels.empty() ? nullptr : targets.levels.back();
  return options;
}

int bisectExamples(const BisectVerb &verb) {
  loadPlugins(verb.import);
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlir::heddle::HeddleDialect>();
  pluginDialects().appendTo(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(verb.import.model, &context);
  if (!module)
    fail(ExitInvalidFile, printable(verb.import.model) + ": is not valid IR");
  CheckOptions options = checkOptions(verb);
  auto finding = run_ir::isolatedCheck(
      options, [&](const CheckOptions &inChild) { return run_ir::checkModule(*module, inChild); },
      kSecondsForCheck);
  if (finding && !verb.output.empty())
    writeReduced(verb, module, *finding, options);
  return report(finding);
}

int bisectModel(const BisectVerb &verb) {
  Importer importer(verb.import);
  CheckOptions options = checkOptions(verb);
  mlir::ModuleOp module = importer.module();
  std::vector<Calls> calls = {callOf(*module.getOps<mlir::func::FuncOp>().begin(), tokensOf(verb.input))};
  const ParameterSource &parameters = *importer.model().files;
  if (!verb.output.empty())
    fail(ExitUnsupported,
         "-o needs IR with executable examples (docs/interpreter.md): weights of a model file "
         "do not fit into a test");
  std::optional<Finding> finding;
  if (!verb.expected.empty())
    finding = compareReference(module, parameters, calls, verb.expected);
  if (!finding)
    finding = run_ir::isolatedCheck(
        options,
        [&](const CheckOptions &inChild) { return run_ir::checkModule(module, parameters, calls, inChild); },
        kSecondsForCheck);
  return report(finding);
}
} // namespace

void addBisect(CLI::App &app, Action &action) {
  auto *verb = app.add_subcommand("bisect", "Name the first pass or code whose result is wrong");
  auto options = std::make_shared<BisectVerb>();
  addImportOptions(*verb, options->import);
  verb->add_option("--input,--inputs", options->input, "Token ids of one sequence (1 2 3 4)")
      ->option_text("tokens=@IDS.npy");
  verb->add_option("--expected", options->expected, "What the model should give, for all rows")
      ->option_text("NAME=@REF.npy");
  verb->add_option("--against", options->against, "What compiled stages are compared with")
      ->check(CLI::IsMember({"reference"}))
      ->option_text("reference");
  verb->add_option("-o,--output", options->output, "Write the case, made small, as a lit test (IR only)")
      ->option_text("FILE.mlir");
  verb->add_option("--reduce-tests", options->reduceTests, "Most candidates when it is made small (400)")
      ->option_text("N");
  verb->callback([&action, options] {
    action = [options] {
      return llvm::StringRef(options->import.model).ends_with(".mlir") ? bisectExamples(*options)
                                                                       : bisectModel(*options);
    };
  });
}

} // namespace heddle::cli
