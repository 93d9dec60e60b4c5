// Facts of the model that are built into code, whatever the target.
#pragma once
#include <cstdint>

namespace heddle {

struct KernelContext {
  int64_t maxContext = 0; // tokens a slot can hold, a multiple of HEDDLE_PAGE_TOKENS: the page table's row is
                          // maxContext / HEDDLE_PAGE_TOKENS long
  int64_t maxRows = 1;    // bound of HEDDLE_DIM_ROWS
  bool tensorCores = true; // CUDA: products on them, or the same sums without
  int64_t maxSlots = 0;    // rows of the page table; 0 without a cache
};

} // namespace heddle
