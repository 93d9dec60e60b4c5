#include "tools/heddle-run-ir/Isolate.h"
#include "tools/heddle-run-ir/Check.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/raw_ostream.h"
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace heddle::run_ir {

// Processor time, so that a busy or paused machine is no finding; what waits for ever uses none, so a wall
// clock ends it too.
constexpr unsigned kWaiting = 10;

void stillAlive(unsigned seconds) {
  itimerval limit{{}, {time_t(seconds), 0}};
  setitimer(ITIMER_PROF, &limit, nullptr);
  alarm(kWaiting * seconds);
}

void writeText(int descriptor, const std::string &text) {
  for (size_t done = 0; done < text.size();) {
    ssize_t written = write(descriptor, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR)
      _exit(127);
    done += written > 0 ? written : 0;
  }
}

Outcome isolated(llvm::function_ref<void(int)> work, unsigned seconds) {
  int ends[2];
  if (pipe(ends) != 0)
    llvm::report_fatal_error("cannot make a pipe");
  llvm::outs().flush();
  pid_t child = fork();
  if (child < 0)
    llvm::report_fatal_error("cannot start a process");
  if (child == 0) {
    close(ends[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL); // whoever ends this program ends its child too
    for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM, SIGPROF})
      std::signal(signal, SIG_DFL); // without LLVM's stack traces
    stillAlive(seconds);
    work(ends[1]);
    _exit(0);
  }
  close(ends[1]);
  Outcome outcome;
  char buffer[4096];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof(buffer))) != 0;) {
    if (count < 0 && errno != EINTR)
      break;
    if (count > 0)
      outcome.text.append(buffer, count);
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
    outcome.death = "no result within " + std::to_string(seconds) + " s of processor time";
  else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    outcome.death = "no result within " + std::to_string(kWaiting * seconds) + " s";
  else if (WIFSIGNALED(status))
    outcome.death = "signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
  else if (WEXITSTATUS(status) != 0)
    outcome.death = "exit " + std::to_string(WEXITSTATUS(status));
  return outcome;
}

std::optional<Finding>
isolatedCheck(const CheckOptions &options,
              llvm::function_ref<std::optional<Finding>(const CheckOptions &options)> check,
              unsigned seconds) {
  // A line for each stage; then, after a line of its own, the finding: stage, op, and the rest is the
  // message.
  constexpr llvm::StringLiteral mark = "\n\n";
  Outcome outcome = isolated(
      [&](int descriptor) {
        CheckOptions inChild = options;
        inChild.atStage = [&](llvm::StringRef stage) { writeText(descriptor, "\n" + stage.str()); };
        if (auto finding = check(inChild))
          writeText(descriptor, mark.str() + finding->stage + "\n" + finding->op + "\n" + finding->message);
      },
      seconds);
  auto [stages, found] = llvm::StringRef(outcome.text).split(mark);
  if (!outcome.death.empty())
    return Finding{stages.rsplit('\n').second.str(), "", outcome.death};
  if (found.empty())
    return std::nullopt;
  auto [stage, rest] = found.split('\n');
  auto [op, message] = rest.split('\n');
  return Finding{stage.str(), op.str(), message.str()};
}

} // namespace heddle::run_ir
