// The simulator as a device. Memory of the device has addresses of its own, given out from a counter; what
// the host makes for a run (inputs, outputs, work records, page table) is seen by programs at fixed addresses
// of the plan.
#include "core/Program.h"
#include "drivers/npu_sim/Simulator.h"
#include <algorithm>
#include <deque>
#include <heddle/npu_sim.h>
#include <map>
#include <mutex>
#include <new>

using namespace heddle::runtime;
using namespace heddle::npu_sim;

namespace {

/// A function that the program names, and what was counted of it.
struct Kernel {
  const Function *function;
  uint64_t launches = 0;
  Counts counts;
};

std::mutex devicesMutex; // guards the list, all counts and the trace
std::vector<heddle_device *> devices;

struct Trace {
  bool on = false;
  uint64_t start = 0; // cycle of the next launch
  std::string events;
} trace;

} // namespace

struct heddle_device {
  const heddle_host *host;
  std::mutex mutex; // guards memory
  std::map<uint64_t, std::vector<std::byte>> memory;
  uint64_t nextAddress = uint64_t{1} << 20;
  heddle_module *module = nullptr;
};

struct heddle_module {
  heddle_device *device;
  const heddle_program *program;
  uint32_t code;
  std::unique_ptr<Program> loaded;
  std::deque<Kernel> kernels; // of the program's functions, in their order
};

struct heddle_plan {
  heddle_module *module;
  heddle_bindings bindings;
  Simulator simulator;
  const heddle_submission *submission = nullptr;
};

