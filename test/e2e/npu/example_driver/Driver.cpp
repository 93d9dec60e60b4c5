// The door: heddle/driver.h for the machine in Machine.cpp. Built as a shared library, out of Heddle's tree,
// with nothing but the headers in runtime/include.
#include "Machine.h"
#include <cstring>
#include <heddle/driver.h>
#include <map>
#include <memory>

using namespace example;

struct Kernel {
  std::vector<heddle_npu_command> commands;
  std::vector<unsigned char> data;
  uint32_t operands;
};

struct heddle_device {
  const heddle_host *host;
  std::map<uint64_t, std::vector<unsigned char>> memory;
  uint64_t next = 4096;

  unsigned char *find(uint64_t address, uint64_t size) {
    auto after = memory.upper_bound(address);
    if (after == memory.begin())
      return nullptr;
    auto &[begin, bytes] = *std::prev(after);
    uint64_t offset = address - begin;
    return offset <= bytes.size() && size <= bytes.size() - offset ? bytes.data() + offset : nullptr;
  }
};

struct heddle_module {
  heddle_device *device;
  const heddle_program *program;
  uint32_t code;
  const heddle_npu_machine *machine = nullptr;
  std::vector<Kernel> kernels; // of the program's functions
};

struct heddle_plan {
  heddle_module *module;
  heddle_bindings bindings;
};

