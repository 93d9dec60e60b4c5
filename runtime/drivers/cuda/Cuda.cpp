// NVIDIA's GPUs, through libcuda.
#include "core/Support.h"
#include "drivers/cuda/Libcuda.h"
#include "drivers/gpu/Driver.h"
#include <heddle/cuda.h>
#include <new>
#include <stdio.h>

using namespace heddle::runtime;
using heddle::gpu::Api;
using heddle::gpu::Launch;

namespace heddle::cuda {
namespace {

constexpr int neededVersion = 11000; // CUDA 11.0, the first that reads PTX 7.0

/// Kernels of which one may be at fault when the device reports an error; it names none itself.
struct Suspects {
  const char *firstKernel, *firstSource, *lastKernel, *lastSource;

  void add(const char *kernel, const char *source) {
    if (!firstKernel) {
      firstKernel = kernel;
      firstSource = source;
    }
    lastKernel = kernel;
    lastSource = source;
  }
};

struct RecordedGraph {
  GraphExec executable;
  Suspects kernels;
};

/// One device with one stream. Sessions of a model share it, and work on it in turn.
struct Gpu {
  Libcuda cuda;
  const heddle_host *host;
  Device device;
  Context context;
  Stream stream;
  int architecture;  // 80: sm_80
  Suspects launched; // since all was well
};

const char *describe(const Libcuda &cuda, Result result) {
  const char *text = nullptr;
  return cuda.errorString(result, &text) == kSuccess && text ? text : "unknown error";
}

heddle_status failCall(const Gpu &gpu, Result result, const char *what, heddle_error *error) {
  if (result == kOutOfMemory)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "device 'cuda': out of memory (%s)", what);
  return fail(error, HEDDLE_IO_ERROR, "device 'cuda': %s failed: %s (%d)", what, describe(gpu.cuda, result),
              result);
}

/// An error that a kernel left behind.
heddle_status failKernels(const Gpu &gpu, Result result, heddle_error *error) {
  const Suspects &suspects = gpu.launched;
  const char *text = describe(gpu.cuda, result);
  if (!suspects.firstKernel)
    return failCall(gpu, result, "waiting for the device", error);
  if (suspects.firstKernel == suspects.lastKernel && suspects.firstSource == suspects.lastSource)
    return fail(error, HEDDLE_IO_ERROR, "device 'cuda': kernel '%s' for '%s' failed: %s (%d)",
                suspects.firstKernel, suspects.firstSource, text, result);
  return fail(error, HEDDLE_IO_ERROR,
              "device 'cuda': one of the kernels from '%s' for '%s' to '%s' for '%s' failed: %s (%d); "
              "CUDA_LAUNCH_BLOCKING=1 in the environment tells which",
              suspects.firstKernel, suspects.firstSource, suspects.lastKernel, suspects.lastSource, text,
              result);
}

#define HEDDLE_CUDA(gpu, what, call)                                                                         \
  do {                                                                                                       \
    if (Result result = (gpu).cuda.call)                                                                     \
      return failCall(gpu, result, what, error);                                                             \
  } while (0)

heddle_status enter(Gpu &gpu, heddle_error *error) {
  HEDDLE_CUDA(gpu, "choosing the device", setCurrent(gpu.context));
  return HEDDLE_OK;
}

// ---------------------------------------------------------------------------------------------------------------
// Devices

heddle_status loadDriver(Libcuda &cuda, heddle_error *error) {
  char reason[256];
  if (!loadLibcuda(cuda, reason, sizeof(reason)))
    return fail(
        error, HEDDLE_UNSUPPORTED,
        "device 'cuda': NVIDIA's driver cannot be loaded: %s; without a GPU, device 'cuda-sim' runs the "
        "same file",
        reason);
  int version = 0;
  Result result = cuda.driverGetVersion(&version);
  if (result == kSuccess && version < neededVersion) {
    unloadLibcuda(cuda);
    return fail(
        error, HEDDLE_UNSUPPORTED,
        "device 'cuda': expected a driver for CUDA 11.0 or later, but found one for CUDA %d.%d; update it, "
        "or run on device 'cuda-sim'",
        version / 1000, version % 1000 / 10);
  }
  int count = 0;
  if (result == kSuccess)
    result = cuda.init(0);
  if (result == kSuccess)
    result = cuda.deviceGetCount(&count);
  if (result == kSuccess && count > 0)
    return HEDDLE_OK;
  const char *text = result == kSuccess || result == kNoDevice ? "no GPU is there" : describe(cuda, result);
  heddle_status status =
      fail(error, HEDDLE_UNSUPPORTED,
           "device 'cuda': %s (%d); without a GPU, device 'cuda-sim' runs the same file", text, result);
  unloadLibcuda(cuda);
  return status;
}

heddle_status openContext(Gpu &gpu, heddle_error *error) {
  HEDDLE_CUDA(gpu, "finding the device", deviceGet(&gpu.device, 0));
  int major = 0, minor = 0;
  HEDDLE_CUDA(gpu, "asking for its architecture", deviceGetAttribute(&major, kComputeMajor, gpu.device));
  HEDDLE_CUDA(gpu, "asking for its architecture", deviceGetAttribute(&minor, kComputeMinor, gpu.device));
  gpu.architecture = major * 10 + minor;
  HEDDLE_CUDA(gpu, "opening the device", primaryRetain(&gpu.context, gpu.device));
  Result result = gpu.cuda.setCurrent(gpu.context);
  if (result == kSuccess)
    result = gpu.cuda.streamCreate(&gpu.stream, 1 /* beside the default stream */);
  if (result != kSuccess) {
    gpu.cuda.primaryRelease(gpu.device);
    return failCall(gpu, result, "opening a stream", error);
  }
  return HEDDLE_OK;
}

heddle_status openCuda(const heddle_host *host, void **out, heddle_error *error) {
  void *memory = host->allocate(host->context, sizeof(Gpu), 64);
  if (!memory)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "no memory for a device");
  Gpu *gpu = new (memory) Gpu{};
  gpu->host = host;
  heddle_status status = loadDriver(gpu->cuda, error);
  if (!status && (status = openContext(*gpu, error)))
    unloadLibcuda(gpu->cuda);
  if (status) {
    host->release(host->context, memory, sizeof(Gpu));
    return status;
  }
  *out = gpu;
  return HEDDLE_OK;
}