namespace {

/// Where programs see what is the host's; device memory lies far below.
constexpr uint64_t hostMemory = uint64_t{1} << 48, hostStep = uint64_t{1} << 40;
enum { pageTablePlace, workPlace, dataPlace, firstIoPlace };
uint64_t placeOf(uint64_t index) { return hostMemory + index * hostStep; }

heddle_status failNpu(heddle_error *error, heddle_status status, const std::string &message) {
  return fail(error, status, "device 'npu-sim': %s", message.c_str());
}

// -----------------------------------------------------------------------------------------------------------------
// Device and memory

heddle_status openDevice(const heddle_host *host, heddle_device **out, heddle_error *error) {
  auto device = new (std::nothrow) heddle_device;
  if (!device)
    return failMemory(sizeof(heddle_device), error);
  device->host = host;
  std::lock_guard lock(devicesMutex);
  devices.push_back(device);
  *out = device;
  return HEDDLE_OK;
}

void closeDevice(heddle_device *device) {
  std::lock_guard lock(devicesMutex);
  std::erase(devices, device);
  delete device;
}

heddle_status capabilities(heddle_device *, heddle_capabilities *out, heddle_error *error) {
  heddle_capabilities none = {sizeof(none), 0, 0};
  return writeStruct(out, none, "out", error);
}

heddle_status allocate(heddle_device *device, uint64_t size, heddle_buffer *out, heddle_error *error) {
  try {
    std::vector<std::byte> bytes(size);
    std::lock_guard lock(device->mutex);
    *out = {nullptr, device->nextAddress, size};
    device->memory.emplace(device->nextAddress, std::move(bytes));
    device->nextAddress +=
        alignUp(size + 64, 4096); // a gap, so that addresses past the end belong to nothing
    return HEDDLE_OK;
  } catch (const std::bad_alloc &) {
    return failMemory(size, error);
  }
}

void release(heddle_device *device, const heddle_buffer *buffer) {
  std::lock_guard lock(device->mutex);
  device->memory.erase(buffer->address);
}

/// Bytes of device memory; null where there are none.
std::byte *find(heddle_device &device, uint64_t address, uint64_t size) {
  std::lock_guard lock(device.mutex);
  auto after = device.memory.upper_bound(address);
  if (after == device.memory.begin())
    return nullptr;
  auto &[begin, bytes] = *std::prev(after);
  return inRange(address - begin, size, bytes.size()) ? bytes.data() + (address - begin) : nullptr;
}

std::byte *bytesOf(heddle_device &device, const heddle_buffer &buffer, uint64_t offset, uint64_t size) {
  if (!inRange(offset, size, buffer.size))
    return nullptr;
  return buffer.host ? static_cast<std::byte *>(buffer.host) + offset
                     : find(device, buffer.address + offset, size);
}

heddle_status copy(heddle_device *device, const heddle_buffer *to, uint64_t toOffset,
                   const heddle_buffer *from, uint64_t fromOffset, uint64_t size, heddle_error *error) {
  std::byte *target = bytesOf(*device, *to, toOffset, size);
  std::byte *source = bytesOf(*device, *from, fromOffset, size);
  if (!target || !source)
    return failNpu(error, HEDDLE_INTERNAL_ERROR, "a copy outside of an allocation");
  memmove(target, source, size);
  return HEDDLE_OK;
}

heddle_status zero(heddle_device *device, const heddle_buffer *to, uint64_t offset, uint64_t size,
                   heddle_error *error) {
  std::byte *target = bytesOf(*device, *to, offset, size);
  if (!target)
    return failNpu(error, HEDDLE_INTERNAL_ERROR, "zeros outside of an allocation");
  memset(target, 0, size);
  return HEDDLE_OK;
}

// -----------------------------------------------------------------------------------------------------------------
// Code

heddle_status readCode(heddle_module &module, heddle_error *error) {
  const heddle_program &program = *module.program;
  const heddle_host &host = *module.device->host;
  const char *member = program.strings + program.codes[module.code].member;
  heddle_member_info info = {};
  info.struct_size = sizeof(info);
  HEDDLE_TRY(host.find_member(host.context, member, &info, error));
  std::vector<std::byte> file(info.size);
  HEDDLE_TRY(host.read_member(host.context, member, 0, file.data(), file.size(), error));
  std::string problem;
  module.loaded = Program::read(file, problem);
  if (!module.loaded)
    return failNpu(error, HEDDLE_INVALID_FILE, "code '" + std::string(member) + "': " + problem);
  for (uint64_t i = 0; i < program.header->functions.count; ++i) {
    const char *name = program.strings + program.functions[i].name;
    const Function *function = module.loaded->find(name);
    if (!function)
      return failNpu(error, HEDDLE_INVALID_FILE, "its code has no kernel '" + std::string(name) + "'");
    module.kernels.push_back({function, 0, {}});
  }
  return HEDDLE_OK;
}

void unload(heddle_module *module) {
  std::lock_guard lock(devicesMutex);
  module->device->module = nullptr;
  delete module;
}

heddle_status load(heddle_device *device, const heddle_program *program, heddle_module **out,
                   heddle_error *error) {
  uint64_t code = program->header->codes.count;
  while (code > 0 && !(program->codes[code - 1].features & HEDDLE_CODE_NPU))
    --code;
  if (code == 0)
    return failNpu(error, HEDDLE_UNSUPPORTED, "the artifact has no code for it; compile with --target npu");
  try {
    auto module = std::make_unique<heddle_module>(
        heddle_module{device, program, static_cast<uint32_t>(code - 1), nullptr, {}});
    HEDDLE_TRY(readCode(*module, error));
    std::lock_guard lock(devicesMutex);
    *out = device->module = module.release();
    return HEDDLE_OK;
  } catch (const std::bad_alloc &) {
    return fail(error, HEDDLE_RESOURCE_LIMIT, "device 'npu-sim': no memory for its code");
  }
}

uint32_t codeOf(const heddle_module *module) { return module->code; }

// -----------------------------------------------------------------------------------------------------------------
// Runs

uint64_t planBytes(const heddle_module *, uint32_t) { return 64; } // a plan takes its own memory

heddle_status prepare(heddle_module *module, const heddle_bindings *bindings, heddle_plan **out,
                      heddle_error *error) {
  try {
    *out = new heddle_plan{module, *bindings, Simulator(*module->loaded->machine)};
    return HEDDLE_OK;
  } catch (const std::bad_alloc &) {
    return fail(error, HEDDLE_RESOURCE_LIMIT, "device 'npu-sim': no memory for a session");
  }
}

void unprepare(heddle_plan *plan) { delete plan; }

/// What a launch sees of an operand; false where its memory is not there.
bool regionOf(heddle_plan &plan, const heddle_operand &operand, Region &out) {
  heddle_device &device = *plan.module->device;
  const heddle_bindings &bindings = plan.bindings;
  auto onDevice = [&](const heddle_buffer &buffer, bool writable) {
    uint64_t size =
        inRange(operand.offset, 0, buffer.size) ? smaller(operand.bytes, buffer.size - operand.offset) : 0;
    out = {buffer.address + operand.offset, find(device, buffer.address + operand.offset, size), size,
           writable};
    return out.host != nullptr;
  };
  auto onHost = [&](const heddle_buffer &buffer, uint64_t size, uint64_t place, bool writable) {
    uint64_t offset = smaller(operand.offset, size);
    out = {placeOf(place) + offset, static_cast<std::byte *>(buffer.host) + offset, size - offset, writable};
    return true;
  };
  switch (operand.kind) {
  case HEDDLE_OPERAND_ARENA:
    return onDevice(bindings.arena, true);
  case HEDDLE_OPERAND_WEIGHT:
    return onDevice(bindings.weights, false);
  case HEDDLE_OPERAND_CACHE: {
    const heddle_buffer &cache = bindings.caches[operand.index];
    out = {cache.address, find(device, cache.address, cache.size), cache.size, true};
    return out.host != nullptr;
  }
  case HEDDLE_OPERAND_PAGE_TABLE:
    return onHost(bindings.page_table, bindings.page_table.size, pageTablePlace, false);
  case HEDDLE_OPERAND_WORK:
    return onHost(bindings.work, bindings.work.size, workPlace, false);
  }
  const heddle_submission &submission = *plan.submission;
  const heddle_program &program = *plan.module->program;
  const heddle_io &io = program.ios[program.entries[submission.entry].first_io + operand.index];
  return onHost(submission.ios[operand.index], ioBytes(io, submission.dims), firstIoPlace + operand.index,
                io.is_output);
}

uint64_t itemsOf(const heddle_launch &launch, const int64_t *dims) {
  if (launch.items_dim < 0)
    return launch.items_mul;
  return divideUp(dims[launch.items_dim] * uint64_t{launch.items_mul}, launch.items_div);
}

/// The events of a launch, behind those of the launches before it.
void recordTrace(const Function &function, const Report &report) {
  std::vector<Event> events = report.events;
  for (Event &event : events) {
    event.start += trace.start;
    event.end += trace.start;
  }
  trace.events += chromeTraceEvents(function, events);
  trace.start += report.counts.cycles;
}

heddle_status launch(heddle_plan &plan, const heddle_launch &launch, heddle_error *error) {
  heddle_module &module = *plan.module;
  const heddle_program &program = *module.program;
  const int64_t *dims = plan.submission->dims;
  uint64_t items = itemsOf(launch, dims);
  if (items == 0)
    return HEDDLE_OK;
  Kernel &kernel = module.kernels[launch.function];
  const Function &function = *kernel.function;
  const char *source = program.strings + launch.source;
  if (launch.operand_count != function.operandCount)
    return failNpu(error, HEDDLE_INVALID_FILE,
                   "kernel '" + function.name + "' expects " + std::to_string(function.operandCount) +
                       " operands, but '" + source + "' gives " + std::to_string(launch.operand_count));
  std::array<int64_t, HEDDLE_NPU_REGISTERS> registers{}; // r1 first
  auto set = [&](int number, uint64_t value) { registers[number - 1] = static_cast<int64_t>(value); };
  // Data are the program's own: a region that is not writable is never written.
  std::vector<Region> regions = {
      {placeOf(dataPlace), const_cast<std::byte *>(function.data.data()), function.data.size(), false}};
  set(HEDDLE_NPU_REGISTER_DATA, placeOf(dataPlace));
  set(HEDDLE_NPU_REGISTER_ITEMS, items);
  for (int i = 0; i < HEDDLE_DIM_COUNT; ++i)
    set(HEDDLE_NPU_REGISTER_DIMS + i, dims[i]);
  for (uint32_t i = 0; i < launch.operand_count; ++i) {
    Region region;
    if (!regionOf(plan, program.operands[launch.first_operand + i], region))
      return failNpu(error, HEDDLE_INTERNAL_ERROR,
                     "operand " + std::to_string(i) + " of '" + source + "' lies outside of its memory");
    regions.push_back(region);
    set(HEDDLE_NPU_REGISTER_OPERANDS + i, region.address);
  }
  Options options;
  options.trace = trace.on;
  Report report = plan.simulator.run(function, registers, regions, options);
  {
    std::lock_guard lock(devicesMutex);
    ++kernel.launches;
    kernel.counts.add(report.counts);
    if (options.trace)
      recordTrace(function, report);
  }
  if (report.ok())
    return HEDDLE_OK;
  return failNpu(error, HEDDLE_INTERNAL_ERROR,
                 "kernel '" + function.name + "', for '" + source + "': " + report.problem->text());
}

/// Launches run at once; what went wrong is told here rather than in wait().
heddle_status submit(heddle_plan *plan, const heddle_submission *submission, heddle_error *error) {
  const heddle_program &program = *plan->module->program;
  const heddle_variant &variant = program.variants[submission->variant];
  plan->submission = submission;
  try {
    for (uint32_t i = 0; i < variant.launch_count; ++i) {
      if (__atomic_load_n(submission->cancel, __ATOMIC_RELAXED))
        return HEDDLE_OK; // wait() says so
      HEDDLE_TRY(launch(*plan, program.launches[variant.first_launch + i], error));
    }
    return HEDDLE_OK;
  } catch (const std::bad_alloc &) {
    return fail(error, HEDDLE_RESOURCE_LIMIT, "device 'npu-sim': no memory to run a kernel");
  }
}

heddle_status waitForPlan(heddle_plan *plan, heddle_error *) {
  return __atomic_load_n(plan->submission->cancel, __ATOMIC_RELAXED) ? HEDDLE_CANCELLED : HEDDLE_OK;
}

} // namespace