namespace {

heddle_status report(heddle_error *error, heddle_status status, const std::string &message) {
  if (error) {
    error->status = status;
    strncpy(error->message, message.c_str(), sizeof(error->message) - 1);
    error->message[sizeof(error->message) - 1] = 0;
  }
  return status;
}

/// Bytes of the artifact's member: a table is copied out only when it lies in the file.
template <typename T> std::vector<T> table(const std::vector<unsigned char> &file, heddle_span span) {
  if (span.offset > file.size() || span.count > (file.size() - span.offset) / sizeof(T))
    throw Stop{"a table lies outside of the code"};
  std::vector<T> out(span.count);
  if (span.count)
    std::memcpy(out.data(), file.data() + span.offset, span.count * sizeof(T));
  return out;
}

template <typename T> std::vector<T> part(const std::vector<T> &all, uint64_t first, uint64_t count) {
  if (first > all.size() || count > all.size() - first)
    throw Stop{"a function lies outside of its table"};
  return std::vector<T>(all.begin() + first, all.begin() + first + count);
}

void read(heddle_module &module, const std::vector<unsigned char> &file) {
  heddle_npu_header header;
  if (file.size() < sizeof(header))
    throw Stop{"the code is too short"};
  std::memcpy(&header, file.data(), sizeof(header));
  if (std::memcmp(header.magic, HEDDLE_NPU_MAGIC, 8) != 0 || header.file_size > file.size())
    throw Stop{"no NPU code"};
  for (const heddle_npu_machine &machine : heddle_npu_machines)
    if (machine.id == header.machine)
      module.machine = &machine;
  if (!module.machine)
    throw Stop{"code for another machine"};
  auto functions = table<heddle_npu_function>(file, header.functions);
  auto commands = table<heddle_npu_command>(file, header.commands);
  auto data = table<unsigned char>(file, header.data);
  auto strings = table<char>(file, header.strings);
  strings.push_back(0);
  const heddle_program &program = *module.program;
  for (uint64_t i = 0; i < program.header->functions.count; ++i) {
    const char *name = program.strings + program.functions[i].name;
    for (const heddle_npu_function &function : functions)
      if (function.name < strings.size() && strcmp(strings.data() + function.name, name) == 0) {
        module.kernels.push_back({part(commands, function.first_command, function.command_count),
                                  part(data, function.data_offset, function.data_bytes),
                                  function.operand_count});
        break;
      }
    if (module.kernels.size() != i + 1)
      throw Stop{"the code has no function '" + std::string(name) + "'"};
    check(module.kernels.back().commands, *module.machine);
  }
}

heddle_status open(const heddle_host *host, heddle_device **out, heddle_error *) {
  *out = new heddle_device{host, {}};
  return HEDDLE_OK;
}
void close(heddle_device *device) { delete device; }

heddle_status capabilities(heddle_device *, heddle_capabilities *out, heddle_error *) {
  out->unified = out->features = 0;
  return HEDDLE_OK;
}

heddle_status allocate(heddle_device *device, uint64_t size, heddle_buffer *out, heddle_error *) {
  *out = {nullptr, device->next, size};
  device->memory[device->next].resize(size);
  device->next += (size + 8191) / 4096 * 4096;
  return HEDDLE_OK;
}
void release(heddle_device *device, const heddle_buffer *buffer) { device->memory.erase(buffer->address); }

heddle_status copy(heddle_device *device, const heddle_buffer *to, uint64_t toOffset,
                   const heddle_buffer *from, uint64_t fromOffset, uint64_t size, heddle_error *error) {
  auto bytes = [&](const heddle_buffer &buffer, uint64_t offset) {
    return buffer.host ? static_cast<unsigned char *>(buffer.host) + offset
                       : device->find(buffer.address + offset, size);
  };
  unsigned char *target = bytes(*to, toOffset), *source = bytes(*from, fromOffset);
  if (!target || !source)
    return report(error, HEDDLE_INVALID_ARGUMENT, "a copy outside of memory");
  std::memmove(target, source, size);
  return HEDDLE_OK;
}

heddle_status zero(heddle_device *device, const heddle_buffer *to, uint64_t offset, uint64_t size,
                   heddle_error *error) {
  unsigned char *target = device->find(to->address + offset, size);
  if (!target)
    return report(error, HEDDLE_INVALID_ARGUMENT, "zeros outside of memory");
  std::memset(target, 0, size);
  return HEDDLE_OK;
}

heddle_status load(heddle_device *device, const heddle_program *program, heddle_module **out,
                   heddle_error *error) {
  uint64_t code = program->header->codes.count;
  while (code > 0 && !(program->codes[code - 1].features & HEDDLE_CODE_NPU))
    --code;
  if (code == 0)
    return report(error, HEDDLE_UNSUPPORTED, "the artifact has no NPU code");
  auto module =
      std::make_unique<heddle_module>(heddle_module{device, program, static_cast<uint32_t>(code - 1)});
  const char *member = program->strings + program->codes[code - 1].member;
  const heddle_host &host = *device->host;
  heddle_member_info info = {};
  info.struct_size = sizeof(info);
  if (heddle_status status = host.find_member(host.context, member, &info, error))
    return status;
  std::vector<unsigned char> file(info.size);
  if (heddle_status status = host.read_member(host.context, member, 0, file.data(), file.size(), error))
    return status;
  try {
    read(*module, file);
  } catch (const Stop &stop) {
    return report(error, HEDDLE_INVALID_FILE, stop.why);
  }
  *out = module.release();
  return HEDDLE_OK;
}
uint32_t codeOf(const heddle_module *module) { return module->code; }
void unload(heddle_module *module) { delete module; }

uint64_t planBytes(const heddle_module *, uint32_t) { return 64; }
heddle_status prepare(heddle_module *module, const heddle_bindings *bindings, heddle_plan **out,
                      heddle_error *) {
  *out = new heddle_plan{module, *bindings};
  return HEDDLE_OK;
}
void unprepare(heddle_plan *plan) { delete plan; }

uint64_t bytesOf(const heddle_io &io, const int64_t *dims) {
  static const uint64_t sizes[] = {1, 4, 2, 2, 4, 8, 1, 1};
  uint64_t bytes = io.dtype < sizeof(sizes) / sizeof(*sizes) ? sizes[io.dtype] : 1;
  for (uint32_t i = 0; i < io.rank; ++i)
    bytes *= io.dim[i] < 0 ? dims[io.dim_id[i]] : io.dim[i];
  return bytes;
}

/// Inputs, outputs, work records and the page table are the host's: programs see them at addresses of their
/// own.
Memory memoryOf(const heddle_plan &plan, const heddle_submission &run, const heddle_operand &operand) {
  const heddle_bindings &b = plan.bindings;
  const heddle_program &program = *plan.module->program;
  auto device = [&](const heddle_buffer &buffer, uint64_t bytes, bool writable) {
    uint64_t address = buffer.address + operand.offset;
    return Memory{address, plan.module->device->find(address, bytes), bytes, writable};
  };
  auto host = [&](const heddle_buffer &buffer, uint64_t place, uint64_t bytes, bool writable) {
    return Memory{(place + 1) << 48, static_cast<unsigned char *>(buffer.host), bytes, writable};
  };
  switch (operand.kind) {
  case HEDDLE_OPERAND_ARENA:
    return device(b.arena, operand.bytes, true);
  case HEDDLE_OPERAND_WEIGHT:
    return device(b.weights, operand.bytes, false);
  case HEDDLE_OPERAND_CACHE:
    return device(b.caches[operand.index], b.caches[operand.index].size, true);
  case HEDDLE_OPERAND_PAGE_TABLE:
    return host(b.page_table, 1, b.page_table.size, false);
  case HEDDLE_OPERAND_WORK:
    return host(b.work, 2, b.work.size, false);
  }
  const heddle_io &io = program.ios[program.entries[run.entry].first_io + operand.index];
  return host(run.ios[operand.index], 3 + operand.index, bytesOf(io, run.dims), io.is_output);
}

void runLaunch(const heddle_plan &plan, const heddle_submission &run, const heddle_launch &launch) {
  const heddle_program &program = *plan.module->program;
  Kernel &kernel = plan.module->kernels[launch.function];
  if (kernel.operands != launch.operand_count || launch.operand_count > HEDDLE_NPU_MAX_OPERANDS)
    throw Stop{"another number of operands"};
  uint64_t items = launch.items_mul;
  if (launch.items_dim >= 0)
    items = (run.dims[launch.items_dim] * items + launch.items_div - 1) / launch.items_div;
  if (items == 0)
    return;
  std::vector<Memory> memory = {{uint64_t{1} << 62, kernel.data.data(), kernel.data.size(), false}};
  for (uint32_t i = 0; i < launch.operand_count; ++i)
    memory.push_back(memoryOf(plan, run, program.operands[launch.first_operand + i]));
  Machine machine(*plan.module->machine, kernel.commands, memory);
  machine.registers[HEDDLE_NPU_REGISTER_DATA] = memory[0].address;
  machine.registers[HEDDLE_NPU_REGISTER_ITEMS] = items;
  for (int i = 0; i < HEDDLE_DIM_COUNT; ++i)
    machine.registers[HEDDLE_NPU_REGISTER_DIMS + i] = run.dims[i];
  for (uint32_t i = 0; i < launch.operand_count; ++i)
    machine.registers[HEDDLE_NPU_REGISTER_OPERANDS + i] = memory[i + 1].address;
  machine.run();
}

heddle_status submit(heddle_plan *plan, const heddle_submission *run, heddle_error *error) {
  const heddle_program &program = *plan->module->program;
  const heddle_variant &variant = program.variants[run->variant];
  for (uint32_t i = 0; i < variant.launch_count; ++i) {
    const heddle_launch &launch = program.launches[variant.first_launch + i];
    try {
      runLaunch(*plan, *run, launch);
    } catch (const Stop &stop) {
      return report(error, HEDDLE_INTERNAL_ERROR,
                    std::string(program.strings + launch.source) + ": " + stop.why);
    }
  }
  return HEDDLE_OK;
}
heddle_status waitForRun(heddle_plan *, heddle_error *) { return HEDDLE_OK; }

} // namespace

extern "C" HEDDLE_API const heddle_driver *heddle_driver_example(void) {
  static const heddle_driver table = {sizeof(heddle_driver),
                                      HEDDLE_DRIVER_VERSION,
                                      "example",
                                      open,
                                      close,
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
                                      waitForRun};
  return &table;
}
