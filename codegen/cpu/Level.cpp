#include "codegen/cpu/Level.h"
#include "heddle/program.h"

namespace heddle::cpu {

// Without "-prefer-256-bit" LLVM splits 512-bit vectors of x86-64-v4, whose tuning comes from the first
// AVX-512 parts.
static constexpr CpuLevel kLevels[] = {
    {"x86-64-v3", HEDDLE_CPU_X86_64_V3, "x86-64-v3", "", 8, 16, false, false},
    {"x86-64-v3-vnni", HEDDLE_CPU_X86_64_V3 | HEDDLE_CPU_AVX_VNNI, "x86-64-v3", "+avxvnni", 8, 16, true,
     false},
    {"x86-64-v4-vnni", HEDDLE_CPU_X86_64_V3 | HEDDLE_CPU_X86_64_V4 | HEDDLE_CPU_AVX512_VNNI, "x86-64-v4",
     "+avx512vnni,-prefer-256-bit", 16, 32, true, false},
    // avx512bf16 alone is no level: vdpbf16ps has half of vpdpbusd's rate, so it would run the code of
    // x86-64-v4-vnni.
    {"x86-64-v4-amx",
     HEDDLE_CPU_X86_64_V3 | HEDDLE_CPU_X86_64_V4 | HEDDLE_CPU_AVX512_VNNI | HEDDLE_CPU_AVX512_BF16 |
         HEDDLE_CPU_AMX_BF16,
     "x86-64-v4", "+avx512vnni,+avx512bf16,+amx-tile,+amx-bf16,-prefer-256-bit", 16, 32, true, true},
};

std::span<const CpuLevel> cpuLevels() { return kLevels; }

const CpuLevel *cpuLevelByName(std::string_view name) {
  for (const CpuLevel &level : kLevels)
    if (level.name == name)
      return &level;
  return nullptr;
}

} // namespace heddle::cpu
