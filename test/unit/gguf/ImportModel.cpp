// Prints the model-level IR of a model file, with locations on request; for the lit tests of frontends.
#include "frontends/Import.h"
#include "frontends/common/InputError.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

static llvm::cl::opt<std::string> path(llvm::cl::Positional, llvm::cl::Required, llvm::cl::desc("MODEL"));
static llvm::cl::opt<bool> locations("locations", llvm::cl::desc("print locations"));
static llvm::cl::opt<int64_t> maxContext("max-context", llvm::cl::init(0), llvm::cl::desc("positions of a sequence"));

int main(int argc, char **argv) {
  llvm::cl::ParseCommandLineOptions(argc, argv);
  mlir::MLIRContext context;
  heddle::ImportOptions options;
  options.maxContext = maxContext;
  llvm::Expected<heddle::ImportedModel> model = heddle::importModel(context, path, options);
  if (!model) {
    heddle::Failure failure = heddle::takeFailure(model.takeError());
    llvm::errs() << failure.message << "\n";
    return failure.exitCode;
  }
  mlir::OpPrintingFlags flags;
  flags.enableDebugInfo(locations);
  model->module->print(llvm::outs(), flags);
  return 0;
}
