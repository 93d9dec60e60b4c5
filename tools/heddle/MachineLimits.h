// What this machine can do at most, measured: the limits that kernels are held against.
#ifndef HEDDLE_TOOLS_MACHINE_LIMITS_H
#define HEDDLE_TOOLS_MACHINE_LIMITS_H

#include <cstdint>

namespace heddle::cli {

struct MachineLimits {
  double integerMultiplyAdds; // a second: of 8-bit integers, with 32-bit sums
  double floatMultiplyAdds;   // a second: of f32
  double tileMultiplyAdds;    // a second: of bf16 in tiles; 0 where the code has none
  double cacheBytes;          // a second: read from the cores' own caches
};

// Of `threads` threads together, with the instructions that code with these HEDDLE_CPU_* features has. Takes
// some hundredths of a second.
MachineLimits measureLimits(uint32_t features, unsigned threads);

} // namespace heddle::cli

#endif