void closeCuda(void *context) {
  Gpu *gpu = static_cast<Gpu *>(context);
  gpu->cuda.setCurrent(gpu->context);
  gpu->cuda.streamDestroy(gpu->stream);
  gpu->cuda.primaryRelease(gpu->device);
  unloadLibcuda(gpu->cuda);
  gpu->host->release(gpu->host->context, gpu, sizeof(Gpu));
}

// ---------------------------------------------------------------------------------------------------------------
// Memory

heddle_status synchronize(void *context, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  Result result = gpu.cuda.streamSynchronize(gpu.stream);
  heddle_status status = result ? failKernels(gpu, result, error) : HEDDLE_OK;
  gpu.launched = {};
  return status;
}

heddle_status allocate(void *context, uint64_t size, uint64_t *out, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  Pointer pointer = 0;
  Result result = gpu.cuda.allocate(&pointer, size);
  if (result == kOutOfMemory)
    return fail(error, HEDDLE_RESOURCE_LIMIT, "device 'cuda': %llu bytes of its memory are not available",
                static_cast<unsigned long long>(size));
  if (result)
    return failCall(gpu, result, "allocating memory", error);
  *out = pointer;
  return HEDDLE_OK;
}

void release(void *context, uint64_t address) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  gpu.cuda.setCurrent(gpu.context);
  gpu.cuda.release(address);
}

heddle_status write(void *context, uint64_t to, const void *from, uint64_t size, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  HEDDLE_CUDA(gpu, "copying to the device", copyToDevice(to, from, size, gpu.stream));
  return HEDDLE_OK; // pageable memory: it was read when the call returned
}

