#include "codegen/cuda/AsyncCopy.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace heddle::cuda {

void copyAsync(Emitter &e, Value to, Value from, int bytes, Value valid) {
  // Past level 1 where a whole sector is copied: no other thread of the block wants it.
  std::string name = std::string("llvm.nvvm.cp.async.") + (bytes == 16 ? "cg" : "ca") + ".shared.global." +
                     std::to_string(bytes);
  Values arguments{to, from};
  if (valid) {
    name += ".s";
    arguments.push_back(e.select(valid, e.cI32(bytes), e.cI32(0)));
  }
  e.create<LLVM::CallIntrinsicOp>(TypeRange(), e.getStringAttr(name), arguments, LLVM::FastmathFlagsAttr());
}

void commitCopies(Emitter &e) { e.create<NVVM::CpAsyncCommitGroupOp>(); }
void waitForCopies(Emitter &e, int pending) { e.create<NVVM::CpAsyncWaitGroupOp>(pending); }

void forShareUnrolled(Emitter &e, Value thread, int threads, int64_t count, function_ref<void(Value)> body) {
  for (int64_t first = 0; first < count; first += threads) {
    Value index = e.add(thread, first);
    if (first + threads <= count)
      body(index);
    else
      e.ifThen(e.lessThan(index, e.cI32(count)), [&] { body(index); });
  }
}

Values forChunksAhead(Emitter &e, int64_t columns, int64_t chunk, int64_t stageBytes, Values sums,
                      ChunkBody fill,
                      function_ref<void(Value number, Value stage, int count, Values &sums)> compute) {
  int64_t full = columns / chunk;
  int rest = int(columns % chunk);
  auto offsetOf = [&](Value number) { return e.mul(e.remU(number, kChunkStages), stageBytes); };
  if (full > 0) {
    fill(e.cI32(0), e.cI32(0), int(chunk));
    commitCopies(e);
    sums = e.forRange(e.cI32(0), e.cI32(full), e.cI32(1), sums, [&](Value number, ValueRange values) {
      Values partial(values);
      waitForCopies(e, 0);
      e.barrier(); // the chunk is there for all, and all are done with the one before
      Value ahead = e.add(number, 1);
      e.ifThen(e.lessThan(ahead, e.cI32(full)), [&] { fill(ahead, offsetOf(ahead), int(chunk)); });
      commitCopies(e);
      compute(number, offsetOf(number), int(chunk), partial);
      return partial;
    });
  }
  if (rest > 0) {
    if (full > 0)
      e.barrier();
    fill(e.cI32(full), e.cI32(0), rest);
    commitCopies(e);
    waitForCopies(e, 0);
    e.barrier();
    compute(e.cI32(full), e.cI32(0), rest, sums);
  } else {
    waitForCopies(e, 0); // the last group is empty, but it does not stay open
  }
  return sums;
}

} // namespace heddle::cuda
