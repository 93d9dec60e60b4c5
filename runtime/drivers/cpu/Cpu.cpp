// The driver of the host's own cores: every worker walks the same list of launches and computes its range of
// each.
#include "core/Program.h"
#include "drivers/cpu/Features.h"
#include "drivers/cpu/Image.h"
#include "drivers/cpu/Symbols.h"
#include "drivers/cpu/Team.h"
#include <sys/mman.h>

using namespace heddle::runtime;

struct heddle_device {
  const heddle_host *host;
  uint32_t features;
};

struct heddle_module {
  heddle_device *device;
  const heddle_program *program;
  uint32_t code;
  Image image;
  DebugSymbols symbols;
  uint64_t scratchBytes;        // of one worker
  heddle_kernel_fn functions[]; // of the chosen code
};

namespace {

constexpr uint64_t hugePage = 2u << 20;
constexpr uint32_t defaultFloatState = 0x1f80; // round to nearest even, denormals kept, all exceptions masked

} // namespace

struct heddle_plan {
  heddle_module *module;
  heddle_team *team;
  void **operands;      // [header->operands.count]
  uint32_t *ioOperands; // those that are inputs and outputs: their addresses are known when a run starts
  uint64_t ioOperandCount;
  char *scratch;
  const heddle_submission *submission;
};

