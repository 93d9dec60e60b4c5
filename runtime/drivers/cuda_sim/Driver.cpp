// The simulator as a machine of the GPU driver.
#include "drivers/gpu/Driver.h"
#include "core/Support.h"
#include "drivers/cuda_sim/Simulator.h"
#include <algorithm>
#include <deque>
#include <heddle/cuda_sim.h>
#include <memory>
#include <mutex>
#include <new>

using namespace heddle::runtime;
using heddle::gpu::Api;
using heddle::gpu::Launch;

namespace heddle::cuda_sim {
namespace {

/// A kernel of a loaded module, and what was counted of it.
struct Function {
  const Module *module;
  std::string name;
  uint64_t launches = 0;
  Counters counters;
};

struct Device {
  const heddle_host *host;
  Memory memory;
  std::deque<Function> functions; // in the order of the program
};

std::mutex devicesMutex;
std::vector<Device *> devices; // that are open

heddle_status openSimulator(const heddle_host *host, void **out, heddle_error *error) {
  auto device = new (std::nothrow) Device;
  if (!device)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "no memory for a simulated device");
  device->host = host;
  std::lock_guard lock(devicesMutex);
  devices.push_back(device);
  *out = device;
  return HEDDLE_OK;
}

void closeSimulator(void *context) {
  std::lock_guard lock(devicesMutex);
  std::erase(devices, static_cast<Device *>(context));
  delete static_cast<Device *>(context);
}

heddle_status allocate(void *context, uint64_t size, uint64_t *out, heddle_error *error) {
  *out = static_cast<Device *>(context)->memory.allocate(size, "memory of the model");
  if (*out == 0)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "device 'cuda-sim': %llu bytes of memory are not available",
                static_cast<unsigned long long>(size));
  return HEDDLE_OK;
}

void release(void *context, uint64_t address) { static_cast<Device *>(context)->memory.release(address); }

heddle_status outside(heddle_error *error) {
  return fail(error, HEDDLE_INTERNAL_ERROR, "device 'cuda-sim': a copy outside of an allocation");
}

heddle_status write(void *context, uint64_t to, const void *from, uint64_t size, heddle_error *error) {
  return static_cast<Device *>(context)->memory.write(to, from, size) ? HEDDLE_OK : outside(error);
}

heddle_status read(void *context, void *to, uint64_t from, uint64_t size, heddle_error *error) {
  return static_cast<Device *>(context)->memory.read(from, to, size) ? HEDDLE_OK : outside(error);
}

heddle_status copy(void *context, uint64_t to, uint64_t from, uint64_t size, heddle_error *error) {
  Memory &memory = static_cast<Device *>(context)->memory;
  const void *source = memory.host(from, size);
  return source && memory.write(to, source, size) ? HEDDLE_OK : outside(error);
}

heddle_status zero(void *context, uint64_t address, uint64_t size, heddle_error *error) {
  return static_cast<Device *>(context)->memory.fill(address, 0, size) ? HEDDLE_OK : outside(error);
}

bool runs(void *, uint32_t features) { return features & HEDDLE_CODE_PTX; }

heddle_status loadModule(void *, const char *member, const void *image, uint64_t size, void **out,
                         heddle_error *error) {
  std::string message;
  // The archive rounds members up with zeros.
  std::string_view text(static_cast<const char *>(image), size);
  text = text.substr(0, text.find('\0'));
  std::unique_ptr<Module> module = Module::parse(text, message);
  if (!module)
    return fail(error, HEDDLE_INVALID_FILE, "device 'cuda-sim': code '%s': %s", member, message.c_str());
  *out = module.release();
  return HEDDLE_OK;
}

void unloadModule(void *, void *module) { delete static_cast<Module *>(module); }

heddle_status findFunction(void *context, void *module, const char *name, uint32_t, void **out,
                           heddle_error *error) {
  if (!static_cast<Module *>(module)->kernel(name))
    return fail(error, HEDDLE_INVALID_FILE, "device 'cuda-sim': its code has no kernel '%s'", name);
  auto &functions = static_cast<Device *>(context)->functions;
  functions.push_back({static_cast<Module *>(module), name, 0, {}});
  *out = &functions.back();
  return HEDDLE_OK;
}

heddle_status launch(void *context, const Launch *launch, heddle_error *error) {
  Device &device = *static_cast<Device *>(context);
  Function &function = *static_cast<Function *>(launch->function);
  Arguments arguments;
  for (uint32_t i = 0; i < launch->parameterCount; ++i)
    arguments.add(launch->parameters[i]);
  Report report =
      function.module->launch(function.name, {launch->gridX, launch->gridY, 1}, {launch->threads, 1, 1},
                              launch->sharedBytes, arguments, device.memory);
  {
    std::lock_guard lock(devicesMutex);
    ++function.launches;
    function.counters.add(report.counters);
  }
  if (report.ok())
    return HEDDLE_OK;
  return fail(error, HEDDLE_INTERNAL_ERROR, "device 'cuda-sim', for '%s': %s", launch->source,
              report.problems[0].text().c_str());
}

heddle_status synchronize(void *, heddle_error *) { return HEDDLE_OK; } // launches run at once

constexpr Api api = {
    "cuda-sim", openSimulator, closeSimulator, allocate, release,     write,   read,    copy,    zero,   runs,
    loadModule, unloadModule,  findFunction,   launch,   synchronize, nullptr, nullptr, nullptr, nullptr};

heddle_status openDriver(const heddle_host *host, heddle_device **out, heddle_error *error) {
  return gpu::openDevice(api, host, out, error);
}

} // namespace
} // namespace heddle::cuda_sim

using namespace heddle::cuda_sim;

extern "C" const heddle_driver *heddle_driver_cuda_sim(void) {
  static const heddle_driver table = heddle::gpu::makeDriver("cuda-sim", openDriver);
  return &table;
}

extern "C" void heddle_cuda_sim_visit_counts(void (*visit)(void *, const heddle_cuda_sim_counts *),
                                             void *context) {
  std::lock_guard lock(devicesMutex);
  for (const Device *device : devices)
    for (const Function &function : device->functions) {
      if (function.launches == 0)
        continue;
      const Counters &c = function.counters;
      heddle_cuda_sim_counts counts = {
          sizeof(counts),      function.name.c_str(), function.launches,     c.blocks,
          c.total(),           c.of(Class::Matrix),   c.multiplyAdds,        c.globalLoadRequests,
          c.globalLoadSectors, c.globalLoadBytes,     c.globalStoreRequests, c.globalStoreSectors,
          c.globalStoreBytes,  c.sharedRequests,      c.bankConflicts()};
      visit(context, &counts);
    }
}
