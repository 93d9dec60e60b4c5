#include "drivers/cpu/Team.h"
#include "Fixture.h"
#include <sched.h>
#include <sys/syscall.h>
#include <thread>
#include <time.h>
#include <unistd.h>

using namespace heddle::test;

namespace {
struct Meeting {
  std::vector<uint32_t> counts;
  bool wrong = false;
};

/// Each worker counts up between barriers, and sees that all others have come as far.
void meetOften(void *context, heddle_team *team, uint32_t worker, uint32_t threads) {
  Meeting &meeting = *static_cast<Meeting *>(context);
  for (uint32_t round = 1; round <= 60; ++round) {
    meeting.counts[worker * 64] = round;
    if (threads > 1)
      heddle::runtime::meetTeam(team, worker);
    for (uint32_t other = 0; other < threads; ++other)
      if (meeting.counts[other * 64] != round)
        meeting.wrong = true;
    if (threads > 1)
      heddle::runtime::meetTeam(team, worker);
  }
}
} // namespace

TEST_CASE("workers meet at barriers, spinning or sleeping") {
  for (uint32_t threads : {1u, 2u, 3u, 4u, 5u, 8u, 13u})
    for (uint32_t spin : {1u, 50u}) {
      Team team(threads, spin);
      CHECK(heddle_team_threads(team.team) == threads);
      for (int run = 0; run < 2; ++run) {
        Meeting meeting{std::vector<uint32_t>(threads * 64)};
        heddle::runtime::runTeam(team.team, meetOften, &meeting);
        CHECK_FALSE(meeting.wrong);
      }
    }
}

TEST_CASE("workers on one CPU do not spin at each other's cost") {
  cpu_set_t before, one;
  REQUIRE(sched_getaffinity(0, sizeof(before), &before) == 0);
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  REQUIRE(sched_setaffinity(0, sizeof(one), &one) == 0); // threads inherit it
  auto processorSeconds = [] {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
  };
  double start = processorSeconds();
  {
    Team team(2, 1000000); // a second: all of a turn on the CPU would be spent spinning
    for (int run = 0; run < 10; ++run) {
      Meeting meeting{std::vector<uint32_t>(2 * 64)};
      heddle::runtime::runTeam(team.team, meetOften, &meeting);
      CHECK_FALSE(meeting.wrong);
    }
  }
  CHECK(processorSeconds() - start < 0.5); // 1200 barriers at a few microseconds, not at a turn each
  REQUIRE(sched_setaffinity(0, sizeof(before), &before) == 0);
}

TEST_CASE("a run's launches see what the launches before their barrier wrote") {
  for (uint32_t threads : {1u, 2u, 3u, 4u}) {
    constexpr uint32_t launches = 101, rows = 37;
    OpenModel open(relayModel(launches, rows).build());
    Team team(threads);
    Session session(open.model, 1, team.team);
    alignas(64) int32_t from[rows];
    for (uint32_t i = 0; i < rows; ++i)
      from[i] = 1000 * i;
    heddle_view view = {};
    view.struct_size = sizeof(view);
    view.data = from;
    view.size_bytes = sizeof(from);
    view.dtype = HEDDLE_DTYPE_I32;
    view.rank = 1;
    view.dimension[0] = rows;
    REQUIRE(heddle_session_bind(session.session, nullptr, 0, &view, nullptr) == HEDDLE_OK);
    for (int run = 0; run < 5; ++run) {
      REQUIRE(heddle_session_run(session.session, nullptr, nullptr) == HEDDLE_OK);
      heddle_view out = {};
      out.struct_size = sizeof(out);
      REQUIRE(heddle_session_output(session.session, nullptr, 0, &out, nullptr) == HEDDLE_OK);
      for (uint32_t i = 0; i < rows; ++i)
        REQUIRE(static_cast<int32_t *>(out.data)[i] ==
                static_cast<int32_t>(1000 * (rows - 1 - i) + launches));
    }
  }
}

