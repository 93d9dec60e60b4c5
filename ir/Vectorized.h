// For loops over many numbers in files compiled for any x86-64: the loader picks the widest vectors that the
// processor has. A file that includes this must not let results depend on which (no fused multiply-add, sums
// in a fixed order), so products stay apart from sums here.
#pragma once

#pragma STDC FP_CONTRACT OFF
#if defined(__x86_64__)
#define HEDDLE_VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define HEDDLE_VECTORIZED
#endif
