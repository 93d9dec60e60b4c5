// A session: sequences, the memory of runs, and what is bound to inputs and outputs.
#pragma once
#include "core/Pages.h"

namespace heddle::runtime {

/// An input or output of an entry in one session.
struct IoState {
  heddle_buffer own; // the session's memory; size 0 if it has none
  heddle_view bound; // the caller's; data is NULL: not bound
};

struct EntryState {
  IoState *ios;
  heddle_buffer *buffers;         // what a run uses, per io
  int64_t dims[HEDDLE_DIM_COUNT]; // of the last run
  bool hasRun;                    // and it succeeded
};

/// The team's count of sessions (in the CPU driver, where teams live).
void retainTeam(heddle_team *team);
void releaseTeam(heddle_team *team);

} // namespace heddle::runtime

struct heddle_session {
  heddle_model *model;
  heddle_team *team;
  uint32_t sequences, context, rows, wanted; // its bounds
  uint64_t arenaBytes, cacheBytes, bookBytes, ioBytes, planBytes, deviceBytes, hostBytes;

  heddle_buffer device; // one block: the arena, then the caches
  heddle_buffer *caches;
  heddle_buffer pageTable, work;
  heddle::runtime::Pages pages;
  heddle::runtime::EntryState *entries;
  void *planMemory;
  heddle_plan *plan;
  uint32_t stepNumber;
  uint32_t cancel; // atomic
};
