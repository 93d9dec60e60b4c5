// heddle-reduce: shrinks a module while a script says that it is still interesting. docs/testing.md.
#include "ir/Heddle.h"
#include "mlir/IR/AsmState.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "tools/heddle-reduce/Reducer.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/ToolOutputFile.h"

static llvm::cl::opt<std::string> inputFile(llvm::cl::Positional, llvm::cl::desc("FILE.mlir"),
                                            llvm::cl::Required);
static llvm::cl::opt<std::string>
    test("test",
         llvm::cl::desc("Program that gets the path of a candidate; exit 0 says that it is interesting"),
         llvm::cl::Required);
static llvm::cl::list<std::string> testArguments("test-arg",
                                                 llvm::cl::desc("Argument of the program, before the path"));
static llvm::cl::opt<std::string> outputFile("o", llvm::cl::desc("Where the result goes"),
                                             llvm::cl::init("-"));
static llvm::cl::opt<unsigned> maxTests("max-tests", llvm::cl::desc("Most candidates to try (4000)"),
                                        llvm::cl::init(4000));

static int fail(const llvm::Twine &message, int status) {
  llvm::errs() << "heddle-reduce: " << message << "\n";
  return status;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  llvm::cl::ParseCommandLineOptions(argc, argv, "Shrinks a module while a test program exits with 0\n");
  auto program = llvm::sys::findProgramByName(test);
  if (!program)
    return fail("cannot find the program '" + test + "' of --test", 2);

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlir::heddle::HeddleDialect>();
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(inputFile, &context);
  if (!module)
    return 3;

  llvm::SmallString<128> candidate;
  if (std::error_code code = llvm::sys::fs::createTemporaryFile("heddle-reduce", "mlir", candidate))
    return fail("cannot make a temporary file: " + code.message(), 74);
  llvm::FileRemover remover(candidate);
  bool written = true;
  auto interesting = [&](mlir::ModuleOp module) {
    std::error_code code;
    llvm::raw_fd_ostream out(candidate, code);
    if (!code)
      out << module;
    out.close();
    if (code || out.has_error()) {
      out.clear_error();
      written = false;
      return false;
    }
    llvm::SmallVector<llvm::StringRef> arguments = {*program};
    arguments.append(testArguments.begin(), testArguments.end());
    arguments.push_back(candidate);
    std::optional<llvm::StringRef> quiet[] = {"", "", ""};
    return llvm::sys::ExecuteAndWait(*program, arguments, std::nullopt, quiet) == 0;
  };
  heddle::ReduceResult result = heddle::reduceModule(module, interesting, maxTests);
  if (!written)
    return fail("cannot write '" + candidate + "'", 74);
  if (!result.interesting)
    return fail("expected '" + test + "' to exit with 0 for '" + inputFile + "', but it did not", 1);

  std::string error;
  auto output = mlir::openOutputFile(outputFile, &error);
  if (!output)
    return fail(error, 74);
  output->os() << *module << "\n";
  output->keep();
  llvm::errs() << "heddle-reduce: " << result.tests << " candidates tried\n";
  return 0;
}
