#include "drivers/cuda/Libcuda.h"
#include <dlfcn.h>
#include <stdio.h>

namespace heddle::cuda {

bool loadLibcuda(Libcuda &out, char *reason, size_t room) {
  out.library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!out.library) {
    snprintf(reason, room, "%s", dlerror());
    return false;
  }
#define HEDDLE_LIBCUDA_FIND(name, member, parameters)                                                        \
  if (!(out.member = reinterpret_cast<Result(*) parameters>(dlsym(out.library, name)))) {                    \
    snprintf(reason, room, "it has no function '%s'; the driver is older than CUDA 11.0", name);             \
    dlclose(out.library);                                                                                    \
    return false;                                                                                            \
  }
  HEDDLE_LIBCUDA(HEDDLE_LIBCUDA_FIND)
#undef HEDDLE_LIBCUDA_FIND
  return true;
}

void unloadLibcuda(Libcuda &cuda) { dlclose(cuda.library); }

} // namespace heddle::cuda
