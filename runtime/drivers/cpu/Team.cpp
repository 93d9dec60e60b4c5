#include "drivers/cpu/Team.h"
#include "core/Session.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace heddle::runtime;

namespace heddle::runtime {
/// One cache line pair (x86 fetches lines in pairs) that only one worker writes in the common case.
struct alignas(128) Flag {
  uint32_t round;    // how many barrier rounds this worker has entered
  uint32_t sleepers; // workers that sleep until `round` changes
  uint32_t cpu;      // where this worker entered the round
};
} // namespace heddle::runtime

namespace {

// From linux/futex.h, which is not among every C library's headers.
constexpr int futexWait = 0, futexWake = 1, futexPrivate = 128;

constexpr uint32_t maxThreads = 256;
// Ticks of the time stamp counter in a microsecond. Real ones differ by a factor of 2 at most, which a busy
// wait of "about" so many microseconds can bear.
constexpr uint64_t ticksPerMicrosecond = 2500;

void pause() { __builtin_ia32_pause(); }

} // namespace

struct heddle_team {
  uint32_t threads, flags;
  uint64_t spinTicks;
  uint32_t sessions;     // atomic
  uint32_t left;         // atomic: callers' threads that have left
  uint32_t started;      // threads of its own
  pthread_mutex_t turn;  // all zeros: unlocked
  TeamFunction function; // NULL: leave
  void *context;
  struct Member {
    heddle_team *team;
    pthread_t thread;
    uint32_t present; // atomic: a caller's thread is this worker
  } members[maxThreads];
  Flag workers[];
};

namespace {

long futex(uint32_t *word, int operation, uint32_t value) {
  return syscall(SYS_futex, word, operation | futexPrivate, value, nullptr, nullptr, 0);
}

/// Whether `round` has come to `wanted`; counters wrap around.
bool reached(uint32_t round, uint32_t wanted) { return static_cast<int32_t>(round - wanted) >= 0; }

void announce(Flag &flag, uint32_t round) {
  __atomic_store_n(&flag.cpu, sched_getcpu(), __ATOMIC_RELAXED);
  // Sequentially consistent, as is the load after it: either the sleeper sees the new round or we see the
  // sleeper.
  __atomic_store_n(&flag.round, round, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&flag.sleepers, __ATOMIC_SEQ_CST))
    futex(&flag.round, futexWake, INT_MAX);
}

/// Whether a worker that is behind `own` was last seen on this CPU: it cannot go on while we spin here. The
/// scheduler puts two workers on one CPU when the others are busy, and spinning then would cost all of its
/// time.
bool blocksOther(const heddle_team &team, const Flag &own) {
  uint32_t cpu = sched_getcpu();
  for (uint32_t i = 0; i < team.threads; ++i) {
    const Flag &other = team.workers[i];
    if (!reached(__atomic_load_n(&other.round, __ATOMIC_RELAXED), own.round) &&
        __atomic_load_n(&other.cpu, __ATOMIC_RELAXED) == cpu)
      return true;
  }
  return false;
}

void await(heddle_team &team, const Flag &own, Flag &flag, uint32_t wanted) {
  uint64_t start = 0;
  for (uint32_t turns = 1;; ++turns) {
    uint32_t round = __atomic_load_n(&flag.round, __ATOMIC_ACQUIRE);
    if (reached(round, wanted))
      return;
    pause();
    if (turns % 64)
      continue;
    uint64_t now = __builtin_ia32_rdtsc();
    if (!start)
      start = now;
    if (now - start > team.spinTicks || blocksOther(team, own)) {
      __atomic_fetch_add(&flag.sleepers, 1, __ATOMIC_SEQ_CST);
      round = __atomic_load_n(&flag.round, __ATOMIC_SEQ_CST);
      if (!reached(round, wanted))
        futex(&flag.round, futexWait, round);
      __atomic_fetch_sub(&flag.sleepers, 1, __ATOMIC_SEQ_CST);
    }
  }
}

/// A dissemination barrier: in round k worker w waits for worker w - 2^k. Each worker counts its rounds in
/// one word of its own line; for two threads that is one exchange of two flags.
void meet(heddle_team &team, uint32_t worker) {
  for (uint32_t distance = 1; distance < team.threads; distance *= 2) {
    Flag &own = team.workers[worker];
    uint32_t round = __atomic_load_n(&own.round, __ATOMIC_RELAXED) + 1;
    announce(own, round);
    uint32_t partner = worker >= distance ? worker - distance : worker + team.threads - distance;
    await(team, own, team.workers[partner], round);
  }
}

/// A worker waits in the barrier that starts a run, and meets the others in the one that ends it.
void serve(heddle_team &team, uint32_t worker) {
  for (;;) {
    meet(team, worker);
    if (!team.function)
      return;
    team.function(team.context, &team, worker, team.threads);
    meet(team, worker);
  }
}

void *threadMain(void *argument) {
  heddle_team::Member *member = static_cast<heddle_team::Member *>(argument);
  serve(*member->team, member - member->team->members);
  return nullptr;
}

/// Reads a number, and what separates it from the next one; 0 when there is none.
uint64_t readNumber(const char *&text) {
  uint64_t value = 0;
  for (; *text >= '0' && *text <= '9' && value < 1ull << 40; ++text)
    value = value * 10 + (*text - '0');
  while (*text == ' ')
    ++text;
  return value;
}

/// CPUs' worth of time that the cgroup grants, rounded up; the most there may be when there is no quota.
uint32_t cgroupQuota() {
  char text[64] = {};
  int file = open("/sys/fs/cgroup/cpu.max", O_RDONLY | O_CLOEXEC);
  if (file >= 0 && read(file, text, sizeof(text) - 1) < 0)
    text[0] = 0;
  close(file);
  const char *at = text;
  uint64_t quota = readNumber(at), period = readNumber(at); // "max 100000" gives 0
  return quota && period ? smaller<uint64_t>(divideUp(quota, period), maxThreads) : maxThreads;
}

