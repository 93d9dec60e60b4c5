// Timing of generated kernels on one thread, and what the core can do at most.
#pragma once
#include "test/unit/codegen/LoadedImage.h"
#include <algorithm>
#include <ctime>

namespace heddle::cpu::testing {

/// Seconds that this thread has run: other processes on the same core do not count.
inline double now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

/// Best seconds per call of `call`, over several runs of at least 20 ms.
inline double best(llvm::function_ref<void()> call) {
  call();
  double start = now();
  call();
  int count = std::max(1, int(0.02 / std::max(now() - start, 1e-7)));
  double least = 1e9;
  for (int run = 0; run < 7; ++run) {
    start = now();
    for (int i = 0; i < count; ++i)
      call();
    least = std::min(least, (now() - start) / count);
  }
  return least;
}

/// A loop of independent chains of the level's dot product (or fma) on registers; returns operations per
/// second.
inline double peak(mlir::MLIRContext &context, const CpuLevel &level, bool integer) {
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  Emitter e(*module, level);
  constexpr int64_t iterations = 10000;
  const int chains = level.lanes == 16 ? 24 : 12;
  e.kernel("peak", [&](const KernelArguments &arguments) {
    Value memory = e.operand(arguments, 0);
    Type type = integer ? e.vecI32() : e.vecF32();
    Value a = e.load(type, memory), b = e.load(type, e.at(memory, 64));
    Values sums = e.forRange(e.cI64(0), e.cI64(iterations), e.cI64(1),
                             Values(chains, e.load(type, e.at(memory, 128))), [&](Value, ValueRange carried) {
                               Values next;
                               for (Value sum : carried)
                                 next.push_back(integer ? e.dot(sum, {{a, b}}, 4) : e.fma(a, b, sum));
                               return next;
                             });
    for (int i = 0; i < chains; ++i)
      e.store(sums[i], e.at(memory, 192 + i * 64));
  });
  LoadedImage image(*module, level, {"peak"});
  GuardedBuffer<uint8_t> memory(192 + 64 * 32);
  void *operands[] = {memory.data()};
  double seconds = best([&] { image.function(0)(operands, nullptr, nullptr, 0, 1); });
  return double(iterations) * chains * level.lanes * (integer ? 8 : 2) / seconds;
}

} // namespace heddle::cpu::testing
