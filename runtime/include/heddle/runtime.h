// Heddle's runtime: opens a compiled model and runs it. C11; link with libheddle, no other library is needed.
//
//     heddle_model_open -> heddle_session_create -> [heddle_session_step -> heddle_session_output]* ->
//     destroy, close
//
// Rules that hold for every function below
//
// - Structs. The caller zeroes each struct and sets `struct_size = sizeof(the struct)`; a zero field means
// the
//   default. A non-zero field, flag or enum value that this library does not know is HEDDLE_INVALID_ARGUMENT,
//   also when it lies past the size that the library was built with. Results are written into structs of the
//   caller, who sets `struct_size` there too. Enum values are never reused.
// - Errors. Functions return a status and, on failure, fill `error` (NULL is allowed). On failure out
// parameters
//   are NULL or untouched, and the state is as before the call. The library never aborts, never prints, and
//   keeps no global or thread-local state.
// - NULL. A pointer may be NULL only where this header says so.
// - Threads. A model is immutable: any thread may use it at any time. A session is used by one thread at a
// time.
//   Sessions on one team take turns. No handle survives fork().
// - The floating-point environment is set for a run and restored after it.
#ifndef HEDDLE_RUNTIME_H
#define HEDDLE_RUNTIME_H
#include <heddle/program.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HEDDLE_API __attribute__((visibility("default")))
#define HEDDLE_CHECKED __attribute__((warn_unused_result))
#else
#define HEDDLE_API
#define HEDDLE_CHECKED
#endif

typedef enum heddle_status {
  HEDDLE_OK = 0,
  HEDDLE_INVALID_ARGUMENT = 1, // a rule of this header is broken
  HEDDLE_INVALID_FILE = 2,     // the artifact or a saved sequence is damaged or not in canonical form
  HEDDLE_UNSUPPORTED = 3,      // newer format, missing CPU features, a host that forbids executable memory
  HEDDLE_RESOURCE_LIMIT = 4,   // memory limit reached, out of memory, a sequence longer than its context
  HEDDLE_NOT_TRUSTED = 5,      // the trust decision was no
  HEDDLE_IO_ERROR = 6,         // a file cannot be opened or read; a reader or writer callback failed
  HEDDLE_CANCELLED = 7,        // heddle_session_cancel() was called
  HEDDLE_BUSY = 8,             // the object is in use: close is refused
  HEDDLE_INTERNAL_ERROR = 9    // a bug in Heddle
} heddle_status;

// Owned by the caller. `message` is one line without a full stop: the fact, what was expected, what was
// found.
typedef struct heddle_error {
  size_t struct_size;
  heddle_status status;
  char message[512];
} heddle_error;

typedef struct heddle_version_info {
  size_t struct_size;
  uint32_t api;                        // version of this header: HEDDLE_API_VERSION
  uint32_t format_min, format_max;     // artifact formats that this library reads
  uint32_t code_abi_min, code_abi_max; // kernel calling conventions that it runs
  const char *library;                 // "0.1.0"; lives for ever
} heddle_version_info;

#define HEDDLE_API_VERSION 1u
#define HEDDLE_ARTIFACT_FORMAT 1u

// What this library is and reads. Cannot fail but for a wrong `struct_size`.
HEDDLE_API heddle_status heddle_version(heddle_version_info *out_info);

// A short name for a status, such as "invalid file"; lives for ever.
HEDDLE_API const char *heddle_status_name(heddle_status status);

// ---------------------------------------------------------------------------------------------------------------
// Model

// Where the artifact's bytes come from. Exactly one of `path`, `descriptor`, `memory`, chosen by `kind`.
typedef enum heddle_source_kind {
  HEDDLE_SOURCE_PATH = 1, // `path`, UTF-8, not kept
  HEDDLE_SOURCE_DESCRIPTOR =
      2, // `descriptor` of a regular file; duplicated, so the caller may close it after open
  HEDDLE_SOURCE_MEMORY = 3 // `memory`, `memory_size`; must stay valid and unchanged until the model is closed
} heddle_source_kind;

