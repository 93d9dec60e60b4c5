// What the GPU driver (Driver.cpp) needs of a machine that runs PTX: libcuda and the simulator each give one.
//
// All functions are called by one thread at a time for one context, errors as in heddle/driver.h. Addresses
// are of the device. Work is in order: `launch` may return before the kernel is over, the copies and
// `synchronize` wait for what was launched before.
#ifndef HEDDLE_DRIVERS_GPU_API_H
#define HEDDLE_DRIVERS_GPU_API_H
#include <heddle/driver.h>

namespace heddle::gpu {

/// One launch of a kernel: a grid of x by y blocks of `threads`.
struct Launch {
  void *function; // of `findFunction`
  uint32_t gridX, gridY, threads;
  uint32_t sharedBytes; // dynamic
  const uint64_t *parameters;
  uint32_t parameterCount;
  const char *name;   // of the kernel
  const char *source; // nodes that it computes, for messages
};

struct Api {
  const char *name; // "cuda", "cuda-sim"

  heddle_status (*open)(const heddle_host *host, void **outContext, heddle_error *error);
  void (*close)(void *context);

  heddle_status (*allocate)(void *context, uint64_t size, uint64_t *outAddress, heddle_error *error);
  void (*release)(void *context, uint64_t address);
  heddle_status (*write)(void *context, uint64_t to, const void *from, uint64_t size, heddle_error *error);
  heddle_status (*read)(void *context, void *to, uint64_t from, uint64_t size, heddle_error *error);
  heddle_status (*copy)(void *context, uint64_t to, uint64_t from, uint64_t size, heddle_error *error);
  heddle_status (*zero)(void *context, uint64_t address, uint64_t size, heddle_error *error);

  // Whether the machine runs code of this kind: HEDDLE_CODE_* of a heddle_code.
  bool (*runs)(void *context, uint32_t features);
  // `image` is PTX text (NUL-terminated; `size` is without the NUL) or a cubin; `member` its name in the
  // artifact.
  heddle_status (*loadModule)(void *context, const char *member, const void *image, uint64_t size,
                              void **outModule, heddle_error *error);
  void (*unloadModule)(void *context, void *module);
  heddle_status (*findFunction)(void *context, void *module, const char *name, uint32_t sharedBytes,
                                void **outFunction, heddle_error *error);

  heddle_status (*launch)(void *context, const Launch *launch, heddle_error *error);
  // Errors name the kernel and source of the launch that failed.
  heddle_status (*synchronize)(void *context, heddle_error *error);

  // Graphs; all NULL where there are none. What is launched between begin and end is recorded, not run.
  heddle_status (*beginGraph)(void *context, heddle_error *error);
  heddle_status (*endGraph)(void *context, void **outGraph, heddle_error *error);
  heddle_status (*launchGraph)(void *context, void *graph, heddle_error *error);
  void (*destroyGraph)(void *context, void *graph);
};

} // namespace heddle::gpu
#endif
