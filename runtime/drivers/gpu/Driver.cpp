// What a GPU needs beside launches: everything that a run reads on the host goes over in one block, kernels
// get addresses that stay the same from run to run, and small calls are one graph.
#include "drivers/gpu/Driver.h"
#include "core/Program.h"
#include <new>
#include <stdlib.h>

using namespace heddle::runtime;
using heddle::gpu::Api;
using heddle::gpu::Launch;

struct heddle_device {
  const Api *api;
  const heddle_host *host;
  void *context;
};

struct heddle_module {
  heddle_device *device;
  const heddle_program *program;
  uint32_t code;
  void *loaded;      // of the API
  void *functions[]; // of the program
};

namespace {

/// Calls of at most so many rows are worth a graph: their kernels are short beside the cost of a launch.
constexpr uint32_t graphRows = 4;
/// An input up to this size at its bound goes over with the other small things.
constexpr uint64_t smallInput = 64 << 10;
constexpr uint64_t alignment = 256;

} // namespace

struct heddle_plan {
  heddle_module *module;
  uint64_t deviceAddress, deviceBytes; // staging, on the device
  uint64_t work, pageTable;            // offsets in it; the dims come first
  uint64_t smallBytes;                 // so much of it is written at once
  heddle_buffer pageTableOfHost, workOfHost;
  uint64_t *ios;        // offsets in it, [header->ios.count]
  uint64_t *parameters; // of all launches
  uint64_t *firstParameter;
  void **graphs; // [header->variants.count]; NULL: none
  char *staging; // smallBytes of host memory
  const heddle_submission *submission;
};