typedef struct heddle_source {
  size_t struct_size;
  heddle_source_kind kind;
  const char *path;
  int descriptor;
  const void *memory;
  size_t memory_size;
} heddle_source;

// An artifact is a program: whoever opens it says why its code may run. There is no default.
typedef enum heddle_trust {
  HEDDLE_TRUST_EMBEDDER_VOUCHES = 1, // the caller knows where these bytes come from
  HEDDLE_TRUST_DIGEST = 2,           // the manifest's SHA-256 must equal `trust_digest`
  HEDDLE_TRUST_CALLBACK = 3,         // `trust_callback` decides
  HEDDLE_TRUST_INSPECT_ONLY = 4 // nothing will run: code and weights are not even read, sessions are refused
} heddle_trust;

// Returns non-zero to let the artifact run. `manifest` (UTF-8 JSON, not NUL-terminated) and `digest` (its
// SHA-256, 32 bytes; the manifest holds the SHA-256 of everything else) live during the call.
typedef int (*heddle_trust_fn)(void *context, const uint8_t *digest, const char *manifest,
                               size_t manifest_size);

// Memory for models and sessions. `allocate` returns memory aligned to `alignment` (a power of two, up to 2
// MiB) or NULL; `release` gets the same size. Called from open, create, destroy and close only, never from a
// run. Default: the library's own, with huge pages for large blocks.
typedef struct heddle_allocator {
  size_t struct_size;
  void *context;
  void *(*allocate)(void *context, size_t size, size_t alignment);
  void (*release)(void *context, void *memory, size_t size);
} heddle_allocator;

typedef enum heddle_log_level { HEDDLE_LOG_WARNING = 1, HEDDLE_LOG_INFO = 2 } heddle_log_level;

// `message` is one line and lives during the call. Warnings: what makes runs slower than they could be.
// Information: the member whose code was chosen.
typedef void (*heddle_log_fn)(void *context, heddle_log_level level, const char *message);

typedef enum heddle_weights {
  HEDDLE_WEIGHTS_COPY = 1, // default: read into memory with huge pages; fastest to run
  HEDDLE_WEIGHTS_MAP = 2 // map the file (or use the caller's memory, 64-byte aligned): starts at once, shared
                         // between processes. The file must not change while the model is open
} heddle_weights;

enum {                             // heddle_model_options.flags
  HEDDLE_OPEN_PERF_MAP = 1,        // append the kernels' names to /tmp/perf-PID.map
  HEDDLE_OPEN_GDB = 2,             // register the kernels' names with gdb's JIT interface
  HEDDLE_OPEN_SKIP_WEIGHT_HASH = 4 // do not compare the weights with their SHA-256 while copying them
}; // (never done when mapping; code and tables are always compared)

// A code member that is linked into the program (`heddle compile --emit obj`), for hosts that forbid
// executable memory made at run time. Its bytes are compared with the artifact's like any other code.
typedef struct heddle_linked_code {
  const char *member; // "code/x86-64-v3.elf"
  const void *image;  // 4096-byte aligned, in an executable section; lives as long as the model
} heddle_linked_code;

struct heddle_driver; // heddle/driver.h

typedef struct heddle_model_options {
  size_t struct_size;
  heddle_trust trust;          // no default
  const uint8_t *trust_digest; // 32 bytes, for HEDDLE_TRUST_DIGEST
  heddle_trust_fn trust_callback;
  void *trust_context;
  heddle_weights weights;
  uint32_t cpu_features; // HEDDLE_CPU_* that may be used; 0: all that this host has
  uint32_t flags;        // HEDDLE_OPEN_*
  uint64_t max_memory;   // bytes for this model and all its sessions together; 0: no limit
  const heddle_allocator *allocator;
  heddle_log_fn log;
  void *log_context;
  const struct heddle_driver *driver; // the device; NULL: the CPU
  const heddle_linked_code
      *linked_code; // [linked_code_count]; members that are not listed are mapped as usual
  uint64_t linked_code_count;
} heddle_model_options;

typedef struct heddle_model heddle_model;

