// `heddle bench --per-kernel`: where the time of a run goes, and how near each kernel comes to the machine's
// limit.
#ifndef HEDDLE_TOOLS_PER_KERNEL_H
#define HEDDLE_TOOLS_PER_KERNEL_H

#include "tools/heddle/Common.h"

namespace heddle::cli {

struct PerKernelOptions {
  RunOptions run;
  Format format = Format::Text;
  unsigned threads = 1;
  uint32_t prefillTokens = 512, depth = 0, repeat = 5;
  std::string trace; // file for a Chrome trace of one run; empty: none
};

int benchPerKernel(const PerKernelOptions &options);

} // namespace heddle::cli

#endif
