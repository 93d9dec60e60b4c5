// heddle: compiles models and runs compiled ones. One file per verb; this one parses, reports failures and
// exits.
#include "tools/heddle/Common.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdio>
#include <new>
#include <unistd.h>

using namespace heddle::cli;

static int report(Exit code, const std::string &message) {
  std::fflush(stdout);
  std::fprintf(stderr, "heddle: error: %s\n", printableText(message).c_str());
  return code;
}

static int runVerb(const Action &action) {
  int code;
  try {
    code = action();
  } catch (const Failure &failure) {
    return report(interrupted() ? ExitInterrupted : failure.code, failure.message);
  } catch (const std::bad_alloc &) {
    return report(ExitResourceLimit, "out of memory");
  } catch (const std::exception &problem) {
    return report(ExitInternal, std::string("internal error: ") + problem.what());
  }
  // What cannot be written must not look like success: a full disk, a closed pipe.
  llvm::outs().flush();
  bool written = !llvm::outs().has_error();
  llvm::outs().clear_error();
  if (!written || std::fflush(stdout) != 0 || std::ferror(stdout))
    return report(ExitInputOutput, "standard output cannot be written");
  return code;
}

int main(int argc, char **argv) {
  installInterruptHandler();
  CLI::App app{"Compiles models to one file of code and weights, and runs such files."};
  app.name("heddle");
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "Show this help");
  app.get_formatter()->column_width(34);
  Action action;
  addCompile(app, action);
  addRun(app, action);
  addEval(app, action);
  addTokenize(app, action);
  addBench(app, action);
  addInspect(app, action);
  addExplain(app, action);
  addCheck(app, action);
  addBisect(app, action);
  addTrust(app, action);
  addVerify(app, action);
  addTargets(app, action);
  addDoctor(app, action);
  addVersion(app, action);
  addCompletion(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &problem) {
    if (problem.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) { // --help
      app.exit(problem);
      return std::fflush(stdout) ? ExitInputOutput : ExitOk;
    }
    std::string verb;
    for (CLI::App *used : app.get_subcommands())
      verb = " " + used->get_name();
    return report(ExitUsage, std::string(problem.what()) + "; see heddle" + verb + " --help");
  }
  return runVerb(action);
}
