// The PTX simulator as a device: the library heddle_cuda_sim runs CUDA code of an artifact on the host and
// checks it (docs/cuda-sim.md). It is never chosen unless asked for.
#ifndef HEDDLE_CUDA_SIM_H
#define HEDDLE_CUDA_SIM_H
#include <heddle/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

// For heddle_model_options.driver. A problem that the simulator finds in a kernel (an access out of bounds, a
// read of unwritten memory, a race, ...) is an error of the run.
const heddle_driver *heddle_driver_cuda_sim(void);

// Counts of one kernel since the model was opened, in units of docs/cuda-sim.md.
typedef struct heddle_cuda_sim_counts {
  size_t struct_size;
  const char *kernel; // as long as the model is open
  uint64_t launches, blocks, instructions, matrix_instructions, multiply_adds;
  uint64_t global_load_requests, global_load_sectors, global_load_bytes;
  uint64_t global_store_requests, global_store_sectors, global_store_bytes;
  uint64_t shared_requests, bank_conflicts;
} heddle_cuda_sim_counts;

// Calls `visit` for each kernel that ran on any model of this process that is open, in order of its first
// launch.
void heddle_cuda_sim_visit_counts(void (*visit)(void *context, const heddle_cuda_sim_counts *counts),
                                  void *context);

#ifdef __cplusplus
}
#endif
#endif
