// The functions of libcuda that the driver uses (runtime/drivers/cuda/Libcuda.h), over the PTX simulator.
#include "FakeCuda.h"
#include "drivers/cuda/Libcuda.h"
#include "drivers/cuda_sim/Simulator.h"
#include <cstring>

#define HEDDLE_FAKE extern "C" __attribute__((visibility("default"))) int

using namespace heddle::cuda;
namespace sim = heddle::cuda_sim;

namespace heddle::cuda {

struct ContextTag {};
struct StreamTag {
  GraphTag *recording = nullptr;
};
struct ModuleTag {
  std::unique_ptr<sim::Module> code; // null: a cubin, whose kernels do nothing
  std::vector<std::unique_ptr<FunctionTag>> functions;
};
struct FunctionTag {
  ModuleTag *module;
  std::string name;
};
struct LaunchRecord {
  FunctionTag *function;
  sim::Dim3 grid, block;
  unsigned shared;
  std::vector<uint64_t> parameters;
};
struct GraphTag {
  std::vector<LaunchRecord> launches;
};
struct GraphExecTag {
  std::vector<LaunchRecord> launches;
};

} // namespace heddle::cuda

namespace {

constexpr int kInvalidValue = 1, kNotFound = 500, kIllegalAddress = 700;

FakeCuda state;
ContextTag context;
sim::Memory memory;

/// Writes a call down; what it returns if it is the one that fails.
int called(const char *name) {
  state.calls.push_back(name);
  return state.callsThatMayFail++ == state.failAt ? state.failure : 0;
}
/// What gives something back does not fail: it would be lost.
int released(const char *name) {
  state.calls.push_back(name);
  return 0;
}

#define CALLED(name)                                                                                         \
  if (int result = called(name))                                                                             \
  return result

void run(const LaunchRecord &launch) {
  ++state.kernels;
  if (!launch.function->module->code)
    return;
  sim::Arguments arguments;
  for (uint64_t parameter : launch.parameters)
    arguments.add(parameter);
  sim::Report report = launch.function->module->code->launch(launch.function->name, launch.grid, launch.block,
                                                             launch.shared, arguments, memory);
  if (!report.ok())
    state.kernelFailure = kIllegalAddress;
}

} // namespace

extern "C" __attribute__((visibility("default"))) FakeCuda *heddle_fake_cuda() { return &state; }

