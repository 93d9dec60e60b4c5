// The driver of machines that run PTX, over the functions that a machine gives (Api.h).
//
// A driver library compiles Driver.cpp and defines its table:
//   static heddle_status open(const heddle_host *host, heddle_device **out, heddle_error *error) {
//     return heddle::gpu::openDevice(api, host, out, error);
//   }
//   static const heddle_driver table = heddle::gpu::makeDriver("cuda-sim", open);
#ifndef HEDDLE_DRIVERS_GPU_DRIVER_H
#define HEDDLE_DRIVERS_GPU_DRIVER_H
#include "drivers/gpu/Api.h"

namespace heddle::gpu {

/// `api` outlives the device.
heddle_status openDevice(const Api &api, const heddle_host *host, heddle_device **out, heddle_error *error);
heddle_driver makeDriver(const char *name, decltype(heddle_driver::open) open);

} // namespace heddle::gpu
#endif