TEST_CASE("sessions on one team take turns") {
  OpenModel open(ToyModel().artifact().build());
  Team team(2);
  auto work = [&](int seed) {
    // Catch's macros belong to one thread, so this one uses none.
    heddle_session_options options = {};
    options.struct_size = sizeof(options);
    options.team = team.team;
    heddle_session *session = nullptr;
    bool right = heddle_session_create(open.model, &options, &session, nullptr) == HEDDLE_OK;
    std::vector<int32_t> all = someTokens(50, seed);
    for (int32_t i = 0; right && i < 50; ++i) {
      int32_t slot = 0, wanted = 0;
      heddle_step step = {sizeof(step), &all[i], &slot, &i, 1, 1, &wanted};
      heddle_view view = {};
      view.struct_size = sizeof(view);
      right = heddle_session_step(session, nullptr, &step, nullptr) == HEDDLE_OK &&
              heddle_session_output(session, nullptr, 0, &view, nullptr) == HEDDLE_OK &&
              *static_cast<float *>(view.data) == expectedLogit(all, i + 1);
    }
    heddle_session_destroy(session);
    return right;
  };
  bool results[3];
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&, i] { results[i] = work(i); });
  for (std::thread &thread : threads)
    thread.join();
  for (bool result : results)
    CHECK(result);
}

TEST_CASE("the caller's own threads can be workers") {
  OpenModel open(ToyModel().artifact().build());
  heddle_team_options options = {};
  options.struct_size = sizeof(options);
  options.threads = 3;
  options.flags = HEDDLE_TEAM_CALLER_THREADS;
  heddle_team *team = nullptr;
  REQUIRE(heddle_team_create(&options, &team, nullptr) == HEDDLE_OK);
  CHECK(heddle_team_work(team, 0, nullptr) == HEDDLE_INVALID_ARGUMENT);
  CHECK(heddle_team_work(team, 3, nullptr) == HEDDLE_INVALID_ARGUMENT);
  heddle_status results[3] = {};
  std::thread one([&] { results[1] = heddle_team_work(team, 1, nullptr); });
  std::thread two([&] { results[2] = heddle_team_work(team, 2, nullptr); });
  {
    Session session(open.model, 1, team);
    REQUIRE(session.append(0, someTokens(100)) == HEDDLE_OK);
    CHECK(session.output()[0] == expectedLogit(someTokens(100)));
    CHECK(heddle_team_work(team, 1, nullptr) == HEDDLE_INVALID_ARGUMENT); // taken
    CHECK(heddle_team_destroy(team, nullptr) == HEDDLE_BUSY);
  }
  CHECK(heddle_team_destroy(team, nullptr) == HEDDLE_OK);
  one.join();
  two.join();
  CHECK(results[1] == HEDDLE_OK);
  CHECK(results[2] == HEDDLE_OK);
  Team own(2);
  CHECK(heddle_team_work(own.team, 1, nullptr) == HEDDLE_INVALID_ARGUMENT);
}

TEST_CASE("team options are checked") {
  heddle_team *team = nullptr;
  heddle_team_options options = {};
  CHECK(heddle_team_create(&options, &team, nullptr) == HEDDLE_INVALID_ARGUMENT);
  options.struct_size = sizeof(options);
  options.threads = 257;
  CHECK(heddle_team_create(&options, &team, nullptr) == HEDDLE_RESOURCE_LIMIT);
  options.threads = 2;
  options.flags = 2;
  CHECK(heddle_team_create(&options, &team, nullptr) == HEDDLE_INVALID_ARGUMENT);
  CHECK(team == nullptr);
  REQUIRE(heddle_team_create(nullptr, &team, nullptr) == HEDDLE_OK);
  CHECK(heddle_team_threads(team) >= 1);
  CHECK(heddle_team_threads(team) <= std::thread::hardware_concurrency());
  CHECK(heddle_team_destroy(team, nullptr) == HEDDLE_OK);
}