heddle_status read(void *context, void *to, uint64_t from, uint64_t size, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  HEDDLE_CUDA(gpu, "copying from the device", copyToHost(to, from, size, gpu.stream));
  return synchronize(context, error);
}

heddle_status copy(void *context, uint64_t to, uint64_t from, uint64_t size, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  HEDDLE_CUDA(gpu, "copying on the device", copyOnDevice(to, from, size, gpu.stream));
  return HEDDLE_OK;
}

heddle_status zero(void *context, uint64_t address, uint64_t size, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  HEDDLE_CUDA(gpu, "clearing memory", setBytes(address, 0, size, gpu.stream));
  return HEDDLE_OK;
}

// ---------------------------------------------------------------------------------------------------------------
// Code

/// PTX runs on its own architecture and later ones, a cubin on its own and later minor ones.
bool runs(void *context, uint32_t features) {
  int architecture = static_cast<Gpu *>(context)->architecture;
  if (features & HEDDLE_CODE_PTX)
    return architecture >= 80;
  int made = static_cast<int>(features >> 16 & 0xfff);
  return features & HEDDLE_CODE_CUBIN && architecture / 10 == made / 10 && architecture >= made;
}

heddle_status loadModule(void *context, const char *member, const void *image, uint64_t, void **out,
                         heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  char log[256] = "";
  int options[] = {kJitErrorLog, kJitErrorLogSize};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
  Module module = nullptr;
  if (Result result = gpu.cuda.moduleLoad(&module, image, 2, options, values))
    return fail(error, result == kOutOfMemory ? HEDDLE_RESOURCE_LIMIT : HEDDLE_INVALID_FILE,
                "device 'cuda': code '%s' cannot be loaded: %s (%d) %s", member, describe(gpu.cuda, result),
                result, log);
  *out = module;
  return HEDDLE_OK;
}

void unloadModule(void *context, void *module) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  gpu.cuda.setCurrent(gpu.context);
  gpu.cuda.moduleUnload(static_cast<Module>(module));
}

heddle_status findFunction(void *context, void *module, const char *name, uint32_t sharedBytes, void **out,
                           heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  Function function = nullptr;
  if (Result result = gpu.cuda.moduleFunction(&function, static_cast<Module>(module), name))
    return fail(error, HEDDLE_INVALID_FILE, "device 'cuda': its code has no kernel '%s': %s (%d)", name,
                describe(gpu.cuda, result), result);
  constexpr uint32_t always = 48 << 10; // more has to be asked for
  if (sharedBytes > always)
    if (Result result = gpu.cuda.functionSet(function, kMaxDynamicShared, static_cast<int>(sharedBytes)))
      return fail(error, HEDDLE_UNSUPPORTED,
                  "device 'cuda': kernel '%s' needs %u bytes of shared memory: %s (%d)", name, sharedBytes,
                  describe(gpu.cuda, result), result);
  *out = function;
  return HEDDLE_OK;
}

heddle_status launch(void *context, const Launch *launch, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  void *parameters[257]; // a checked program has at most 256 operands, then come the dims
  for (uint32_t i = 0; i < launch->parameterCount; ++i)
    parameters[i] = const_cast<uint64_t *>(launch->parameters + i);
  gpu.launched.add(launch->name, launch->source);
  if (Result result =
          gpu.cuda.launch(static_cast<Function>(launch->function), launch->gridX, launch->gridY, 1,
                          launch->threads, 1, 1, launch->sharedBytes, gpu.stream, parameters, nullptr))
    return fail(error, result == kOutOfMemory ? HEDDLE_RESOURCE_LIMIT : HEDDLE_IO_ERROR,
                "device 'cuda': kernel '%s' for '%s' cannot be launched: %s (%d)", launch->name,
                launch->source, describe(gpu.cuda, result), result);
  return HEDDLE_OK;
}

// ---------------------------------------------------------------------------------------------------------------
// Graphs