extern "C" HEDDLE_API const heddle_driver *heddle_driver_npu_sim(void) {
  static const heddle_driver table = {sizeof(heddle_driver),
                                      HEDDLE_DRIVER_VERSION,
                                      "npu-sim",
                                      openDevice,
                                      closeDevice,
                                      capabilities,
                                      allocate,
                                      release,
                                      copy,
                                      zero,
                                      load,
                                      codeOf,
                                      unload,
                                      planBytes,
                                      prepare,
                                      unprepare,
                                      submit,
                                      waitForPlan};
  return &table;
}

extern "C" HEDDLE_API void heddle_npu_sim_visit_counts(void (*visit)(void *, const heddle_npu_sim_counts *),
                                                       void *context) {
  std::lock_guard lock(devicesMutex);
  for (const heddle_device *device : devices) {
    if (!device->module)
      continue;
    for (const Kernel &kernel : device->module->kernels) {
      if (kernel.launches == 0)
        continue;
      const Counts &c = kernel.counts;
      const Machine &machine = *device->module->loaded->machine;
      heddle_npu_sim_counts counts = {};
      counts.struct_size = sizeof(counts);
      counts.kernel = kernel.function->name.c_str();
      counts.machine = machine.name;
      counts.launches = kernel.launches;
      counts.cycles = c.cycles;
      counts.commands = c.commands;
      std::copy(c.busy.begin(), c.busy.end(), counts.busy);
      std::copy(c.waiting.begin(), c.waiting.end(), counts.waiting);
      std::copy(c.conflicts.begin(), c.conflicts.end(), counts.conflicts);
      counts.multiply_adds = c.multiplyAdds;
      counts.peak_multiply_adds = c.cycles * machine.array * machine.array;
      counts.bytes_loaded = c.bytesLoaded;
      counts.bytes_stored = c.bytesStored;
      counts.peak_bytes = c.cycles * machine.dma_bytes;
      visit(context, &counts);
    }
  }
}

extern "C" HEDDLE_API void heddle_npu_sim_trace_begin(void) {
  std::lock_guard lock(devicesMutex);
  trace = {true, 0, ""};
}

extern "C" HEDDLE_API void heddle_npu_sim_trace_end(void (*write)(void *, const char *, size_t),
                                                    void *context) {
  std::lock_guard lock(devicesMutex);
  std::string text = chromeTraceFile(trace.events);
  trace = {};
  write(context, text.data(), text.size());
}