HEDDLE_FAKE cuInit(unsigned) {
  CALLED("cuInit");
  return state.devices ? 0 : int(kNoDevice);
}
HEDDLE_FAKE cuDriverGetVersion(int *version) {
  CALLED("cuDriverGetVersion");
  *version = state.driverVersion;
  return 0;
}
HEDDLE_FAKE cuDeviceGetCount(int *count) {
  CALLED("cuDeviceGetCount");
  *count = state.devices;
  return 0;
}
HEDDLE_FAKE cuDeviceGet(Device *device, int number) {
  CALLED("cuDeviceGet");
  *device = number;
  return 0;
}
HEDDLE_FAKE cuDeviceGetName(char *name, int room, Device) {
  CALLED("cuDeviceGetName");
  snprintf(name, size_t(room), "Simulated GPU");
  return 0;
}
HEDDLE_FAKE cuDeviceGetAttribute(int *value, int attribute, Device) {
  CALLED("cuDeviceGetAttribute");
  *value = attribute == kComputeMajor ? state.architecture / 10 : state.architecture % 10;
  return 0;
}
HEDDLE_FAKE cuDevicePrimaryCtxRetain(Context *out, Device) {
  CALLED("cuDevicePrimaryCtxRetain");
  *out = &context;
  ++state.contexts;
  return 0;
}
HEDDLE_FAKE cuDevicePrimaryCtxRelease_v2(Device) {
  --state.contexts;
  return released("cuDevicePrimaryCtxRelease_v2");
}
HEDDLE_FAKE cuCtxSetCurrent(Context) {
  CALLED("cuCtxSetCurrent");
  return 0;
}
HEDDLE_FAKE cuMemAlloc_v2(Pointer *out, size_t size) {
  CALLED("cuMemAlloc_v2");
  *out = memory.allocate(size, "memory of the fake");
  if (!*out)
    return kOutOfMemory;
  ++state.allocations;
  return 0;
}
HEDDLE_FAKE cuMemFree_v2(Pointer address) {
  memory.release(address);
  --state.allocations;
  return released("cuMemFree_v2");
}
HEDDLE_FAKE cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t size, Stream) {
  CALLED("cuMemcpyHtoDAsync_v2");
  return memory.write(to, from, size) ? 0 : kInvalidValue;
}
HEDDLE_FAKE cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t size, Stream) {
  CALLED("cuMemcpyDtoHAsync_v2");
  return memory.read(from, to, size) ? 0 : kInvalidValue;
}
HEDDLE_FAKE cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t size, Stream) {
  CALLED("cuMemcpyDtoDAsync_v2");
  const void *source = memory.host(from, size);
  return source && memory.write(to, source, size) ? 0 : kInvalidValue;
}
HEDDLE_FAKE cuMemsetD8Async(Pointer to, unsigned char value, size_t size, Stream) {
  CALLED("cuMemsetD8Async");
  return memory.fill(to, value, size) ? 0 : kInvalidValue;
}
HEDDLE_FAKE cuStreamCreate(Stream *out, unsigned) {
  CALLED("cuStreamCreate");
  *out = new StreamTag;
  ++state.streams;
  return 0;
}
HEDDLE_FAKE cuStreamDestroy_v2(Stream stream) {
  delete stream->recording;
  delete stream;
  --state.streams;
  return released("cuStreamDestroy_v2");
}
HEDDLE_FAKE cuStreamSynchronize(Stream) {
  CALLED("cuStreamSynchronize");
  return state.kernelFailure;
}
HEDDLE_FAKE cuModuleLoadDataEx(Module *out, const void *image, unsigned, int *, void **) {
  CALLED("cuModuleLoadDataEx");
  const char *text = static_cast<const char *>(image);
  bool isElf = std::memcmp(text, "\177ELF", 4) == 0;
  state.image = isElf ? std::string(text, 4) : text;
  auto module = std::make_unique<ModuleTag>();
  std::string error;
  if (!isElf && !(module->code = sim::Module::parse(text, error)))
    return kInvalidValue;
  *out = module.release();
  ++state.modules;
  return 0;
}
HEDDLE_FAKE cuModuleUnload(Module module) {
  delete module;
  --state.modules;
  return released("cuModuleUnload");
}
HEDDLE_FAKE cuModuleGetFunction(Function *out, Module module, const char *name) {
  CALLED("cuModuleGetFunction");
  if (module->code && !module->code->kernel(name))
    return kNotFound;
  module->functions.push_back(std::make_unique<FunctionTag>(FunctionTag{module, name}));
  *out = module->functions.back().get();
  return 0;
}
HEDDLE_FAKE cuFuncSetAttribute(Function, int, int) {
  CALLED("cuFuncSetAttribute");
  return 0;
}
HEDDLE_FAKE cuLaunchKernel(Function function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                           unsigned blockY, unsigned blockZ, unsigned shared, Stream stream,
                           void **parameters, void **) {
  CALLED("cuLaunchKernel");
  LaunchRecord launch{function, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, shared, {}};
  size_t count =
      function->module->code ? function->module->code->kernel(function->name)->parameters.size() : 0;
  for (size_t i = 0; i < count; ++i)
    launch.parameters.push_back(*static_cast<uint64_t *>(parameters[i]));
  if (stream->recording)
    stream->recording->launches.push_back(launch);
  else
    run(launch);
  return 0;
}
HEDDLE_FAKE cuStreamBeginCapture_v2(Stream stream, int) {
  CALLED("cuStreamBeginCapture_v2");
  stream->recording = new GraphTag;
  return 0;
}
HEDDLE_FAKE cuStreamEndCapture(Stream stream, Graph *out) {
  CALLED("cuStreamEndCapture");
  *out = stream->recording;
  stream->recording = nullptr;
  ++state.graphs;
  return 0;
}
HEDDLE_FAKE cuGraphInstantiate_v2(GraphExec *out, Graph graph, void *, char *, size_t) {
  CALLED("cuGraphInstantiate_v2");
  *out = new GraphExecTag{graph->launches};
  ++state.graphs;
  return 0;
}
HEDDLE_FAKE cuGraphLaunch(GraphExec graph, Stream) {
  CALLED("cuGraphLaunch");
  for (const LaunchRecord &launch : graph->launches)
    run(launch);
  return 0;
}
HEDDLE_FAKE cuGraphExecDestroy(GraphExec graph) {
  delete graph;
  --state.graphs;
  return released("cuGraphExecDestroy");
}
HEDDLE_FAKE cuGraphDestroy(Graph graph) {
  delete graph;
  --state.graphs;
  return released("cuGraphDestroy");
}
HEDDLE_FAKE cuGetErrorString(Result result, const char **out) {
  *out = result == kOutOfMemory      ? "out of memory"
         : result == kNoDevice       ? "no CUDA-capable device is detected"
         : result == kIllegalAddress ? "an illegal memory access was encountered"
         : result == 999             ? "unknown error of the fake"
                                     : "invalid argument";
  return 0;
}
