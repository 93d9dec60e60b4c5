// CPU levels: the instruction sets that one artifact carries code for, picked by the runtime at load.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace heddle::cpu {

struct CpuLevel {
  std::string_view name; // as in `--target cpu:NAME` and the manifest
  uint32_t features;     // HEDDLE_CPU_* bits that a host needs
  std::string_view
      targetCpu; // LLVM's names; never a product, so that the same file suits every host of the level
  std::string_view targetFeatures;
  int lanes;     // f32 lanes of the native vector: 8 or 16
  int registers; // vector registers
  bool vnni;     // vpdpbusd at the native width
  bool tiles;    // AMX: tdpbf16ps
};

/// All levels in ascending preference: a host runs the last one whose features it has.
std::span<const CpuLevel> cpuLevels();

/// The level called `name`, or null.
const CpuLevel *cpuLevelByName(std::string_view name);

} // namespace heddle::cpu
