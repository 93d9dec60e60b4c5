// Imports a model file for tests: prints its model-level IR, or evaluates it with the reference interpreter.
#include "frontends/Import.h"
#include "frontends/common/InputError.h"
#include "ir/interpreter/Interpreter.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

namespace interpreter = mlir::heddle::interpreter;
namespace cl = llvm::cl;

static cl::opt<std::string> path(cl::Positional, cl::Required, cl::desc("MODEL"));
static cl::opt<bool> locations("locations", cl::desc("print locations"));
static cl::opt<int64_t> maxContext("max-context", cl::init(0), cl::desc("positions of a sequence"));
static cl::list<int64_t> tokens("tokens", cl::CommaSeparated,
                                cl::desc("evaluate on these tokens, results as f32 bytes"));
static cl::list<int64_t> lengths("lengths", cl::CommaSeparated,
                                 cl::desc("lengths of the sequences that the tokens form; default: one"));

static interpreter::Datum indices(std::vector<int64_t> values) {
  interpreter::Shape shape{static_cast<int64_t>(values.size())};
  return interpreter::Integers{shape, std::move(values), {}};
}

/// Runs `step` (logits of all rows) or `encode`.
static llvm::Expected<llvm::SmallVector<interpreter::Datum>> evaluate(const heddle::ImportedModel &model) {
  std::vector<int64_t> sequences, positions, rows;
  if (lengths.empty())
    lengths.push_back(static_cast<int64_t>(tokens.size()));
  for (size_t s = 0; s < lengths.size(); ++s)
    for (int64_t position = 0; position < lengths[s]; ++position) {
      rows.push_back(static_cast<int64_t>(rows.size()));
      sequences.push_back(static_cast<int64_t>(s));
      positions.push_back(position);
    }
  if (rows.size() != tokens.size())
    return llvm::createStringError("the lengths add up to another number than that of the tokens");
  interpreter::Interpreter run(*model.module, {}, model.files.get());
  llvm::SmallVector<interpreter::Datum> inputs{indices({tokens.begin(), tokens.end()}), indices(sequences),
                                               indices(positions)};
  if (model.facts.entry == "step")
    inputs.push_back(indices(rows));
  return run.run(model.facts.entry, inputs);
}

static int fail(llvm::Error error) {
  heddle::Failure failure = heddle::takeFailure(std::move(error));
  llvm::errs() << failure.message << "\n";
  return failure.exitCode;
}

int main(int argc, char **argv) {
  cl::ParseCommandLineOptions(argc, argv);
  mlir::MLIRContext context;
  heddle::ImportOptions options;
  options.maxContext = maxContext;
  llvm::Expected<heddle::ImportedModel> model = heddle::importModel(context, path, options);
  if (!model)
    return fail(model.takeError());
  if (tokens.empty()) {
    mlir::OpPrintingFlags flags;
    flags.enableDebugInfo(locations);
    model->module->print(llvm::outs(), flags);
    return 0;
  }
  llvm::Expected<llvm::SmallVector<interpreter::Datum>> results = evaluate(*model);
  if (!results)
    return fail(results.takeError());
  for (double number : results->front().numbers()->data) {
    float single = static_cast<float>(number);
    llvm::outs().write(reinterpret_cast<const char *>(&single), sizeof(single));
  }
  return 0;
}
