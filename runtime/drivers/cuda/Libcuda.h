// The functions of libcuda that the driver uses, found at run time: nothing of CUDA is needed to build or to
// start.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace heddle::cuda {

// As NVIDIA's cuda.h has them.
using Result = int;
using Device = int;
using Pointer = unsigned long long;
struct ContextTag;
struct ModuleTag;
struct FunctionTag;
struct StreamTag;
struct GraphTag;
struct GraphExecTag;
using Context = ContextTag *;
using Module = ModuleTag *;
using Function = FunctionTag *;
using Stream = StreamTag *;
using Graph = GraphTag *;
using GraphExec = GraphExecTag *;

enum : Result { kSuccess = 0, kOutOfMemory = 2, kNoDevice = 100 };
enum { kComputeMajor = 75, kComputeMinor = 76, kSharedPerBlockOptin = 97 }; // attributes of devices
enum { kMaxDynamicShared = 8 };                                             // of functions
enum { kJitErrorLog = 5, kJitErrorLogSize = 6 };
enum { kCaptureThreadLocal = 1 };

// name in libcuda, member, parameters
#define HEDDLE_LIBCUDA(X)                                                                                    \
  X("cuInit", init, (unsigned))                                                                              \
  X("cuDriverGetVersion", driverGetVersion, (int *))                                                         \
  X("cuDeviceGetCount", deviceGetCount, (int *))                                                             \
  X("cuDeviceGet", deviceGet, (Device *, int))                                                               \
  X("cuDeviceGetName", deviceGetName, (char *, int, Device))                                                 \
  X("cuDeviceGetAttribute", deviceGetAttribute, (int *, int, Device))                                        \
  X("cuDevicePrimaryCtxRetain", primaryRetain, (Context *, Device))                                          \
  X("cuDevicePrimaryCtxRelease_v2", primaryRelease, (Device))                                                \
  X("cuCtxSetCurrent", setCurrent, (Context))                                                                \
  X("cuMemAlloc_v2", allocate, (Pointer *, size_t))                                                          \
  X("cuMemFree_v2", release, (Pointer))                                                                      \
  X("cuMemcpyHtoDAsync_v2", copyToDevice, (Pointer, const void *, size_t, Stream))                           \
  X("cuMemcpyDtoHAsync_v2", copyToHost, (void *, Pointer, size_t, Stream))                                   \
  X("cuMemcpyDtoDAsync_v2", copyOnDevice, (Pointer, Pointer, size_t, Stream))                                \
  X("cuMemsetD8Async", setBytes, (Pointer, unsigned char, size_t, Stream))                                   \
  X("cuStreamCreate", streamCreate, (Stream *, unsigned))                                                    \
  X("cuStreamDestroy_v2", streamDestroy, (Stream))                                                           \
  X("cuStreamSynchronize", streamSynchronize, (Stream))                                                      \
  X("cuModuleLoadDataEx", moduleLoad, (Module *, const void *, unsigned, int *, void **))                    \
  X("cuModuleUnload", moduleUnload, (Module))                                                                \
  X("cuModuleGetFunction", moduleFunction, (Function *, Module, const char *))                               \
  X("cuFuncSetAttribute", functionSet, (Function, int, int))                                                 \
  X("cuLaunchKernel", launch,                                                                                \
    (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **,        \
     void **))                                                                                               \
  X("cuStreamBeginCapture_v2", beginCapture, (Stream, int))                                                  \
  X("cuStreamEndCapture", endCapture, (Stream, Graph *))                                                     \
  X("cuGraphInstantiate_v2", instantiate, (GraphExec *, Graph, void *, char *, size_t))                      \
  X("cuGraphLaunch", graphLaunch, (GraphExec, Stream))                                                       \
  X("cuGraphExecDestroy", graphExecDestroy, (GraphExec))                                                     \
  X("cuGraphDestroy", graphDestroy, (Graph))                                                                 \
  X("cuGetErrorString", errorString, (Result, const char **))

struct Libcuda {
#define HEDDLE_LIBCUDA_MEMBER(name, member, parameters) Result(*member) parameters;
  HEDDLE_LIBCUDA(HEDDLE_LIBCUDA_MEMBER)
#undef HEDDLE_LIBCUDA_MEMBER
  void *library;
};

/// Loads libcuda.so.1 into `out`. False with a reason in `reason` if there is none or it lacks a function.
bool loadLibcuda(Libcuda &out, char *reason, size_t room);
void unloadLibcuda(Libcuda &cuda);

} // namespace heddle::cuda
