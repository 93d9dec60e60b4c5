// A session: sequences, the memory of runs, and what is bound to inputs and outputs.
#pragma once
#include "core/Pages.h"

namespace heddle::runtime {

/// An input or output of an entry in one session.
struct IoState {
  heddle_buffer own; // the session's memory; size 0 if it has none
  void *mirror;      // the host's copy of `own` on devices with memory of their own
  heddle_view bound; // data is NULL: not bound
};

struct EntryState {
  IoState *ios;
  heddle_buffer *buffers; // what a run uses, per io
  int64_t dims[HEDDLE_DIM_COUNT]; // of the last run
  bool hasRun;            // and it succeeded
};

/// What a session takes. Offsets are into its two blocks: device memory and host memory.
struct SessionLayout {
  uint32_t sequences, context, rows, wanted, threads;
  uint64_t deviceBytes, hostBytes;
  uint64_t arena, arenaBytes, cacheBytes, ioBytes, tableBytes, workBytes;
  uint64_t pageTable, work, planOffset, planBytes;
};

} // namespace heddle::runtime

struct heddle_session {
  heddle_model *model;
  heddle_team *team;
  heddle::runtime::SessionLayout layout;
  heddle_buffer device;      // the block of device memory
  heddle_buffer work;        // heddle_work records
  heddle_buffer pageTable;
  heddle_work *hostWork;     // the same, or the host's copy
  heddle_buffer *caches;
  heddle::runtime::Pages pages;
  heddle::runtime::EntryState *entries;
  heddle_plan *plan;
  uint32_t stepNumber;
  uint32_t cancel; // atomic
};

namespace heddle::runtime {
/// The team's count of sessions (in the CPU driver, where teams live).
void retainTeam(heddle_team *team);
void releaseTeam(heddle_team *team);
} // namespace heddle::runtime
