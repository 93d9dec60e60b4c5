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

namespace {

// From linux/futex.h, which is not among every C library's headers.
constexpr int futexWait = 0, futexWake = 1, futexPrivate = 128;

constexpr uint32_t maxThreads = 256;
// Ticks of the time stamp counter in a microsecond. Real ones differ by a factor of 2 at most, which a busy wait of
// "about" so many microseconds can bear.
constexpr uint64_t ticksPerMicrosecond = 2500;

void pause() { __builtin_ia32_pause(); }

/// One cache line pair (x86 fetches lines in pairs) that only one worker writes in the common case.
struct alignas(128) Flag {
  uint32_t round;    // how many barrier rounds this worker has entered
  uint32_t sleepers; // workers that sleep until `round` changes
};

} // namespace

struct heddle_team {
  uint32_t threads, flags;
  uint64_t spinTicks;
  uint32_t sessions; // atomic
  pthread_mutex_t turn;
  TeamFunction function; // NULL: leave
  void *context;
  uint8_t *present; // callers' threads: which workers are taken (atomic)
  pthread_t *handles;
  uint32_t started;
  uint32_t left; // atomic: callers' threads that have left
  Flag workers[];
};

namespace {

long futex(uint32_t *word, int operation, uint32_t value) {
  return syscall(SYS_futex, word, operation | futexPrivate, value, nullptr, nullptr, 0);
}

/// Whether `round` has come to `wanted`; counters wrap around.
bool reached(uint32_t round, uint32_t wanted) { return static_cast<int32_t>(round - wanted) >= 0; }

void announce(Flag &flag, uint32_t round) {
  // Sequentially consistent, as is the load after it: either the sleeper sees the new round or we see the sleeper.
  __atomic_store_n(&flag.round, round, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&flag.sleepers, __ATOMIC_SEQ_CST))
    futex(&flag.round, futexWake, INT_MAX);
}

void await(Flag &flag, uint32_t wanted, uint64_t spinTicks) {
  uint64_t start = 0;
  for (uint32_t turns = 1;; ++turns) {
    uint32_t round = __atomic_load_n(&flag.round, __ATOMIC_ACQUIRE);
    if (reached(round, wanted))
      return;
    pause();
    if (turns % 64)
      continue;
    uint64_t now = __builtin_ia32_rdtsc();
    if (!start) {
      start = now;
    } else if (now - start > spinTicks) {
      __atomic_fetch_add(&flag.sleepers, 1, __ATOMIC_SEQ_CST);
      round = __atomic_load_n(&flag.round, __ATOMIC_SEQ_CST);
      if (!reached(round, wanted))
        futex(&flag.round, futexWait, round);
      __atomic_fetch_sub(&flag.sleepers, 1, __ATOMIC_SEQ_CST);
    }
  }
}

/// A dissemination barrier: in round k worker w waits for worker w - 2^k. Each worker counts its rounds in one word of
/// its own line; for two threads that is one exchange of two flags.
void meet(heddle_team &team, uint32_t worker) {
  for (uint32_t distance = 1; distance < team.threads; distance *= 2) {
    Flag &own = team.workers[worker];
    uint32_t round = __atomic_load_n(&own.round, __ATOMIC_RELAXED) + 1;
    announce(own, round);
    uint32_t partner = worker >= distance ? worker - distance : worker + team.threads - distance;
    await(team.workers[partner], round, team.spinTicks);
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

struct Start {
  heddle_team *team;
  uint32_t worker;
};

void *threadMain(void *argument) {
  Start start = *static_cast<Start *>(argument);
  free(argument);
  serve(*start.team, start.worker);
  return nullptr;
}

/// CPUs' worth of time that the cgroup grants, rounded up; 0 when there is no quota.
uint32_t cgroupQuota() {
  int file = open("/sys/fs/cgroup/cpu.max", O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return 0;
  char text[64];
  ssize_t size = read(file, text, sizeof(text) - 1);
  close(file);
  if (size <= 0)
    return 0;
  text[size] = 0;
  char *end;
  unsigned long long quota = strtoull(text, &end, 10); // "max 100000" gives 0
  unsigned long long period = strtoull(end, nullptr, 10);
  return quota && period ? smaller<unsigned long long>(divideUp(quota, period), maxThreads) : 0;
}

uint32_t defaultThreads() {
  cpu_set_t set;
  uint32_t count = 1;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    count = CPU_COUNT(&set);
  if (uint32_t quota = cgroupQuota())
    count = smaller(count, quota);
  return smaller(larger(count, 1u), maxThreads);
}

heddle_status startThread(heddle_team &team, uint32_t worker, heddle_error *error) {
  Start *start = static_cast<Start *>(malloc(sizeof(Start)));
  if (!start)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "out of memory for a team");
  *start = {&team, worker};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 1 << 20); // some C libraries give 128 KiB, little for kernels
  int result = pthread_create(&team.handles[worker], &attributes, threadMain, start);
  pthread_attr_destroy(&attributes);
  if (result != 0) {
    free(start);
    return fail(error, HEDDLE_RESOURCE_LIMIT, "cannot start thread %u of a team: %s", worker, strerror(result));
  }
  ++team.started;
  return HEDDLE_OK;
}

/// Threads inherit the mask, so signals keep going to the application's own threads.
heddle_status startThreads(heddle_team &team, heddle_error *error) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  heddle_status status = HEDDLE_OK;
  for (uint32_t worker = 1; worker < team.threads && !status; ++worker)
    status = startThread(team, worker, error);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return status;
}

