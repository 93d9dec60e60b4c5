// During a run no system call but futex is made: a filter of the kernel kills the process at any other.
#include "Fixture.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace heddle::test;

namespace {

/// From here on all threads may call futex and exit_group only.
bool forbidSystemCalls() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  sock_fprog filter = {sizeof(program) / sizeof(program[0]), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}

/// The child's part: 0 when all went well, other numbers for steps that failed.
int runQuietly(uint32_t threads, bool tattle) {
  // Static: freeing it would be a system call.
  static Bytes bytes = ToyModel().artifact().build();
  heddle_source source = memorySource(bytes);
  heddle_model_options options = vouched();
  heddle_model *model = nullptr;
  heddle_team *team = nullptr;
  heddle_session *session = nullptr;
  heddle_team_options teamOptions = {sizeof(teamOptions), threads, 0, 1}; // sleeps almost at once
  heddle_session_options sessionOptions = {};
  sessionOptions.struct_size = sizeof(sessionOptions);
  sessionOptions.sequences = 2;
  if (heddle_model_open(&source, &options, &model, nullptr) ||
      heddle_team_create(&teamOptions, &team, nullptr))
    return 1;
  sessionOptions.team = team;
  if (heddle_session_create(model, &sessionOptions, &session, nullptr))
    return 2;
  int32_t tokens[200] = {}, slots[200] = {}, positions[200] = {};
  heddle_step first = {sizeof(first), tokens, slots, positions, 1, 0, nullptr};
  // Threads make system calls while they start; after a step they all have.
  if (heddle_session_step(session, nullptr, &first, nullptr) || heddle_sequence_clear(session, 0, nullptr))
    return 3;
  if (!forbidSystemCalls())
    return 4;
  if (tattle)
    getppid();
  for (int32_t start = 0; start < 400; start += 200) {
    for (int32_t i = 0; i < 200; ++i)
      positions[i] = start + i;
    int32_t wanted = 199;
    heddle_step step = {sizeof(step), tokens, slots, positions, 200, 1, &wanted};
    heddle_view view = {};
    view.struct_size = sizeof(view);
    if (heddle_session_step(session, nullptr, &step, nullptr) ||
        heddle_session_output(session, nullptr, 0, &view, nullptr) ||
        *static_cast<float *>(view.data) != start + 200)
      return 5;
    if (heddle_sequence_fork(session, 0, 1, nullptr) || heddle_sequence_trim(session, 1, 150, nullptr))
      return 6;
  }
  int32_t slot = 1, position = 150, wanted = 0; // writes to a shared page
  heddle_step step = {sizeof(step), tokens, &slot, &position, 1, 1, &wanted};
  return heddle_session_step(session, nullptr, &step, nullptr) ? 7 : 0;
}

int statusOf(uint32_t threads, bool tattle) {
  pid_t child = fork();
  if (child == 0)
    _exit(runQuietly(threads, tattle));
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

} // namespace

TEST_CASE("a run makes no system call but futex") {
  for (uint32_t threads : {1u, 3u}) {
    int status = statusOf(threads, false);
    INFO("signal " << WTERMSIG(status));
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(WIFSIGNALED(statusOf(threads, true))); // the filter works
  }
}