heddle_status beginGraph(void *context, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  HEDDLE_TRY(enter(gpu, error));
  HEDDLE_CUDA(gpu, "recording a graph", beginCapture(gpu.stream, kCaptureThreadLocal));
  return HEDDLE_OK;
}

heddle_status endGraph(void *context, void **out, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  Suspects kernels = gpu.launched;
  gpu.launched = {}; // none has run
  HEDDLE_TRY(enter(gpu, error));
  Graph graph = nullptr;
  HEDDLE_CUDA(gpu, "recording a graph", endCapture(gpu.stream, &graph));
  GraphExec executable = nullptr;
  Result result = gpu.cuda.instantiate(&executable, graph, nullptr, nullptr, 0);
  gpu.cuda.graphDestroy(graph);
  if (result)
    return failCall(gpu, result, "making a graph", error);
  void *memory = gpu.host->allocate(gpu.host->context, sizeof(RecordedGraph), 64);
  if (!memory) {
    gpu.cuda.graphExecDestroy(executable);
    return fail(error, HEDDLE_RESOURCE_LIMIT, "no memory for a graph");
  }
  *out = new (memory) RecordedGraph{executable, kernels};
  return HEDDLE_OK;
}

heddle_status launchGraph(void *context, void *graph, heddle_error *error) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  const RecordedGraph &recorded = *static_cast<RecordedGraph *>(graph);
  HEDDLE_TRY(enter(gpu, error));
  gpu.launched.add(recorded.kernels.firstKernel, recorded.kernels.firstSource);
  gpu.launched.add(recorded.kernels.lastKernel, recorded.kernels.lastSource);
  HEDDLE_CUDA(gpu, "launching a graph", graphLaunch(recorded.executable, gpu.stream));
  return HEDDLE_OK;
}

void destroyGraph(void *context, void *graph) {
  Gpu &gpu = *static_cast<Gpu *>(context);
  gpu.cuda.setCurrent(gpu.context);
  gpu.cuda.graphExecDestroy(static_cast<RecordedGraph *>(graph)->executable);
  gpu.host->release(gpu.host->context, graph, sizeof(RecordedGraph));
}

constexpr Api api = {"cuda",      openCuda,   closeCuda, allocate,    release,      write,        read,
                     copy,        zero,       runs,      loadModule,  unloadModule, findFunction, launch,
                     synchronize, beginGraph, endGraph,  launchGraph, destroyGraph};

heddle_status openDriver(const heddle_host *host, heddle_device **out, heddle_error *error) {
  return gpu::openDevice(api, host, out, error);
}

} // namespace
} // namespace heddle::cuda

using namespace heddle::cuda;

extern "C" const heddle_driver *heddle_driver_cuda(void) {
  static const heddle_driver table = heddle::gpu::makeDriver("cuda", openDriver);
  return &table;
}

extern "C" heddle_status heddle_cuda_device(uint32_t index, heddle_cuda_device_info *out,
                                            heddle_error *error) {
  Libcuda cuda;
  HEDDLE_TRY(loadDriver(cuda, error));
  heddle_cuda_device_info info = {};
  info.struct_size = sizeof(info);
  int count = 0, major = 0, minor = 0;
  Device device = 0;
  Result result = cuda.deviceGetCount(&count);
  info.count = static_cast<uint32_t>(count);
  if (!result && index < info.count) {
    result = cuda.deviceGet(&device, static_cast<int>(index));
    if (!result)
      result = cuda.deviceGetName(info.name, sizeof(info.name), device);
    if (!result)
      result = cuda.deviceGetAttribute(&major, kComputeMajor, device);
    if (!result)
      result = cuda.deviceGetAttribute(&minor, kComputeMinor, device);
    info.architecture = static_cast<uint32_t>(major * 10 + minor);
  }
  unloadLibcuda(cuda);
  if (result)
    return fail(error, HEDDLE_IO_ERROR, "device 'cuda:%u': %d", index, result);
  return writeStruct(out, info, "out", error);
}