namespace {

// ---------------------------------------------------------------------------------------------------------------
// Device and memory

void closeGpu(heddle_device *device) {
  device->api->close(device->context);
  device->host->release(device->host->context, device, sizeof(heddle_device));
}

heddle_status capabilitiesOfGpu(heddle_device *, heddle_capabilities *out, heddle_error *error) {
  heddle_capabilities capabilities = {sizeof(capabilities), 0, 0};
  return writeStruct(out, capabilities, "out", error);
}

heddle_status allocateGpu(heddle_device *device, uint64_t size, heddle_buffer *out, heddle_error *error) {
  *out = {nullptr, 0, size};
  return device->api->allocate(device->context, size, &out->address, error);
}

void releaseGpu(heddle_device *device, const heddle_buffer *buffer) {
  device->api->release(device->context, buffer->address);
}

heddle_status copyGpu(heddle_device *device, const heddle_buffer *to, uint64_t toOffset,
                      const heddle_buffer *from, uint64_t fromOffset, uint64_t size, heddle_error *error) {
  const Api &api = *device->api;
  char *toHost = static_cast<char *>(to->host), *fromHost = static_cast<char *>(from->host);
  if (toHost && fromHost) {
    memcpy(toHost + toOffset, fromHost + fromOffset, size);
    return HEDDLE_OK;
  }
  if (fromHost)
    return api.write(device->context, to->address + toOffset, fromHost + fromOffset, size, error);
  if (toHost)
    return api.read(device->context, toHost + toOffset, from->address + fromOffset, size, error);
  return api.copy(device->context, to->address + toOffset, from->address + fromOffset, size, error);
}

heddle_status zeroGpu(heddle_device *device, const heddle_buffer *to, uint64_t offset, uint64_t size,
                      heddle_error *error) {
  return device->api->zero(device->context, to->address + offset, size, error);
}

// ---------------------------------------------------------------------------------------------------------------
// Code

uint64_t moduleBytes(const heddle_program &program) {
  return sizeof(heddle_module) + program.header->functions.count * sizeof(void *);
}

/// The last code that the device runs.
heddle_status chooseCode(heddle_module &module, heddle_error *error) {
  const heddle_program &program = *module.program;
  const heddle_device &device = *module.device;
  for (uint64_t i = program.header->codes.count; i-- > 0;)
    if (device.api->runs(device.context, program.codes[i].features)) {
      module.code = i;
      return HEDDLE_OK;
    }
  return fail(error, HEDDLE_UNSUPPORTED,
              "device '%s': the artifact has no code for it; compile with --target cuda", device.api->name);
}

heddle_status loadCode(heddle_module &module, heddle_error *error) {
  const heddle_program &program = *module.program;
  heddle_device &device = *module.device;
  const heddle_host &host = *device.host;
  const char *member = program.strings + program.codes[module.code].member;
  heddle_member_info info = {};
  info.struct_size = sizeof(info);
  HEDDLE_TRY(host.find_member(host.context, member, &info, error));
  uint64_t bytes = info.size + 1; // a NUL ends the text
  char *image = static_cast<char *>(host.allocate(host.context, bytes, 64));
  if (!image)
    return failMemory(bytes, error);
  heddle_status status = host.read_member(host.context, member, 0, image, info.size, error);
  image[info.size] = 0;
  if (!status)
    status = device.api->loadModule(device.context, member, image, info.size, &module.loaded, error);
  host.release(host.context, image, bytes);
  HEDDLE_TRY(status);
  for (uint64_t i = 0; i < program.header->functions.count; ++i) {
    const heddle_function &function = program.functions[i];
    if (function.threads == 0 || function.threads > 1024 || function.scratch_bytes > UINT32_MAX)
      return fail(error, HEDDLE_INVALID_FILE,
                  "program.bin: function '%s': expected blocks of 1 to 1024 threads, but found %u",
                  program.strings + function.name, function.threads);
    HEDDLE_TRY(device.api->findFunction(device.context, module.loaded, program.strings + function.name,
                                        function.scratch_bytes, &module.functions[i], error));
  }
  return HEDDLE_OK;
}

void unloadGpu(heddle_module *module) {
  const heddle_device &device = *module->device;
  if (module->loaded)
    device.api->unloadModule(device.context, module->loaded);
  device.host->release(device.host->context, module, moduleBytes(*module->program));
}

heddle_status loadGpu(heddle_device *device, const heddle_program *program, heddle_module **out,
                      heddle_error *error) {
  uint64_t bytes = moduleBytes(*program);
  heddle_module *module =
      static_cast<heddle_module *>(device->host->allocate(device->host->context, bytes, 64));
  if (!module)
    return failMemory(bytes, error);
  memset(static_cast<void *>(module), 0, bytes);
  module->device = device;
  module->program = program;
  heddle_status status = chooseCode(*module, error);
  if (!status)
    status = loadCode(*module, error);
  if (status) {
    unloadGpu(module);
    return status;
  }
  device->host->log(device->host->context, HEDDLE_LOG_INFO,
                    program->strings + program->codes[module->code].member);
  *out = module;
  return HEDDLE_OK;
}

uint32_t codeOfGpu(const heddle_module *module) { return module->code; }

// ---------------------------------------------------------------------------------------------------------------
// Plans

template <typename Visit> void forEachLaunch(const heddle_program &program, Visit visit) {
  for (uint64_t e = 0; e < program.header->entries.count; ++e) {
    const heddle_entry &entry = program.entries[e];
    for (uint32_t v = 0; v < entry.variant_count; ++v) {
      const heddle_variant &variant = program.variants[entry.first_variant + v];
      for (uint32_t l = 0; l < variant.launch_count; ++l)
        visit(entry, program.launches[variant.first_launch + l]);
    }
  }
}

/// Bytes of host memory that a plan takes: the most for any session, as its bounds are not known yet.
struct PlanLayout {
  uint64_t ios, parameters, firstParameter, graphs, staging, end;

