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

/// A loop of independent chains of the level's dot product (or fma); returns operations per second. Without
/// vpdpbusd a chain's step is what a block of 32 4-bit codes takes, its activations read from cache.
inline double peak(mlir::MLIRContext &context, const CpuLevel &level, bool integer) {
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  Emitter e(*module, level);
  constexpr int64_t iterations = 10000;
  const int chains = level.lanes == 16 ? 24 : 12, quads = integer && !level.vnni ? 8 : 1;
  const Type type = integer ? e.vecI32() : e.vecF32();
  e.kernel("peak", [&](const KernelArguments &arguments) {
    Value memory = e.operand(arguments, 0);
    Value a = e.load(type, memory), b = e.load(type, e.at(memory, 64));
    auto step = [&](Value sum, int chain, Value iteration) -> Value {
      if (!integer)
        return e.fma(a, b, sum);
      llvm::SmallVector<Emitter::Quad> pairs;
      for (int q = 0; q < quads; ++q) // codes that change keep the products inside the loop
        pairs.push_back(quads == 1 ? Emitter::Quad{a, b}
                                   : Emitter::Quad{e.add(a, e.splat(e.truncate(iteration, e.i32()))),
                                                   e.load(type, e.at(memory, (chain * quads + q) * 32))});
      return e.dot(sum, pairs, 4);
    };
    Values sums = e.forRange(e.cI64(0), e.cI64(iterations), e.cI64(1), Values(chains, a),
                             [&](Value iteration, ValueRange carried) {
                               Values next;
                               for (auto [chain, sum] : llvm::enumerate(carried))
                                 next.push_back(step(sum, int(chain), iteration));
                               return next;
                             });
    for (int i = 0; i < chains; ++i)
      e.store(sums[i], e.at(memory, i * 64));
  });
  LoadedImage image(*module, level, {"peak"});
  GuardedBuffer<uint8_t> memory(4096);
  void *operands[] = {memory.data()};
  double seconds = best([&] { image.function(0)(operands, nullptr, nullptr, 0, 1); });
  return double(iterations) * chains * quads * level.lanes * (integer ? 8 : 2) / seconds;
}

} // namespace heddle::cpu::testing
