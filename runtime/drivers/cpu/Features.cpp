#include "drivers/cpu/Features.h"
#include <cpuid.h>
#include <heddle/program.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace heddle::runtime {

namespace {

struct Registers {
  unsigned a, b, c, d;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r = {};
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

bool all(unsigned value, unsigned bits) { return (value & bits) == bits; }

uint64_t enabledState() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

constexpr uint64_t tileState = 3ull << 17; // configuration and data

/// Linux gives the eight kilobytes of tiles to processes that ask.
bool requestTiles() {
  constexpr long requestPermission = 0x1023, tileData = 18; // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
}

} // namespace

uint32_t hostFeatures() {
  Registers one = cpuid(1, 0), seven = cpuid(7, 0), more = {}, extended = cpuid(0x80000001, 0);
  if (seven.a >= 1)
    more = cpuid(7, 1);
  constexpr unsigned osxsave = 1u << 27, fma = 1u << 12, movbe = 1u << 22, avx = 1u << 28, f16c = 1u << 29;
  if (!all(one.c, osxsave | fma | movbe | avx | f16c))
    return 0;
  uint64_t state = enabledState();
  constexpr unsigned bmi1 = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8, lzcnt = 1u << 5;
  if ((state & 6) != 6 || !all(seven.b, bmi1 | avx2 | bmi2) || !all(extended.c, lzcnt))
    return 0;
  uint32_t features = HEDDLE_CPU_X86_64_V3;
  if (more.a & 1u << 4)
    features |= HEDDLE_CPU_AVX_VNNI;
  constexpr unsigned f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
  if ((state & 0xe6) != 0xe6 || !all(seven.b, f | dq | cd | bw | vl))
    return features;
  features |= HEDDLE_CPU_X86_64_V4;
  if (seven.c & 1u << 11)
    features |= HEDDLE_CPU_AVX512_VNNI;
  if (more.a & 1u << 5)
    features |= HEDDLE_CPU_AVX512_BF16;
  if (all(seven.d, 1u << 22 | 1u << 24) && (state & tileState) == tileState && requestTiles())
    features |= HEDDLE_CPU_AMX_BF16;
  return features;
}

void featureNames(uint32_t features, char *text, uint64_t room) {
  const char *name = HEDDLE_CPU_NAMES;
  uint64_t used = 0;
  for (; *name; features >>= 1, name += strlen(name) + 1)
    if (features & 1)
      used += snprintf(text + used, room - used, "%s%s", used ? " " : "", name);
  if (features)
    snprintf(text + used, room - used, "%sunknown features", used ? " " : "");
}

} // namespace heddle::runtime
