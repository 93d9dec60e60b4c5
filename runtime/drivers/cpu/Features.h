#pragma once
#include <stdint.h>

namespace heddle::runtime {
/// The HEDDLE_CPU_* that this host has and that the operating system saves registers for.
uint32_t hostFeatures();
/// Writes the features' names, such as "x86-64-v4 AVX512-VNNI"; all of them take 75 bytes.
void featureNames(uint32_t features, char *text, uint64_t room);
} // namespace heddle::runtime
