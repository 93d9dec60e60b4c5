// NVIDIA GPUs as devices: the library heddle_cuda. It needs nothing of CUDA to build or to load; the driver's
// libcuda.so.1 is found when a model is opened.
#ifndef HEDDLE_CUDA_H
#define HEDDLE_CUDA_H
#include <heddle/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

// For heddle_model_options.driver: device 0 of those that CUDA_VISIBLE_DEVICES leaves.
const heddle_driver *heddle_driver_cuda(void);

typedef struct heddle_cuda_device_info {
  size_t struct_size;
  uint32_t count;        // GPUs that are there
  uint32_t architecture; // of the one asked for, if it is there: 80 is sm_80
  char name[96];
} heddle_cuda_device_info;

// What is known of GPU `index` (from 0). HEDDLE_UNSUPPORTED with the reason in `error` where there is no
// driver or no GPU.
heddle_status heddle_cuda_device(uint32_t index, heddle_cuda_device_info *out, heddle_error *error);

#ifdef __cplusplus
}
#endif
#endif