namespace {

// ---------------------------------------------------------------------------------------------------------------
// Device and memory

heddle_status openCpu(const heddle_host *host, heddle_device **out, heddle_error *error) {
  heddle_device *device =
      static_cast<heddle_device *>(host->allocate(host->context, sizeof(heddle_device), 64));
  if (!device)
    return failMemory(sizeof(heddle_device), error);
  *device = {host, hostFeatures() & host->features};
  *out = device;
  return HEDDLE_OK;
}

void closeCpu(heddle_device *device) {
  device->host->release(device->host->context, device, sizeof(heddle_device));
}

heddle_status capabilitiesOfCpu(heddle_device *device, heddle_capabilities *out, heddle_error *error) {
  heddle_capabilities capabilities = {sizeof(capabilities), 1, device->features};
  return writeStruct(out, capabilities, "out", error);
}

heddle_status allocateCpu(heddle_device *device, uint64_t size, heddle_buffer *out, heddle_error *error) {
  const heddle_host &host = *device->host;
  void *memory = host.allocate(host.context, size, size >= hugePage ? hugePage : 64);
  if (!memory)
    return failMemory(size, error);
  // Before the first touch. Without huge pages everything still works, only slower.
  if (size >= hugePage && madvise(memory, size / hugePage * hugePage, MADV_HUGEPAGE) != 0)
    host.log(host.context, HEDDLE_LOG_WARNING, "no huge pages");
  *out = {memory, reinterpret_cast<uintptr_t>(memory), size};
  return HEDDLE_OK;
}

void releaseCpu(heddle_device *device, const heddle_buffer *buffer) {
  device->host->release(device->host->context, buffer->host, buffer->size);
}

heddle_status copyCpu(heddle_device *, const heddle_buffer *to, uint64_t toOffset, const heddle_buffer *from,
                      uint64_t fromOffset, uint64_t size, heddle_error *) {
  memcpy(static_cast<char *>(to->host) + toOffset, static_cast<char *>(from->host) + fromOffset, size);
  return HEDDLE_OK;
}

heddle_status zeroCpu(heddle_device *, const heddle_buffer *to, uint64_t offset, uint64_t size,
                      heddle_error *) {
  memset(static_cast<char *>(to->host) + offset, 0, size);
  return HEDDLE_OK;
}

// ---------------------------------------------------------------------------------------------------------------
// Code

/// The last code whose instruction sets the host has.
heddle_status chooseCode(const heddle_device &device, const heddle_program &program, uint32_t &out,
                         heddle_error *error) {
  for (uint64_t i = program.header->codes.count; i-- > 0;)
    if ((program.codes[i].features & ~device.features) == 0) {
      out = i;
      return HEDDLE_OK;
    }
  char missing[96] = "code for a CPU";
  if (program.header->codes.count)
    featureNames(program.codes[0].features & ~device.features, missing, sizeof(missing));
  return fail(error, HEDDLE_UNSUPPORTED, "cannot run on this CPU: missing %s; compile with another --target",
              missing);
}

uint64_t moduleBytes(const heddle_program &program) {
  return sizeof(heddle_module) + program.header->functions.count * sizeof(heddle_kernel_fn);
}

heddle_status loadCode(heddle_module &module, heddle_error *error) {
  const heddle_program &program = *module.program;
  const heddle_host &host = *module.device->host;
  const char *member = program.strings + program.codes[module.code].member;
  HEDDLE_TRY(mapImage(host, member, host.flags & HEDDLE_OPEN_PERF_MAP, module.image, error));
  uint64_t count = program.header->functions.count;
  const uint64_t *offsets = program.offsets + module.code * count;
  for (uint64_t i = 0; i < count; ++i) {
    if (offsets[i] == HEDDLE_NO_FUNCTION)
      continue;
    if (offsets[i] < module.image.textBegin || offsets[i] >= module.image.textEnd)
      return fail(error, HEDDLE_INVALID_FILE,
                  "code '%s': function '%s' lies outside of its executable segment", member,
                  program.strings + program.functions[i].name);
    module.functions[i] =
        reinterpret_cast<heddle_kernel_fn>(reinterpret_cast<uintptr_t>(module.image.base) + offsets[i]);
    module.scratchBytes = larger(module.scratchBytes, program.functions[i].scratch_bytes);
  }
  module.scratchBytes = alignUp(module.scratchBytes, 128); // no cache line is shared between workers
  if (host.flags & HEDDLE_OPEN_PERF_MAP)
    writePerfMap(program, module.code, module.image);
  if (host.flags & HEDDLE_OPEN_GDB)
    registerWithGdb(host, module.image, module.symbols);
  return HEDDLE_OK;
}

void unloadCpu(heddle_module *module) {
  const heddle_host &host = *module->device->host;
  unregisterWithGdb(host, module->symbols);
  unmapImage(module->image);
  host.release(host.context, module, moduleBytes(*module->program));
}

heddle_status loadCpu(heddle_device *device, const heddle_program *program, heddle_module **out,
                      heddle_error *error) {
  uint32_t code = 0;
  HEDDLE_TRY(chooseCode(*device, *program, code, error));
  uint64_t bytes = moduleBytes(*program);
  heddle_module *module =
      static_cast<heddle_module *>(device->host->allocate(device->host->context, bytes, 64));
  if (!module)
    return failMemory(bytes, error);
  memset(static_cast<void *>(module), 0, bytes);
  module->device = device;
  module->program = program;
  module->code = code;
  if (heddle_status status = loadCode(*module, error)) {
    unloadCpu(module);
    return status;
  }
  device->host->log(device->host->context, HEDDLE_LOG_INFO, program->strings + program->codes[code].member);
  *out = module;
  return HEDDLE_OK;
}

uint32_t codeOfCpu(const heddle_module *module) { return module->code; }

// ---------------------------------------------------------------------------------------------------------------
// Plans

/// Offsets of a plan's parts in its memory; `end` is its size.
struct PlanLayout {
  uint64_t ioOperands, scratch, end;
};

PlanLayout layOutPlan(const heddle_module &module, uint32_t threads) {
  uint64_t operands = module.program->header->operands.count;
  PlanLayout layout;
  layout.ioOperands = sizeof(heddle_plan) + operands * sizeof(void *);
  layout.scratch = alignUp(layout.ioOperands + operands * sizeof(uint32_t), 64);
  layout.end = layout.scratch + module.scratchBytes * threads;
  return layout;
}

uint64_t planBytesOfCpu(const heddle_module *module, uint32_t threads) {
  return layOutPlan(*module, threads).end;
}

heddle_status prepareCpu(heddle_module *module, const heddle_bindings *bindings, heddle_plan **out,
                         heddle_error *) {
  const heddle_program &program = *module->program;
  PlanLayout layout = layOutPlan(*module, 0);
  char *memory = static_cast<char *>(bindings->memory);
  heddle_plan *plan = reinterpret_cast<heddle_plan *>(memory);
  plan->module = module;
  plan->team = bindings->team;
  plan->operands = reinterpret_cast<void **>(plan + 1);
  plan->ioOperands = reinterpret_cast<uint32_t *>(memory + layout.ioOperands);
  plan->ioOperandCount = 0;
  plan->scratch = memory + layout.scratch;
  for (uint64_t i = 0; i < program.header->operands.count; ++i) {
    const heddle_operand &operand = program.operands[i];
    uint64_t address = 0;
    switch (operand.kind) {
    case HEDDLE_OPERAND_ARENA:
      address = bindings->arena.address;
      break;
    case HEDDLE_OPERAND_WEIGHT:
      address = bindings->weights.address;
      break;
    case HEDDLE_OPERAND_IO:
      plan->ioOperands[plan->ioOperandCount++] = i;
      break;
    case HEDDLE_OPERAND_CACHE:
      if (operand.index < program.header->caches.count) // records that no launch uses are not checked
        address = bindings->caches[operand.index].address;
      break;
    case HEDDLE_OPERAND_PAGE_TABLE:
      address = bindings->page_table.address;
      break;
    case HEDDLE_OPERAND_WORK:
      address = bindings->work.address;
      break;
    }
    plan->operands[i] = reinterpret_cast<void *>(address + operand.offset);
  }
  *out = plan;
  return HEDDLE_OK;
}

void unprepareCpu(heddle_plan *) {} // its memory is the session's

// ---------------------------------------------------------------------------------------------------------------
// Runs

uint64_t itemsOf(const heddle_launch &launch, const int64_t *dims) {
  if (launch.items_dim < 0)
    return launch.items_mul;
  uint64_t items = static_cast<uint64_t>(dims[launch.items_dim]) * launch.items_mul;
  return launch.items_div == 1 ? items : divideUp(items, launch.items_div);
}

/// This worker's range: equal shares, cut at multiples of the grain.
void rangeOf(const heddle_launch &launch, uint64_t items, uint32_t worker, uint32_t threads, uint64_t &begin,
             uint64_t &end) {
  begin = 0;
  end = items;
  if (threads == 1)
    return;
  uint64_t grains = launch.grain == 1 ? items : divideUp(items, launch.grain);
  begin = grains * worker / threads * launch.grain;
  end = smaller(grains * (worker + 1) / threads * launch.grain, items);
}

/// The variant that this module's code runs.
const heddle_variant &variantOf(const heddle_module &module, const heddle_submission &submission) {
  const heddle_program &program = *module.program;
  const heddle_variant &variant = program.variants[submission.variant];
  uint32_t features = variant.alternative_features;
  bool alternative = features && (features & ~program.codes[module.code].features) == 0;
  return alternative ? program.variants[variant.alternative] : variant;
}

void walkLaunches(void *context, heddle_team *team, uint32_t worker, uint32_t threads) {
  const heddle_plan &plan = *static_cast<heddle_plan *>(context);
  const heddle_module &module = *plan.module;
  const heddle_submission &submission = *plan.submission;
  const heddle_variant &variant = variantOf(module, submission);
  const heddle_launch *launches = module.program->launches + variant.first_launch;
  void *scratch = plan.scratch + module.scratchBytes * worker;
  uint32_t floatState = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(defaultFloatState);
  for (uint32_t i = 0; i < variant.launch_count; ++i) {
    const heddle_launch &launch = launches[i];
    if ((launch.flags & HEDDLE_LAUNCH_BARRIER) && threads > 1 &&
        i > 0) // all have just met before the first one
      meetTeam(team, worker);
    // Workers may see this at different launches; all keep meeting at the barriers.
    if (__atomic_load_n(submission.cancel, __ATOMIC_RELAXED))
      continue;
    uint64_t begin, end;
    rangeOf(launch, itemsOf(launch, submission.dims), worker, threads, begin, end);
    if (begin < end)
      module.functions[launch.function](plan.operands + launch.first_operand, submission.dims, scratch, begin,
                                        end);
  }
  __builtin_ia32_ldmxcsr(floatState);
}

heddle_status submitCpu(heddle_plan *plan, const heddle_submission *submission, heddle_error *error) {
  const heddle_program &program = *plan->module->program;
  const heddle_variant &variant = variantOf(*plan->module, *submission);
  for (uint32_t i = 0; i < variant.launch_count; ++i) {
    uint32_t function = program.launches[variant.first_launch + i].function;
    if (!plan->module->functions[function])
      return fail(error, HEDDLE_INVALID_FILE, "the code has no function '%s'",
                  program.strings + program.functions[function].name);
  }
  // Those of other entries get addresses too, which this run does not use.
  for (uint64_t i = 0; i < plan->ioOperandCount; ++i) {
    const heddle_operand &operand = program.operands[plan->ioOperands[i]];
    if (operand.index < program.entries[submission->entry].io_count)
      plan->operands[plan->ioOperands[i]] =
          reinterpret_cast<void *>(submission->ios[operand.index].address + operand.offset);
  }
  plan->submission = submission;
  return HEDDLE_OK;
}

/// The host's cores are where the caller is: the run happens here.
heddle_status waitCpu(heddle_plan *plan, heddle_error *) {
  runTeam(plan->team, walkLaunches, plan);
  return __atomic_load_n(plan->submission->cancel, __ATOMIC_RELAXED) ? HEDDLE_CANCELLED : HEDDLE_OK;
}

const heddle_driver cpuDriver = {
    sizeof(heddle_driver),
    HEDDLE_DRIVER_VERSION,
    "cpu",
    openCpu,
    closeCpu,
    capabilitiesOfCpu,
    allocateCpu,
    releaseCpu,
    copyCpu,
    zeroCpu,
    loadCpu,
    codeOfCpu,
    unloadCpu,
    planBytesOfCpu,
    prepareCpu,
    unprepareCpu,
    submitCpu,
    waitCpu,
};

} // namespace

extern "C" const heddle_driver *heddle_driver_cpu(void) { return &cpuDriver; }
