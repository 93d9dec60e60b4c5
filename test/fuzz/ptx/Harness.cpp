// Arbitrary text as PTX; what the simulator takes for kernels is run, with arrays as arguments and few steps.
#include "drivers/cuda_sim/Simulator.h"

using namespace heddle::cuda_sim;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string error;
  std::unique_ptr<Module> module = Module::parse({reinterpret_cast<const char *>(data), size}, error);
  if (!module) {
    if (error.empty())
      __builtin_trap();
    return 0;
  }
  Memory memory(64 << 20);
  uint64_t array = memory.allocate(4096, "array");
  memory.fill(array, 1, 2048);
  Options options;
  options.threads = 1;
  options.stepLimit = 20000;
  for (const KernelInfo &kernel : module->kernels()) {
    Arguments arguments;
    for (const Parameter &parameter : kernel.parameters) {
      std::vector<std::byte> bytes(parameter.size);
      std::memcpy(bytes.data(), &array, bytes.size() < 8 ? bytes.size() : 8);
      arguments.addBytes(bytes.data(), bytes.size());
    }
    Report report = module->launch(kernel.name, {2}, {64}, 256, arguments, memory, options);
    for (const Problem &problem : report.problems)
      if (problem.text().empty())
        __builtin_trap();
  }
  return 0;
}