// Opens an artifact: validates all of it but the weights' values, decides trust, loads code and weights. On
// success the caller owns `*out_model`; on failure it is NULL. Safe from any thread. Structs and strings that
// `source` and `options` point to are not kept, but the allocator's and log's functions and contexts are used
// until close.
HEDDLE_API HEDDLE_CHECKED heddle_status heddle_model_open(const heddle_source *source,
                                                          const heddle_model_options *options,
                                                          heddle_model **out_model, heddle_error *error);

// Frees the model and every string it gave out. HEDDLE_BUSY, and nothing happens, while sessions live. NULL
// is OK.
HEDDLE_API heddle_status heddle_model_close(heddle_model *model, heddle_error *error);

typedef struct heddle_model_info {
  size_t struct_size;
  uint8_t digest[32]; // SHA-256 of manifest.json: what DIGEST and CALLBACK decide on
  uint32_t entry_count;
  uint32_t member_count;
  uint32_t max_rows;       // most rows (tokens) of one run
  uint32_t max_wanted;     // most rows of logits, or sequences of an encode run
  uint32_t max_context;    // most tokens of one sequence; 0 without a cache
  uint32_t max_sequences;  // most sequences of one session
  uint32_t vocabulary;     // token ids are below this; 0 where the model has no tokens
  uint32_t code_features;  // HEDDLE_CPU_* that the chosen code uses; 0 when only inspected
  const char *code_member; // the chosen code's member, or NULL
  uint64_t model_bytes;    // memory that the open model takes
} heddle_model_info;

HEDDLE_API heddle_status heddle_model_get_info(const heddle_model *model, heddle_model_info *out_info,
                                               heddle_error *error);

// Members of the artifact, in file order: "program.bin", "weights.bin", ..., "manifest.json".
typedef struct heddle_member_info {
  size_t struct_size;
  const char *name; // lives as long as the model
  uint64_t size;
  uint8_t digest[32];
} heddle_member_info;

HEDDLE_API heddle_status heddle_model_member(const heddle_model *model, uint32_t index,
                                             heddle_member_info *out_info, heddle_error *error);

// Reads all of the member `name` into `buffer` of `size` bytes, its exact size (heddle_model_find_member),
// and compares it with its SHA-256. Safe from any thread.
HEDDLE_API HEDDLE_CHECKED heddle_status heddle_model_read_member(const heddle_model *model, const char *name,
                                                                 void *buffer, uint64_t size,
                                                                 heddle_error *error);

// Like heddle_model_member, by name; HEDDLE_INVALID_ARGUMENT when the artifact has no such member.
HEDDLE_API heddle_status heddle_model_find_member(const heddle_model *model, const char *name,
                                                  heddle_member_info *out_info, heddle_error *error);

typedef enum heddle_entry_kind { // the values of heddle_entry.kind
  HEDDLE_ENTRY_STEP = 1,         // tokens, slots, positions, wanted -> logits [wanted, vocabulary]
  HEDDLE_ENTRY_ENCODE = 2,       // tokens, sequences, positions -> embeddings [sequences, width]
  HEDDLE_ENTRY_TENSORS = 3       // any tensors, bound with heddle_session_bind
} heddle_entry_kind;

typedef struct heddle_entry_info {
  size_t struct_size;
  const char *name; // lives as long as the model
  heddle_entry_kind kind;
  uint32_t input_count, output_count; // inputs are io 0 .. input_count - 1, outputs follow
} heddle_entry_info;

// By name; NULL: the first entry. heddle_model_entry_at goes by number, below info.entry_count.
HEDDLE_API heddle_status heddle_model_entry(const heddle_model *model, const char *name,
                                            heddle_entry_info *out_info, heddle_error *error);
HEDDLE_API heddle_status heddle_model_entry_at(const heddle_model *model, uint32_t index,
                                               heddle_entry_info *out_info, heddle_error *error);

typedef struct heddle_dimension {
  int64_t minimum, maximum, multiple;
} heddle_dimension;

typedef struct heddle_io_info {
  size_t struct_size;
  const char *name; // lives as long as the model
  heddle_dtype dtype;
  uint32_t is_output, rank;
  heddle_dimension dimension[HEDDLE_MAX_RANK];
} heddle_io_info;