uint32_t defaultThreads() {
  unsigned long mask[128] = {}; // 8192 CPUs, the most that the kernel knows
  uint32_t count = 0;
  syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
  for (unsigned long bits : mask)
    for (; bits; bits &= bits - 1)
      ++count;
  return larger(smaller(count, cgroupQuota()), 1u);
}

/// Threads inherit the mask, so signals keep going to the application's own threads.
heddle_status startThreads(heddle_team &team, heddle_error *error) {
  sigset_t all, before;
  memset(&all, 0xff, sizeof(all));
  sigprocmask(SIG_SETMASK, &all, &before);
  int result = 0;
  for (uint32_t worker = 1; worker < team.threads && !result; ++worker) {
    result = pthread_create(&team.members[worker].thread, nullptr, threadMain, &team.members[worker]);
    team.started += result == 0;
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  errno = result;
  return result ? fail(error, HEDDLE_RESOURCE_LIMIT, "cannot start %u threads: %m", team.threads - 1)
                : HEDDLE_OK;
}

void joinThreads(heddle_team *team) {
  for (uint32_t i = 1; i <= team->started; ++i)
    pthread_join(team->members[i].thread, nullptr);
  free(team);
}

} // namespace

namespace heddle::runtime {

void retainTeam(heddle_team *team) { __atomic_fetch_add(&team->sessions, 1, __ATOMIC_RELAXED); }
void releaseTeam(heddle_team *team) { __atomic_fetch_sub(&team->sessions, 1, __ATOMIC_RELEASE); }

void meetTeam(heddle_team *team, uint32_t worker) { meet(*team, worker); }

void runTeam(heddle_team *team, TeamFunction function, void *context) {
  if (!team || team->threads == 1)
    return function(context, team, 0, 1);
  pthread_mutex_lock(&team->turn);
  team->function = function;
  team->context = context;
  meet(*team, 0);
  function(context, team, 0, team->threads);
  meet(*team, 0);
  pthread_mutex_unlock(&team->turn);
}

} // namespace heddle::runtime

extern "C" {

heddle_status heddle_team_create(const heddle_team_options *options, heddle_team **out_team,
                                 heddle_error *error) {
  *out_team = nullptr;
  heddle_team_options with = {};
  if (options)
    HEDDLE_TRY(readStruct(with, options, "options", error));
  if (with.flags & ~static_cast<uint32_t>(HEDDLE_TEAM_CALLER_THREADS))
    return fail(error, HEDDLE_INVALID_ARGUMENT, "unknown bits 0x%x in options->flags", with.flags);
  if (with.threads > maxThreads)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "expected at most %u threads, but found %u", maxThreads,
                with.threads);
  uint32_t threads = with.threads ? with.threads : defaultThreads();
  void *memory = nullptr;
  size_t size = sizeof(heddle_team) + threads * sizeof(Flag);
  if (posix_memalign(&memory, alignof(Flag), size) != 0)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "out of memory for a team");
  memset(memory, 0, size);
  heddle_team *team = static_cast<heddle_team *>(memory);
  team->threads = threads;
  team->flags = with.flags;
  team->spinTicks = (with.spin_microseconds ? with.spin_microseconds : 100) * ticksPerMicrosecond;
  for (uint32_t i = 0; i < threads; ++i)
    team->members[i].team = team;
  heddle_status status = with.flags & HEDDLE_TEAM_CALLER_THREADS ? HEDDLE_OK : startThreads(*team, error);
  if (!status) {
    *out_team = team;
    return HEDDLE_OK;
  }
  // Those that did start wait in a barrier of `threads` workers; stand in for the missing ones at its flags.
  for (uint32_t i = 0; i < threads; ++i)
    if (i == 0 || i > team->started)
      announce(team->workers[i], 64);
  joinThreads(team);
  return status;
}

uint32_t heddle_team_threads(const heddle_team *team) { return team->threads; }

heddle_status heddle_team_work(heddle_team *team, uint32_t worker, heddle_error *error) {
  if (!(team->flags & HEDDLE_TEAM_CALLER_THREADS) || worker == 0 || worker >= team->threads ||
      __atomic_exchange_n(&team->members[worker].present, 1, __ATOMIC_ACQ_REL))
    return fail(error, HEDDLE_INVALID_ARGUMENT,
                "worker %u is taken, or not from 1 to %u, or the team has threads of its own", worker,
                team->threads - 1);
  serve(*team, worker);
  __atomic_fetch_add(&team->left, 1, __ATOMIC_SEQ_CST);
  futex(&team->left, futexWake, 1); // the address may be reused by now; a stray wake-up is harmless
  return HEDDLE_OK;
}

heddle_status heddle_team_destroy(heddle_team *team, heddle_error *error) {
  if (!team)
    return HEDDLE_OK;
  if (uint32_t living = __atomic_load_n(&team->sessions, __ATOMIC_ACQUIRE))
    return fail(error, HEDDLE_BUSY, "the team cannot be destroyed while %u sessions use it", living);
  if (team->threads > 1) {
    team->function = nullptr;
    meet(*team, 0);
    if (team->flags & HEDDLE_TEAM_CALLER_THREADS) {
      uint32_t left;
      while ((left = __atomic_load_n(&team->left, __ATOMIC_SEQ_CST)) != team->threads - 1)
        futex(&team->left, futexWait, left);
    }
  }
  joinThreads(team);
  return HEDDLE_OK;
}
}
