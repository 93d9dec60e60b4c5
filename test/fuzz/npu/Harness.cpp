// Arbitrary bytes as NPU code; what the simulator takes for functions is run, with memory as operands and few
// steps.
#include "drivers/npu_sim/Simulator.h"

using namespace heddle::npu_sim;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string error;
  std::unique_ptr<Program> program = Program::read(std::as_bytes(std::span(data, size)), error);
  if (!program) {
    if (error.empty())
      __builtin_trap();
    return 0;
  }
  static std::array<std::unique_ptr<Simulator>, HEDDLE_NPU_MACHINE_COUNT> simulators; // making one takes long
  std::unique_ptr<Simulator> &simulator = simulators[program->machine->id - 1];
  if (!simulator)
    simulator = std::make_unique<Simulator>(*program->machine);
  std::vector<std::byte> readable(4096, std::byte{3}), writable(4096);
  const Region regions[] = {{1 << 20, readable.data(), readable.size(), false},
                            {2 << 20, writable.data(), writable.size(), true}};
  std::array<int64_t, 16> registers = {1 << 20, 3, 2, 1, 5, 0, 0, 1 << 20, 2 << 20, 1 << 20, 2 << 20};
  Options options;
  options.commandLimit = 5000;
  options.workLimit = 1 << 20;
  options.trace = true;
  for (const Function &function : program->functions) {
    Report report = simulator->run(function, registers, regions, options);
    if (report.problem && (report.problem->text().empty() || report.problem->message.empty()))
      __builtin_trap();
    if (chromeTraceFile(chromeTraceEvents(function, report.events)).empty())
      __builtin_trap();
    for (const Command &command : function.commands) { // what is valid survives as text
      std::vector<Command> back;
      if (!parse(print(command), back, error) || back.size() != 1)
        __builtin_trap();
    }
  }
  return 0;
}
