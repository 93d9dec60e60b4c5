// Threads that run one function together and meet at barriers. Worker 0 is the thread that calls run().
#pragma once
#include "core/Support.h"

namespace heddle::runtime {

/// What worker `worker` of `threads` does in one run.
using TeamFunction = void (*)(void *context, heddle_team *team, uint32_t worker, uint32_t threads);

/// Runs `function` on every worker; returns when all are done. Runs of several callers take turns. A NULL
/// team is the calling thread alone.
void runTeam(heddle_team *team, TeamFunction function, void *context);

/// Waits until all workers of the current run are here. Only for teams of two threads or more.
void meetTeam(heddle_team *team, uint32_t worker);

} // namespace heddle::runtime
