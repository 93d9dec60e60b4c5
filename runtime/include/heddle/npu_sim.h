// The NPU simulator as a device: the library heddle_npu_sim_driver runs NPU code of an artifact on the host,
// bit by bit, checks it and counts cycles (docs/npu-sim.md). It is never chosen unless asked for.
#ifndef HEDDLE_NPU_SIM_H
#define HEDDLE_NPU_SIM_H
#include <heddle/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

// For heddle_model_options.driver. What the simulator finds wrong in a program is an error of the run.
HEDDLE_API const heddle_driver *heddle_driver_npu_sim(void);

// Counts of one kernel since the model was opened, by the rules of docs/npu-isa.md. Queues: dma, array,
// vector.
typedef struct heddle_npu_sim_counts {
  size_t struct_size;
  const char *kernel, *machine; // as long as the model is open
  uint64_t launches, cycles, commands;
  uint64_t busy[3], waiting[3], conflicts[3]; // cycles of the queues
  uint64_t multiply_adds, peak_multiply_adds; // done; what the array could do in these cycles
  uint64_t bytes_loaded, bytes_stored, peak_bytes;
} heddle_npu_sim_counts;

// Calls `visit` for each kernel that ran on any model of this process that is open, in order of the program.
HEDDLE_API void heddle_npu_sim_visit_counts(void (*visit)(void *context, const heddle_npu_sim_counts *counts),
                                            void *context);

// Collects a trace of the queues from now on, for all models of this process; the text is in Chrome's trace
// format, a cycle a microsecond, launches one after another. Ends the collection.
HEDDLE_API void heddle_npu_sim_trace_begin(void);
HEDDLE_API void heddle_npu_sim_trace_end(void (*write)(void *context, const char *text, size_t size),
                                         void *context);

#ifdef __cplusplus
}
#endif
#endif