void freeTeam(heddle_team *team) {
  pthread_mutex_destroy(&team->turn);
  free(team->handles);
  free(team->present);
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

heddle_status heddle_team_create(const heddle_team_options *options, heddle_team **out_team, heddle_error *error) {
  if (!out_team)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected 'out_team', but found NULL");
  *out_team = nullptr;
  heddle_team_options with = {};
  if (options)
    HEDDLE_TRY(readStruct(with, options, "options", error));
  if (with.flags & ~static_cast<uint32_t>(HEDDLE_TEAM_CALLER_THREADS))
    return fail(error, HEDDLE_INVALID_ARGUMENT, "unknown bits 0x%x in options->flags", with.flags);
  if (with.threads > maxThreads)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "expected at most %u threads, but found %u", maxThreads, with.threads);
  uint32_t threads = with.threads ? with.threads : defaultThreads();
  void *memory = nullptr;
  size_t size = sizeof(heddle_team) + threads * sizeof(Flag);
  if (posix_memalign(&memory, alignof(Flag), size) != 0)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "out of memory for a team");
  memset(memory, 0, size);
  heddle_team *team = static_cast<heddle_team *>(memory);
  pthread_mutex_init(&team->turn, nullptr);
  team->threads = threads;
  team->flags = with.flags;
  team->spinTicks = (with.spin_microseconds ? with.spin_microseconds : 100) * ticksPerMicrosecond;
  team->handles = static_cast<pthread_t *>(calloc(threads, sizeof(pthread_t)));
  team->present = static_cast<uint8_t *>(calloc(threads, 1));
  if (!team->handles || !team->present) {
    freeTeam(team);
    return fail(error, HEDDLE_RESOURCE_LIMIT, "out of memory for a team");
  }
  if (!(with.flags & HEDDLE_TEAM_CALLER_THREADS))
    if (heddle_status status = startThreads(*team, error)) {
      // Those that did start wait in a barrier of `threads` workers; stand in for the missing ones at its flags.
      for (uint32_t i = team->started + 1; i < threads; ++i)
        announce(team->workers[i], 64);
      announce(team->workers[0], 64);
      for (uint32_t i = 1; i <= team->started; ++i)
        pthread_join(team->handles[i], nullptr);
      freeTeam(team);
      return status;
    }
  *out_team = team;
  return HEDDLE_OK;
}

uint32_t heddle_team_threads(const heddle_team *team) { return team->threads; }

heddle_status heddle_team_work(heddle_team *team, uint32_t worker, heddle_error *error) {
  if (!(team->flags & HEDDLE_TEAM_CALLER_THREADS))
    return fail(error, HEDDLE_INVALID_ARGUMENT, "the team has threads of its own; expected HEDDLE_TEAM_CALLER_THREADS");
  if (worker == 0 || worker >= team->threads)
    return fail(error, HEDDLE_INVALID_ARGUMENT, "expected a worker from 1 to %u, but found %u", team->threads - 1, worker);
  if (__atomic_exchange_n(&team->present[worker], 1, __ATOMIC_ACQ_REL))
    return fail(error, HEDDLE_INVALID_ARGUMENT, "worker %u is already taken", worker);
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
    for (uint32_t i = 1; i <= team->started; ++i)
      pthread_join(team->handles[i], nullptr);
    if (team->flags & HEDDLE_TEAM_CALLER_THREADS) {
      uint32_t left;
      while ((left = __atomic_load_n(&team->left, __ATOMIC_SEQ_CST)) != team->threads - 1)
        futex(&team->left, futexWait, left);
    }
  }
  freeTeam(team);
  return HEDDLE_OK;
}
}