// Input or output number `io` of an entry (NULL: the first entry).
HEDDLE_API heddle_status heddle_model_entry_io(const heddle_model *model, const char *entry, uint32_t io,
                                               heddle_io_info *out_info, heddle_error *error);

// ---------------------------------------------------------------------------------------------------------------
// Team: the threads that run kernels

enum {                           // heddle_team_options.flags
  HEDDLE_TEAM_CALLER_THREADS = 1 // the team starts no threads: the caller's own enter heddle_team_work()
};

typedef struct heddle_team_options {
  size_t struct_size;
  uint32_t threads;           // the thread that calls run included; 0: affinity mask and cgroup quota decide
  uint32_t flags;             // HEDDLE_TEAM_*
  uint32_t spin_microseconds; // busy wait before sleeping, about; 0: 100
} heddle_team_options;

typedef struct heddle_team heddle_team;

// `options` may be NULL. The caller owns `*out_team`. Its threads block all signals.
HEDDLE_API HEDDLE_CHECKED heddle_status heddle_team_create(const heddle_team_options *options,
                                                           heddle_team **out_team, heddle_error *error);
HEDDLE_API uint32_t heddle_team_threads(const heddle_team *team);

// With HEDDLE_TEAM_CALLER_THREADS: makes the calling thread worker number `worker` (1 .. threads - 1, each
// exactly once) until the team is destroyed. A run waits until all workers are here.
HEDDLE_API heddle_status heddle_team_work(heddle_team *team, uint32_t worker, heddle_error *error);

// Ends and frees the team; returns when its workers have left. HEDDLE_BUSY while sessions use it. NULL is OK.
HEDDLE_API heddle_status heddle_team_destroy(heddle_team *team, heddle_error *error);

// ---------------------------------------------------------------------------------------------------------------
// Session: the state of some sequences, and the memory to run

typedef struct heddle_session_options {
  size_t struct_size;
  uint32_t sequences; // sequences with a cache, numbered from 0 ("slots"); 0: 1; at most info.max_sequences
  uint32_t context;   // tokens that each can hold, rounded up to HEDDLE_PAGE_TOKENS; 0: info.max_context
  uint32_t rows;      // most rows of one run; 0: info.max_rows. Fewer may take less memory
  uint32_t wanted;    // most rows of logits (or sequences to encode) of one run; 0: info.max_wanted
  heddle_team *team;  // NULL: the calling thread alone. Must outlive the session
} heddle_session_options;

typedef struct heddle_memory {
  size_t struct_size;
  uint64_t total_bytes; // everything that heddle_session_create takes from the allocator
  uint64_t arena_bytes, cache_bytes, scratch_bytes, io_bytes, table_bytes; // its parts
  uint64_t bytes_per_sequence; // cache bytes of one sequence at its full context
} heddle_memory;

// Exactly what a session with these options (NULL: defaults) takes, without making it. Of a model that was
// opened to be inspected only, scratch_bytes is 0: it depends on the device.
HEDDLE_API heddle_status heddle_model_memory(const heddle_model *model, const heddle_session_options *options,
                                             heddle_memory *out_memory, heddle_error *error);

typedef struct heddle_session heddle_session;

// Allocates everything that runs will need. `options` may be NULL. The caller owns `*out_session`; the model
// must stay open as long (close is refused otherwise).
HEDDLE_API HEDDLE_CHECKED heddle_status heddle_session_create(heddle_model *model,
                                                              const heddle_session_options *options,
                                                              heddle_session **out_session,
                                                              heddle_error *error);

// NULL is OK. Not while a run is in progress.
HEDDLE_API void heddle_session_destroy(heddle_session *session);

// A tensor in memory. `size_bytes` is what `data` holds at least. Strides are in bytes.
typedef struct heddle_view {
  size_t struct_size;
  void *data;
  uint64_t size_bytes;
  heddle_dtype dtype;
  uint32_t rank;
  int64_t dimension[HEDDLE_MAX_RANK];
  int64_t stride[HEDDLE_MAX_RANK]; // all zero: dense, row-major; other strides must say the same
} heddle_view;

