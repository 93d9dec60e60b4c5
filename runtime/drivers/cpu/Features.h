#pragma once
#include <stdint.h>

namespace heddle::runtime {
/// The HEDDLE_CPU_* that this host has and that the operating system saves registers for.
uint32_t hostFeatures();
/// Writes the features' names, such as "AVX2 FMA"; returns `text`.
const char *featureNames(uint32_t features, char *text, uint64_t room);
} // namespace heddle::runtime
