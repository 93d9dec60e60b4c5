// Modules and launches: the library's interface.
#include "drivers/cuda_sim/Block.h"
#include "drivers/cuda_sim/KernelBuilder.h"
#include <algorithm>
#include <new>
#include <thread>

namespace heddle::cuda_sim {

struct Module::Impl {
  Syntax syntax;
  std::vector<std::unique_ptr<Kernel>> kernels;
  std::vector<KernelInfo> infos;
  uint64_t number; // in the process
};

namespace {

constexpr size_t instructionLimit = 1u << 22;      // of all kernels, with their functions inlined
constexpr uint64_t stateLimit = uint64_t(1) << 30; // bytes of registers, and of local memory, of one block

std::atomic<uint64_t> moduleCount{0};

Report failed(std::string_view kernel, const std::string &message) {
  Report report;
  Problem problem;
  problem.kind = ProblemKind::InvalidLaunch;
  problem.kernel = std::string(kernel.substr(0, 200));
  problem.message = message;
  report.problems.push_back(std::move(problem));
  return report;
}

std::string text(const Dim3 &d) {
  return std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z);
}

/// "" if the launch is possible.
std::string checkLaunch(const Kernel &kernel, const Dim3 &grid, const Dim3 &block, uint32_t dynamicShared,
                        const Arguments &arguments, const Options &options) {
  const KernelInfo &info = kernel.info;
  if (!grid.x || !grid.y || !grid.z || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
    return "a grid of " + text(grid) + " blocks; expected 1 to 2147483647, 65535, 65535";
  if (!block.count() || block.x > 1024 || block.y > 1024 || block.z > 64 || block.count() > 1024)
    return "a block of " + text(block) + " threads; expected at most 1024, and 64 in z";
  const Dim3 &required = info.requiredBlock;
  if (required.x && (required.x != block.x || required.y != block.y || required.z != block.z))
    return "a block of " + text(block) + " threads; the kernel requires " + text(required);
  if (arguments.values.size() != info.parameters.size())
    return std::to_string(arguments.values.size()) + " arguments; the kernel has " +
           std::to_string(info.parameters.size()) + " parameters";
  for (size_t i = 0; i < info.parameters.size(); ++i)
    if (arguments.values[i].size() != info.parameters[i].size)
      return "argument " + std::to_string(i + 1) + " has " + std::to_string(arguments.values[i].size()) +
             " bytes; parameter '" + info.parameters[i].name + "' has " +
             std::to_string(info.parameters[i].size);
  if (info.staticSharedBytes + dynamicShared > options.sharedLimit)
    return std::to_string(info.staticSharedBytes + dynamicShared) + " bytes of shared memory; at most " +
           std::to_string(options.sharedLimit) + " are there";
  uint64_t warps = (block.count() + warpSize - 1) / warpSize;
  if (warps * kernel.slots * slotBytes > stateLimit || warps * warpSize * kernel.localBytes > stateLimit)
    return "the registers or the local memory of a block take more than " + std::to_string(stateLimit) +
           " bytes";
  return "";
}

void runBlocks(Launch &launch) {
  Counters counters;
  try {
    Block block(launch);
    uint64_t count = launch.grid.count();
    while (!launch.stopped.load(std::memory_order_relaxed)) {
      uint64_t at = launch.nextBlock.fetch_add(1);
      if (at >= count || (launch.options.cancel && *launch.options.cancel))
        break;
      block.run({static_cast<uint32_t>(at % launch.grid.x),
                 static_cast<uint32_t>(at / launch.grid.x % launch.grid.y),
                 static_cast<uint32_t>(at / launch.grid.x / launch.grid.y)});
    }
    counters = block.counters;
  } catch (const std::bad_alloc &) {
    launch.stopped = true;
    std::lock_guard lock(launch.mutex);
    Launch::Found &found = launch.problems[{ProblemKind::InvalidLaunch, 0}];
    found.block = 0;
    found.problem.kind = ProblemKind::InvalidLaunch;
    found.problem.kernel = launch.kernel->info.name;
    found.problem.message = "no memory for the state of a block";
  }
  std::lock_guard lock(launch.mutex);
  launch.counters.add(counters);
}

} // namespace

Module::Module(std::unique_ptr<Impl> impl) : state(std::move(impl)) {}
Module::~Module() = default;

std::unique_ptr<Module> Module::parse(std::string_view text, std::string &error) try {
  auto impl = std::make_unique<Impl>();
  impl->number = ++moduleCount;
  std::string where;
  size_t instructions = 0;
  try {
    impl->syntax = parseText(text);
    for (size_t i = 0; i < impl->syntax.functions.size(); ++i) {
      const Function &function = impl->syntax.functions[i];
      if (!function.isEntry || !function.hasBody)
        continue;
      where = "kernel '" + function.name + "', ";
      impl->kernels.push_back(KernelBuilder(impl->syntax, i).build());
      impl->infos.push_back(impl->kernels.back()->info);
      instructions += impl->kernels.back()->code.size();
      if (instructions > instructionLimit)
        throw TextError{function.line, "the kernels have more than " + std::to_string(instructionLimit) +
                                           " instructions with their functions inlined"};
    }
  } catch (const TextError &problem) {
    error = where + "line " + std::to_string(problem.line) + ": " + problem.message;
    return nullptr;
  }
  return std::unique_ptr<Module>(new Module(std::move(impl)));
} catch (const std::bad_alloc &) {
  error = "no memory for the module";
  return nullptr;
}

const std::vector<KernelInfo> &Module::kernels() const { return state->infos; }

const KernelInfo *Module::kernel(std::string_view name) const {
  for (const KernelInfo &info : state->infos)
    if (info.name == name)
      return &info;
  return nullptr;
}

bool Module::bind(Memory &memory) const try {
  Memory::Impl &impl = memory.impl();
  {
    std::unique_lock lock(impl.mutex);
    if (impl.bindings.count(state->number))
      return true;
  }
  const std::vector<Variable> &variables = state->syntax.variables;
  std::vector<uint64_t> addresses(variables.size());
  for (size_t i = 0; i < variables.size(); ++i) {
    const Variable &variable = variables[i];
    if ((variable.space != Space::Global && variable.space != Space::Const) || variable.bytes == 0)
      continue;
    addresses[i] = memory.allocate(variable.bytes, variable.name);
    if (!addresses[i] || !memory.fill(addresses[i], 0, variable.bytes))
      return false;
  }
  for (size_t i = 0; i < variables.size(); ++i) {
    if (!addresses[i])
      continue;
    const Variable &variable = variables[i];
    memory.write(addresses[i], variable.contents.data(), variable.contents.size());
    for (const Variable::Address &address : variable.addresses) {
      uint64_t value =
          addresses[static_cast<size_t>(address.variable)] + static_cast<uint64_t>(address.addend);
      memory.write(addresses[i] + address.offset, &value, std::min<uint64_t>(8, variable.elementBytes));
    }
  }
  std::unique_lock lock(impl.mutex);
  impl.bindings.emplace(state->number, std::move(addresses));
  return true;
} catch (const std::bad_alloc &) {
  return false;
}

uint64_t Module::variable(std::string_view name, const Memory &memory) const {
  const std::vector<Variable> &variables = state->syntax.variables;
  Memory::Impl &impl = memory.impl();
  std::shared_lock lock(impl.mutex);
  auto at = impl.bindings.find(state->number);
  for (size_t i = 0; at != impl.bindings.end() && i < variables.size(); ++i)
    if (variables[i].name == name)
      return at->second[i];
  return 0;
}

Report Module::launch(std::string_view name, Dim3 grid, Dim3 block, uint32_t dynamicShared,
                      const Arguments &arguments, Memory &memory, const Options &options) const try {
  const Kernel *kernel = nullptr;
  for (const auto &each : state->kernels)
    if (each->info.name == name)
      kernel = each.get();
  if (!kernel)
    return failed(name, "the module has no kernel of this name");
  if (std::string problem = checkLaunch(*kernel, grid, block, dynamicShared, arguments, options);
      !problem.empty())
    return failed(name, problem);
  if (!bind(memory))
    return failed(name, "no memory for the variables of the module");

  Launch launch;
  launch.kernel = kernel;
  launch.syntax = &state->syntax;
  launch.memory = &memory.impl();
  launch.options = options;
  launch.grid = grid;
  launch.block = block;
  launch.dynamicShared = dynamicShared;
  launch.parameters.resize(kernel->parameterBytes);
  for (size_t i = 0; i < arguments.values.size(); ++i)
    std::copy(arguments.values[i].begin(), arguments.values[i].end(),
              launch.parameters.begin() + kernel->info.parameters[i].offset);
  launch.constants = kernel->constants;
  if (!kernel->relocations.empty()) {
    std::shared_lock lock(launch.memory->mutex);
    const std::vector<uint64_t> &addresses = launch.memory->bindings.at(state->number);
    for (const Kernel::Relocation &relocation : kernel->relocations) {
      uint64_t value =
          addresses[static_cast<size_t>(relocation.variable)] + static_cast<uint64_t>(relocation.addend);
      for (unsigned lane = 0; lane < warpSize; ++lane)
        std::memcpy(launch.constants.data() + relocation.constant * slotBytes + lane * 8, &value, 8);
    }
  }

  uint64_t threads = options.threads ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  threads = std::min<uint64_t>({threads, grid.count(), 256});
  std::vector<std::thread> team;
  try {
    for (uint64_t i = 1; i < threads; ++i)
      team.emplace_back([&launch] { runBlocks(launch); });
  } catch (const std::exception &) { // the threads that there are do all of it
  }
  runBlocks(launch);
  for (std::thread &thread : team)
    thread.join();

  Report report;
  std::vector<Launch::Found> found;
  for (auto &[key, each] : launch.problems)
    found.push_back(std::move(each));
  std::sort(found.begin(), found.end(), [](const Launch::Found &a, const Launch::Found &b) {
    return a.block != b.block ? a.block < b.block : a.problem.line < b.problem.line;
  });
  for (Launch::Found &each : found)
    report.problems.push_back(std::move(each.problem));
  report.suppressed = launch.suppressed;
  report.counters = launch.counters;
  return report;
} catch (const std::bad_alloc &) {
  return failed(name, "no memory for the launch");
}

} // namespace heddle::cuda_sim
