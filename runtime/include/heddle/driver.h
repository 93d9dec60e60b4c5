// The device interface: what the runtime asks of a CPU, a GPU or an NPU, and of their simulators.
//
// A driver is a table of functions (heddle_driver). The CPU's is part of libheddle; other drivers are
// libraries of their own that export `const heddle_driver *heddle_driver_NAME(void)`, given to
// heddle_model_open() in its options. The runtime validates artifacts, keeps sequences and page tables, and
// builds the inputs of a run; a driver owns memory, code and execution, and knows nothing of sequences.
// Weights, arena and caches are device memory. Page tables, work records, inputs and outputs are small and
// are host memory: a driver of a device that cannot see it brings over what a submission reads, and brings
// back its outputs before wait() returns.
//
// Order of calls: open, capabilities, load, { allocate, prepare, submit, wait, copy, unprepare, release }*,
// unload, close. One device serves one model. Calls on one plan come from one thread at a time; everything
// else between load and unload may be called by several threads at once, since sessions are. Errors: as in
// heddle/runtime.h. A driver never aborts and never prints.
#ifndef HEDDLE_DRIVER_H
#define HEDDLE_DRIVER_H
#include <heddle/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HEDDLE_DRIVER_VERSION 1u

// What the runtime offers to a driver. `allocate` counts against the model's memory limit and calls the
// embedder's allocator; NULL when there is no memory. `read_member` reads `size` bytes at `offset` of a
// member of the artifact; `find_member` gives its size and SHA-256.
typedef struct heddle_host {
  size_t struct_size;
  void *context;
  void *(*allocate)(void *context, size_t size, size_t alignment);
  void (*release)(void *context, void *memory, size_t size);
  heddle_status (*find_member)(void *context, const char *name, heddle_member_info *out_info,
                               heddle_error *error);
  heddle_status (*read_member)(void *context, const char *name, uint64_t offset, void *buffer, size_t size,
                               heddle_error *error);
  void (*log)(void *context, heddle_log_level level, const char *message);
  uint32_t features;                     // HEDDLE_CPU_* that the embedder allows
  uint32_t flags;                        // HEDDLE_OPEN_*
  const heddle_linked_code *linked_code; // of heddle_model_options, during load
  uint64_t linked_code_count;
} heddle_host;

// A piece of memory. `address` is what kernels get; `host` is where the host reads and writes the same bytes:
// NULL for memory of devices that keep it to themselves. Host memory that no driver made has its own address.
typedef struct heddle_buffer {
  void *host;
  uint64_t address;
  uint64_t size;
} heddle_buffer;

typedef struct heddle_capabilities {
  size_t struct_size;
  uint32_t unified;  // 1: kernels can use host memory, and every buffer has `host`
  uint32_t features; // HEDDLE_CPU_* of the host, less those that the embedder forbade; 0 for other devices
} heddle_capabilities;

// A validated program of the artifact (heddle/program.h); the tables live as long as the model.
typedef struct heddle_program {
  const heddle_program_header *header;
  const char *strings;
  const heddle_entry *entries;
  const heddle_io *ios;
  const heddle_variant *variants;
  const heddle_launch *launches;
  const heddle_operand *operands;
  const heddle_function *functions;
  const heddle_code *codes;
  const uint64_t *offsets;
  const heddle_cache *caches;
  const uint32_t *weights; // strings
} heddle_program;

// The memory of one session that operands point into.
typedef struct heddle_bindings {
  size_t struct_size;
  heddle_buffer arena, weights;   // of the device
  heddle_buffer page_table, work; // of the host
  const heddle_buffer *caches;    // header->caches.count buffers of the device
  heddle_team *team;              // NULL: the calling thread alone
  void *memory;                   // plan_bytes() bytes of host memory for the plan, 64-byte aligned
  uint32_t rows, wanted;          // bounds of the session's calls
} heddle_bindings;

// One run of one variant.
typedef struct heddle_submission {
  size_t struct_size;
  uint32_t entry, variant;         // indices into the program's tables
  const int64_t *dims;             // [HEDDLE_DIM_COUNT]
  const heddle_buffer *ios;        // the entry's inputs and outputs, of the host
  const volatile uint32_t *cancel; // stop at the next kernel once this is not 0
} heddle_submission;

typedef struct heddle_device heddle_device;
typedef struct heddle_module heddle_module; // a program's code, loaded
typedef struct heddle_plan heddle_plan;     // a program bound to a session's memory

typedef struct heddle_driver {
  size_t struct_size;
  uint32_t version; // HEDDLE_DRIVER_VERSION; a driver of another version is refused
  const char *name; // "cpu", "cuda", "cuda-sim", "npu-sim", ...

  // `host` lives until close; the driver may keep the pointer.
  heddle_status (*open)(const heddle_host *host, heddle_device **out_device, heddle_error *error);
  void (*close)(heddle_device *device);
  heddle_status (*capabilities)(heddle_device *device, heddle_capabilities *out, heddle_error *error);

  // Memory, 64-byte aligned at least; contents undefined.
  heddle_status (*allocate)(heddle_device *device, uint64_t size, heddle_buffer *out, heddle_error *error);
  void (*release)(heddle_device *device, const heddle_buffer *buffer);
  // Copies `size` bytes; either buffer may be host memory. Complete when it returns.
  heddle_status (*copy)(heddle_device *device, const heddle_buffer *to, uint64_t to_offset,
                        const heddle_buffer *from, uint64_t from_offset, uint64_t size, heddle_error *error);
  heddle_status (*zero)(heddle_device *device, const heddle_buffer *to, uint64_t offset, uint64_t size,
                        heddle_error *error);

  // Chooses the program's best code for this device, checks it, and makes it executable. HEDDLE_UNSUPPORTED:
  // the program has none that this device runs. The runtime then offers the artifact's program before it, so
  // nothing of this one may be kept.
  heddle_status (*load)(heddle_device *device, const heddle_program *program, heddle_module **out_module,
                        heddle_error *error);
  // Index into the program's codes of what load() chose.
  uint32_t (*code)(const heddle_module *module);
  void (*unload)(heddle_module *module);

  // Bytes of host memory that prepare() needs for a plan with `threads` workers.
  uint64_t (*plan_bytes)(const heddle_module *module, uint32_t threads);
  heddle_status (*prepare)(heddle_module *module, const heddle_bindings *bindings, heddle_plan **out_plan,
                           heddle_error *error);
  void (*unprepare)(heddle_plan *plan);

  // Starts a run; the submission lives until wait(). Nothing is allocated. Indices, dims and sizes are valid.
  heddle_status (*submit)(heddle_plan *plan, const heddle_submission *submission, heddle_error *error);
  // Returns when it is over: HEDDLE_OK, HEDDLE_CANCELLED, or what went wrong, with the source node's name.
  heddle_status (*wait)(heddle_plan *plan, heddle_error *error);
} heddle_driver;

// The driver of the host's own cores.
HEDDLE_API const heddle_driver *heddle_driver_cpu(void);

#ifdef __cplusplus
}
#endif
#endif