// Makes the next runs of `entry` (NULL: the first) read or write `view->data`, which stays the caller's, must
// be 64-byte aligned and must live until it is bound anew or the session ends. An input's dimensions are
// those of the next runs; an output needs room for the actual shape at each run. A NULL `view` undoes an
// output's binding. Inputs of HEDDLE_ENTRY_TENSORS entries must be bound; outputs that are not are written to
// memory of the session.
HEDDLE_API heddle_status heddle_session_bind(heddle_session *session, const char *entry, uint32_t io,
                                             const heddle_view *view, heddle_error *error);

// Runs an entry (NULL: the first) on what is bound. For text entries the bound inputs are checked as step()
// does. Synchronous. Allocates nothing, makes no system call but futex. On failure, and when cancelled, the
// sequences are as before.
HEDDLE_API HEDDLE_CHECKED heddle_status heddle_session_run(heddle_session *session, const char *entry,
                                                           heddle_error *error);

// `count` rows; row i is token tokens[i] of sequence slots[i] at positions[i]. The rows of a sequence are
// contiguous and their positions ascend by 1 from the sequence's length. `wanted` lists the rows whose logits
// are computed, in ascending order. The arrays are copied.
typedef struct heddle_step {
  size_t struct_size;
  const int32_t *tokens, *slots, *positions;
  uint32_t count;
  uint32_t wanted_count; // 0: none
  const int32_t *wanted;
} heddle_step;

// run() for text: appends the rows to their sequences and computes the wanted logits, output 0 [wanted_count,
// vocabulary]. For HEDDLE_ENTRY_ENCODE, `slots` numbers the texts 0, 1, ... in order, positions start at 0 in
// each, `wanted` is NULL, and output 0 is [texts, width]. `entry` NULL: the first.
HEDDLE_API HEDDLE_CHECKED heddle_status heddle_session_step(heddle_session *session, const char *entry,
                                                            const heddle_step *step, heddle_error *error);

// Output number `output` (0 is the first output) of the last run with its actual shape; `view->data` is valid
// until the next run, bind or destroy. HEDDLE_INVALID_ARGUMENT when that entry's last run failed or never
// was.
HEDDLE_API heddle_status heddle_session_output(heddle_session *session, const char *entry, uint32_t output,
                                               heddle_view *out_view, heddle_error *error);

// The run in progress, or else the next one, returns HEDDLE_CANCELLED at its next kernel. From any thread or
// a signal handler.
HEDDLE_API void heddle_session_cancel(heddle_session *session);

// Tokens that the sequence holds; 0 for a number out of range.
HEDDLE_API uint32_t heddle_sequence_length(const heddle_session *session, uint32_t slot);

// Replaces sequence `to` by a copy of `from`; full pages are shared until one of them changes.
HEDDLE_API heddle_status heddle_sequence_fork(heddle_session *session, uint32_t from, uint32_t to,
                                              heddle_error *error);
// Forgets all tokens from position `length` on.
HEDDLE_API heddle_status heddle_sequence_trim(heddle_session *session, uint32_t slot, uint32_t length,
                                              heddle_error *error);
HEDDLE_API heddle_status heddle_sequence_clear(heddle_session *session, uint32_t slot, heddle_error *error);

// Return 0 when all `size` bytes were written or read, anything else to stop.
typedef int (*heddle_write_fn)(void *context, const void *data, size_t size);
typedef int (*heddle_read_fn)(void *context, void *data, size_t size);

// Writes sequence `slot`, to be restored into a session of the same artifact (same digest).
HEDDLE_API HEDDLE_CHECKED heddle_status heddle_session_save(heddle_session *session, uint32_t slot,
                                                            heddle_write_fn write, void *context,
                                                            heddle_error *error);
// Replaces sequence `slot` by a saved one. All of it is checked; on failure the sequence is empty.
HEDDLE_API HEDDLE_CHECKED heddle_status heddle_session_restore(heddle_session *session, uint32_t slot,
                                                               heddle_read_fn read, void *context,
                                                               heddle_error *error);

#ifdef __cplusplus
}
#endif
#endif
