// Copies from global to shared memory that go on while the block computes (cp.async).
#pragma once
#include "codegen/cuda/Emit.h"

namespace heddle::cuda {

/// Copies `bytes` (4, 8 or 16) for this thread, zeros instead where `valid` (i1) is false. Both addresses are
/// multiples of `bytes`; the source is not read when not valid.
void copyAsync(Emitter &e, Value to, Value from, int bytes, Value valid);
/// Ends a group of copies.
void commitCopies(Emitter &e);
/// Waits until at most `pending` groups of this thread are under way.
void waitForCopies(Emitter &e, int pending);

/// Calls `body` for this thread's share of `count` things, `threads` apart; unrolled.
void forShareUnrolled(Emitter &e, Value thread, int threads, int64_t count,
                      llvm::function_ref<void(Value)> body);

/// Stages of shared memory that chunks of columns take turns in.
constexpr int kChunkStages = 2;
/// What the block does with a chunk of `count` columns that has `stage` (bytes from the first).
using ChunkBody = llvm::function_ref<void(Value number, Value stage, int count)>;

/// Goes through `columns` in chunks of `chunk` (the last may be shorter): `fill` starts the copies of one
/// while `compute` adds what the one before makes to the sums.
Values forChunksAhead(Emitter &e, int64_t columns, int64_t chunk, int64_t stageBytes, Values sums,
                      ChunkBody fill,
                      llvm::function_ref<void(Value number, Value stage, int count, Values &sums)> compute);

} // namespace heddle::cuda
