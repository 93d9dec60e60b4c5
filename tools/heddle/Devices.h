// What `--device` names.
#ifndef HEDDLE_TOOLS_DEVICES_H
#define HEDDLE_TOOLS_DEVICES_H

#include "tools/heddle/Common.h"
#include <string>
#include <vector>

namespace heddle::cli {

// The driver of a device, to open a model with; nullptr is the CPU's own. Fails with exit 4 for a device that
// this build does not know.
const heddle_driver *driverOfDevice(const std::string &device);

// The GPUs of this machine, or why there are none.
struct Gpu {
  std::string name;
  uint32_t architecture; // 80: sm_80
};
struct Gpus {
  std::vector<Gpu> found;
  std::string reason;
};
Gpus findGpus();

// `heddle bench --device cuda-sim`: what the kernels of a prefill and of a step do, counted. No times: a
// simulator has none to give.
struct CountedBenchOptions {
  RunOptions run;
  Format format = Format::Text;
  uint32_t prefillTokens = 32, depth = 0;
};
int benchCounts(const CountedBenchOptions &options);

// `heddle bench --device npu-sim`: cycles of each kernel, and what the queues do in them; with `trace` as a
// Chrome trace in that file, too.
int benchNpu(const CountedBenchOptions &options, const std::string &trace);

} // namespace heddle::cli

#endif