  explicit PlanLayout(const heddle_program &program) {
    const heddle_program_header &header = *program.header;
    uint64_t count = 0;
    forEachLaunch(program, [&](const heddle_entry &, const heddle_launch &launch) {
      count += launch.operand_count + 1;
    });
    ios = alignUp(sizeof(heddle_plan), 64);
    parameters = ios + header.ios.count * sizeof(uint64_t);
    firstParameter = parameters + count * sizeof(uint64_t);
    graphs = firstParameter + header.launches.count * sizeof(uint64_t);
    staging = alignUp(graphs + header.variants.count * sizeof(void *), 64);
    uint64_t small =
        alignUp(sizeof(int64_t) * HEDDLE_DIM_COUNT, alignment) +
        alignUp(header.max_rows * sizeof(heddle_work), alignment) +
        alignUp(static_cast<uint64_t>(header.max_slots) * pagesPerSlot(program) * sizeof(int32_t),
                alignment) +
        header.ios.count * smallInput;
    end = staging + small;
  }
};

uint64_t planBytesOfGpu(const heddle_module *module, uint32_t) { return PlanLayout(*module->program).end; }

uint64_t sizeAtBound(const heddle_io &io, const heddle_bindings &bindings) {
  int64_t dims[HEDDLE_DIM_COUNT] = {bindings.rows, bindings.wanted, bindings.rows};
  return ioBytes(io, dims);
}

/// Places what the host makes in staging memory: the small things first, so that one copy brings them.
void layOutStaging(heddle_plan &plan, const heddle_bindings &bindings) {
  const heddle_program &program = *plan.module->program;
  uint64_t end = 0;
  auto take = [&](uint64_t size) {
    uint64_t offset = end;
    end += alignUp(size, alignment);
    return offset;
  };
  take(sizeof(int64_t) * HEDDLE_DIM_COUNT);
  plan.work = take(bindings.work.size);
  plan.pageTable = take(bindings.page_table.size);
  auto isSmall = [&](const heddle_io &io) {
    return !io.is_output && sizeAtBound(io, bindings) <= smallInput;
  };
  for (uint64_t i = 0; i < program.header->ios.count; ++i)
    if (isSmall(program.ios[i]))
      plan.ios[i] = take(sizeAtBound(program.ios[i], bindings));
  plan.smallBytes = end;
  for (uint64_t i = 0; i < program.header->ios.count; ++i)
    if (!isSmall(program.ios[i]))
      plan.ios[i] = take(sizeAtBound(program.ios[i], bindings));
  plan.deviceBytes = end;
}

uint64_t addressOf(const heddle_plan &plan, const heddle_bindings &bindings, const heddle_entry &entry,
                   const heddle_operand &operand) {
  switch (operand.kind) {
  case HEDDLE_OPERAND_ARENA:
    return bindings.arena.address + operand.offset;
  case HEDDLE_OPERAND_WEIGHT:
    return bindings.weights.address + operand.offset;
  case HEDDLE_OPERAND_IO:
    return plan.deviceAddress + plan.ios[entry.first_io + operand.index] + operand.offset;
  case HEDDLE_OPERAND_CACHE:
    return bindings.caches[operand.index].address + operand.offset;
  case HEDDLE_OPERAND_PAGE_TABLE:
    return plan.deviceAddress + plan.pageTable + operand.offset;
  default: // the program was checked
    return plan.deviceAddress + plan.work + operand.offset;
  }
}

void fillParameters(heddle_plan &plan, const heddle_bindings &bindings) {
  const heddle_program &program = *plan.module->program;
  uint64_t next = 0;
  forEachLaunch(program, [&](const heddle_entry &entry, const heddle_launch &launch) {
    // Variants that share a launch have the same entry's operands or make the last one's; compilers share
    // none.
    plan.firstParameter[&launch - program.launches] = next;
    for (uint32_t i = 0; i < launch.operand_count; ++i)
      plan.parameters[next++] = addressOf(plan, bindings, entry, program.operands[launch.first_operand + i]);
    plan.parameters[next++] = plan.deviceAddress; // dims
  });
}

uint64_t blocksOf(const heddle_launch &launch, const int64_t *dims) {
  return launch.items_dim < 0 ? 1 : divideUp(dims[launch.items_dim], launch.items_div);
}

heddle_status launchKernel(const heddle_plan &plan, const heddle_launch &launch, const int64_t *dims,
                           heddle_error *error) {
  const heddle_module &module = *plan.module;
  const heddle_program &program = *module.program;
  const heddle_device &device = *module.device;
  const heddle_function &function = program.functions[launch.function];
  uint64_t blocks = blocksOf(launch, dims);
  if (blocks == 0 || launch.items_mul == 0)
    return HEDDLE_OK;
  const char *name = program.strings + function.name, *source = program.strings + launch.source;
  if (blocks > INT32_MAX || launch.items_mul > 65535)
    return fail(error, HEDDLE_INVALID_FILE, "kernel '%s' for '%s': a grid of %llu by %u blocks is too large",
                name, source, static_cast<unsigned long long>(blocks), launch.items_mul);
  Launch one = {module.functions[launch.function],
                static_cast<uint32_t>(blocks),
                launch.items_mul,
                function.threads,
                static_cast<uint32_t>(function.scratch_bytes),
                plan.parameters + plan.firstParameter[&launch - program.launches],
                launch.operand_count + 1,
                name,
                source};
  return device.api->launch(device.context, &one, error);
}

heddle_status recordGraph(heddle_plan &plan, const heddle_variant &variant, const heddle_bindings &bindings,
                          heddle_error *error) {
  const heddle_program &program = *plan.module->program;
  const heddle_device &device = *plan.module->device;
  // Blocks past the call's own rows return at once.
  int64_t rows = smaller(variant.max_rows, bindings.rows), wanted = smaller<int64_t>(bindings.wanted, rows);
  const int64_t dims[HEDDLE_DIM_COUNT] = {rows, wanted, rows};
  HEDDLE_TRY(device.api->beginGraph(device.context, error));
  heddle_status status = HEDDLE_OK;
  for (uint32_t l = 0; l < variant.launch_count && !status; ++l)
    status = launchKernel(plan, program.launches[variant.first_launch + l], dims, error);
  // What was recorded is dropped when a launch was refused.
  heddle_status ended = device.api->endGraph(device.context, &plan.graphs[&variant - program.variants],
                                             status ? nullptr : error);
  return status ? status : ended;
}

void unprepareGpu(heddle_plan *plan) {
  const heddle_device &device = *plan->module->device;
  for (uint64_t i = 0; i < plan->module->program->header->variants.count; ++i)
    if (plan->graphs[i])
      device.api->destroyGraph(device.context, plan->graphs[i]);
  if (plan->deviceBytes)
    device.api->release(device.context, plan->deviceAddress);
}

heddle_status prepareGpu(heddle_module *module, const heddle_bindings *bindings, heddle_plan **out,
                         heddle_error *error) {
  const heddle_program &program = *module->program;
  const heddle_device &device = *module->device;
  PlanLayout layout(program);
  char *memory = static_cast<char *>(bindings->memory);
  heddle_plan *plan = new (memory) heddle_plan{};
  plan->module = module;
  plan->ios = reinterpret_cast<uint64_t *>(memory + layout.ios);
  plan->parameters = reinterpret_cast<uint64_t *>(memory + layout.parameters);
  plan->firstParameter = reinterpret_cast<uint64_t *>(memory + layout.firstParameter);
  plan->graphs = reinterpret_cast<void **>(memory + layout.graphs);
  plan->staging = memory + layout.staging;
  plan->pageTableOfHost = bindings->page_table;
  plan->workOfHost = bindings->work;
  memset(plan->graphs, 0, program.header->variants.count * sizeof(void *));
  layOutStaging(*plan, *bindings);
  uint64_t bytes = plan->deviceBytes;
  plan->deviceBytes = 0; // nothing to release yet
  HEDDLE_TRY(device.api->allocate(device.context, bytes, &plan->deviceAddress, error));
  plan->deviceBytes = bytes;
  fillParameters(*plan, *bindings);
  heddle_status status = HEDDLE_OK;
  for (uint64_t i = 0; i < program.header->variants.count && device.api->beginGraph && !status; ++i)
    if (program.variants[i].max_rows <= graphRows)
      status = recordGraph(*plan, program.variants[i], *bindings, error);
  if (status) {
    unprepareGpu(plan);
    return status;
  }
  *out = plan;
  return HEDDLE_OK;
}

// ---------------------------------------------------------------------------------------------------------------
// Runs

/// Brings over what the run reads.
heddle_status sendInputs(heddle_plan &plan, const heddle_submission &submission, heddle_error *error) {
  const heddle_program &program = *plan.module->program;
  const heddle_device &device = *plan.module->device;
  const heddle_entry &entry = program.entries[submission.entry];
  memcpy(plan.staging, submission.dims, sizeof(int64_t) * HEDDLE_DIM_COUNT);
  memcpy(plan.staging + plan.work, plan.workOfHost.host,
         smaller<uint64_t>(submission.dims[HEDDLE_DIM_WORK] * sizeof(heddle_work), plan.workOfHost.size));
  if (plan.pageTableOfHost.size)
    memcpy(plan.staging + plan.pageTable, plan.pageTableOfHost.host, plan.pageTableOfHost.size);
  for (uint32_t i = 0; i < entry.io_count; ++i) {
    const heddle_io &io = program.ios[entry.first_io + i];
    if (io.is_output)
      break; // inputs come first
    uint64_t offset = plan.ios[entry.first_io + i], size = ioBytes(io, submission.dims);
    if (offset < plan.smallBytes)
      memcpy(plan.staging + offset, submission.ios[i].host, size);
    else
      HEDDLE_TRY(device.api->write(device.context, plan.deviceAddress + offset, submission.ios[i].host, size,
                                   error));
  }
  return device.api->write(device.context, plan.deviceAddress, plan.staging, plan.smallBytes, error);
}

heddle_status submitGpu(heddle_plan *plan, const heddle_submission *submission, heddle_error *error) {
  const heddle_module &module = *plan->module;
  const heddle_variant &variant = module.program->variants[submission->variant];
  plan->submission = submission;
  HEDDLE_TRY(sendInputs(*plan, *submission, error));
  if (void *graph = plan->graphs[submission->variant])
    return module.device->api->launchGraph(module.device->context, graph, error);
  for (uint32_t l = 0; l < variant.launch_count; ++l) {
    if (__atomic_load_n(submission->cancel, __ATOMIC_RELAXED))
      return HEDDLE_OK; // wait() says so
    HEDDLE_TRY(
        launchKernel(*plan, module.program->launches[variant.first_launch + l], submission->dims, error));
  }
  return HEDDLE_OK;
}

heddle_status waitGpu(heddle_plan *plan, heddle_error *error) {
  const heddle_program &program = *plan->module->program;
  const heddle_device &device = *plan->module->device;
  const heddle_submission &submission = *plan->submission;
  HEDDLE_TRY(device.api->synchronize(device.context, error));
  if (__atomic_load_n(submission.cancel, __ATOMIC_RELAXED))
    return HEDDLE_CANCELLED;
  const heddle_entry &entry = program.entries[submission.entry];
  for (uint32_t i = 0; i < entry.io_count; ++i) {
    const heddle_io &io = program.ios[entry.first_io + i];
    uint64_t size = ioBytes(io, submission.dims);
    if (io.is_output && size)
      HEDDLE_TRY(device.api->read(device.context, submission.ios[i].host,
                                  plan->deviceAddress + plan->ios[entry.first_io + i], size, error));
  }
  return HEDDLE_OK;
}

} // namespace

namespace heddle::gpu {

heddle_status openDevice(const Api &api, const heddle_host *host, heddle_device **out, heddle_error *error) {
  void *memory = host->allocate(host->context, sizeof(heddle_device), 64);
  if (!memory)
    return failMemory(sizeof(heddle_device), error);
  heddle_device *device = new (memory) heddle_device{&api, host, nullptr};
  if (heddle_status status = api.open(host, &device->context, error)) {
    host->release(host->context, memory, sizeof(heddle_device));
    return status;
  }
  *out = device;
  return HEDDLE_OK;
}

heddle_driver makeDriver(const char *name, decltype(heddle_driver::open) open) {
  return {sizeof(heddle_driver),
          HEDDLE_DRIVER_VERSION,
          name,
          open,
          closeGpu,
          capabilitiesOfGpu,
          allocateGpu,
          releaseGpu,
          copyGpu,
          zeroGpu,
          loadGpu,
          codeOfGpu,
          unloadGpu,
          planBytesOfGpu,
          prepareGpu,
          unprepareGpu,
          submitGpu,
          waitGpu};
}

} // namespace heddle::gpu
