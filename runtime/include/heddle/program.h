// program.bin: the compiled schedule of a model for one target, and the calling convention of its kernels. An
// artifact for several targets has one such member for each: all whose names begin with "program".
//
// Shared by the compiler (which writes it), the runtime and every device driver (which read it): plain C11,
// fixed width, little-endian, no pointers. All tables are arrays of the records below, found through
// `heddle_program_header` by byte offset from the start of the file and a count. Offsets are multiples of 8.
// A reader checks every offset, count and index before it uses one (see runtime/program.cpp); nothing here is
// trusted.
//
// One entry ("step", "encode", ...) has one or more *variants*, each for a range of its first dimension; a
// variant is a straight list of launches. A launch calls one function over an item range that the driver
// splits between workers.
#ifndef HEDDLE_PROGRAM_H
#define HEDDLE_PROGRAM_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HEDDLE_PROGRAM_MAGIC "HDLPROG1" // 8 bytes, no terminator
#define HEDDLE_PROGRAM_VERSION 3u
#define HEDDLE_CODE_ABI 1u       // version of `heddle_kernel_fn` and of the runtime-made tables below
#define HEDDLE_PAGE_TOKENS 128u  // tokens in one page of a KV cache
#define HEDDLE_CHUNK_TOKENS 256u // attention is split at multiples of this absolute position
#define HEDDLE_WEIGHT_SCRATCH_ALIGN 64u

// ---------------------------------------------------------------------------------------------------------------
// Kernel calling convention (System V x86-64 for CPU code).
//
//   operands  one address per operand of the launch, in the order of its operand records
//   dims      values of the entry's dimensions for this call, indexed by HEDDLE_DIM_*
//   scratch   this worker's own scratch memory, `scratch_bytes` of the launch's function, 64-byte aligned
//   begin,end the items that this call computes; 0 <= begin <= end <= items
//
// A kernel imports nothing, allocates nothing, makes no system call, and writes only its output operands'
// part that belongs to [begin, end) and its scratch. What it computes for an item does not depend on the
// range or the worker.
typedef void (*heddle_kernel_fn)(void *const *operands, const int64_t *dims, void *scratch, int64_t begin,
                                 int64_t end);

// Dimensions known at run time. Static launches use none of them.
enum {
  HEDDLE_DIM_ROWS = 0,   // n: rows (tokens) of this call
  HEDDLE_DIM_WANTED = 1, // m: rows whose logits are wanted (text), or sequences s (embeddings)
  HEDDLE_DIM_WORK = 2,   // number of heddle_work records of this call
  HEDDLE_DIM_COUNT = 3
};

// One piece of attention work: consecutive rows of one slot (or of one sequence, without a cache). The
// runtime cuts the rows of a call into such pieces of at most `work_rows` rows (a field of the variant), in
// row order.
typedef struct heddle_work {
  int32_t row_begin, row_count; // rows of this call
  int32_t slot;                 // KV cache slot; the sequence's number without a cache
  int32_t position;             // position of row_begin inside its slot or sequence
  int32_t first_row; // first row of this slot or sequence in the call (= row_begin - rows before it)
  int32_t slot_rows; // rows of this slot or sequence in this call
  int32_t reserved[2];
} heddle_work;

// ---------------------------------------------------------------------------------------------------------------
// Records of program.bin
#define HEDDLE_NO_FUNCTION UINT64_MAX

typedef struct heddle_span { // a table: `count` records at byte `offset`
  uint64_t offset, count;
} heddle_span;

typedef struct heddle_program_header {
  char magic[8];
  uint32_t version, code_abi;
  uint64_t file_size;
  heddle_span strings;   // bytes; a string is a u32 byte offset into it, NUL-terminated
  heddle_span entries;   // heddle_entry
  heddle_span ios;       // heddle_io
  heddle_span variants;  // heddle_variant
  heddle_span launches;  // heddle_launch
  heddle_span operands;  // heddle_operand
  heddle_span functions; // heddle_function
  heddle_span codes;     // heddle_code: one per CPU level, ascending preference
  // u64 [codes.count][functions.count]: byte offset of the function in the code's image, or
  // HEDDLE_NO_FUNCTION where only alternatives that this code does not run call it
  heddle_span offsets;
  heddle_span caches; // heddle_cache: one per layer with a KV cache
  // u32 strings: the members that hold the weights, one after another, each rounded up to the container's
  // multiple of sizes. Programs of one artifact share members, and each has what no other needs in its own.
  heddle_span weights;
  uint64_t weights_size; // bytes up to the end of the last one
  uint32_t max_rows,
      max_wanted;       // bounds of HEDDLE_DIM_ROWS and HEDDLE_DIM_WANTED that memory was planned for
  uint32_t max_context; // most tokens a slot can hold (multiple of HEDDLE_PAGE_TOKENS); without a cache the
                        // longest text of an encode entry, 0: max_rows
  uint32_t max_slots;   // most sequences of one session
  uint32_t vocabulary;  // token ids are below this; 0 where the model has no tokens
  uint32_t sources;     // string: names of the source nodes, for messages
} heddle_program_header;

typedef enum { // values are never reused
  HEDDLE_DTYPE_F32 = 1,
  HEDDLE_DTYPE_F16 = 2,
  HEDDLE_DTYPE_BF16 = 3,
  HEDDLE_DTYPE_I32 = 4,
  HEDDLE_DTYPE_I64 = 5,
  HEDDLE_DTYPE_I8 = 6,
  HEDDLE_DTYPE_U8 = 7
} heddle_dtype;

typedef struct heddle_entry {
  uint32_t name;
  uint32_t kind; // 1 text step (tokens, slots, positions, wanted -> logits), 2 encode (tokens, sequences,
                 // positions -> embeddings), 3 tensors
  uint32_t first_io, io_count;           // inputs first, then outputs
  uint32_t first_variant, variant_count; // ascending row ranges that cover 1..max_rows without gaps
} heddle_entry;

#define HEDDLE_MAX_RANK 4
typedef struct heddle_io {
  uint32_t name, dtype, is_output, rank;
  int64_t dim[HEDDLE_MAX_RANK];    // static size, or -1
  int32_t dim_id[HEDDLE_MAX_RANK]; // HEDDLE_DIM_* where dim is -1, else -1
} heddle_io;

typedef struct heddle_variant {
  uint32_t name;
  uint32_t min_rows, max_rows;
  uint32_t first_launch, launch_count;
  uint32_t work_rows;   // most rows in one heddle_work; 0 when the variant uses none
  uint64_t arena_bytes; // activation arena, 64-byte aligned
  // Code whose `features` include these runs variant `alternative` instead: same rows, same work records, at
  // most this arena. Otherwise both are 0.
  uint32_t alternative, alternative_features;
} heddle_variant;

enum {
  HEDDLE_LAUNCH_BARRIER =
      1, // all workers meet before this launch: it depends on the ones since the last barrier
};

typedef struct heddle_launch {
  uint32_t function;
  uint32_t first_operand, operand_count;
  uint32_t flags;
  int32_t items_dim; // items = ceil(dims[items_dim] * items_mul / items_div); -1: items = items_mul
  uint32_t items_mul, items_div;
  uint32_t grain;  // ranges are cut at multiples of this many items, at least 1
  uint32_t source; // string: the source nodes, e.g. "blk.3.attn_q"
  uint32_t reserved;
} heddle_launch;

enum {                           // where an operand lives
  HEDDLE_OPERAND_ARENA = 1,      // activation arena + offset
  HEDDLE_OPERAND_WEIGHT = 2,     // weights + offset
  HEDDLE_OPERAND_IO = 3,         // the entry's input or output number `index`
  HEDDLE_OPERAND_CACHE = 4,      // base of cache `index` (page 0)
  HEDDLE_OPERAND_PAGE_TABLE = 5, // i32 [max_slots][max_context / HEDDLE_PAGE_TOKENS] page numbers
  HEDDLE_OPERAND_WORK = 6        // heddle_work [dims[HEDDLE_DIM_WORK]]
};
typedef struct heddle_operand {
  uint32_t kind, index;
  uint64_t offset;
  uint64_t bytes; // size of what may be touched at the bound; the driver checks it against the region
} heddle_operand;

typedef struct heddle_function {
  uint32_t name;          // "linear_q4_1_576x1536_add": also the ELF symbol and the profiler's name
  uint32_t threads;       // of a block; 0 in code for CPUs
  uint64_t scratch_bytes; // per worker, or shared memory of a block
} heddle_function;

enum { // instruction sets that a code member needs, a bit each; a host runs the last code whose bits it has
  HEDDLE_CPU_X86_64_V3 = 1, // AVX2, FMA, F16C, BMI2
  HEDDLE_CPU_AVX_VNNI = 2,
  HEDDLE_CPU_X86_64_V4 = 4, // AVX-512 F, BW, CD, DQ, VL
  HEDDLE_CPU_AVX512_VNNI = 8,
  HEDDLE_CPU_AVX512_BF16 = 16,
  HEDDLE_CPU_AMX_BF16 = 32 // tiles, and that the system lets this process use them
};
#define HEDDLE_CPU_NAMES                                                                                     \
  "x86-64-v3\0AVX-VNNI\0x86-64-v4\0AVX512-VNNI\0AVX512-BF16\0AMX-BF16\0" // of the bits, ascending
enum { // code for other devices, which no CPU takes (docs/cuda.md, docs/npu.md)
  HEDDLE_CODE_OTHER =
      1 << 15, // of a plug-in's target (docs/adding-a-target.md), with a number of its own in bits 16 to 27
  HEDDLE_CODE_PTX = 1 << 30,
  HEDDLE_CODE_NPU = 1 << 28,   // heddle/npu.h, for the machine whose id is in bits 16 to 27
  HEDDLE_CODE_CUBIN = 1 << 29, // for the one architecture in bits 16 to 27 (80: sm_80)
};
typedef struct heddle_code {
  uint32_t member;   // string: name of the artifact's member with the ELF image
  uint32_t features; // HEDDLE_CPU_*
} heddle_code;

// A paged KV cache of one layer. A page holds HEDDLE_PAGE_TOKENS tokens of every KV head:
//   keys    [heads][HEDDLE_PAGE_TOKENS / 16][key_dim][16]   16 tokens on the lanes
//   values  [heads][HEDDLE_PAGE_TOKENS][value_dim]
// dtype is HEDDLE_DTYPE_F16, or 8-bit codes: HEDDLE_DTYPE_I8, or HEDDLE_DTYPE_U8 for FP8 e4m3. After each
// [key_dim][16] of codes come f32 [2][16]: what each token's codes of keys, and of values, are multiplied by.
// Page p of a cache starts at p * page_bytes. Pages of all caches share one numbering.
typedef struct heddle_cache {
  uint32_t heads, key_dim, value_dim, dtype;
  uint64_t page_bytes; // HEDDLE_PAGE_TOKENS * heads * ((key_dim + value_dim) * bytes of dtype, + 8 for codes)
  uint32_t window;     // tokens a row can see back, itself included; 0: all
  uint32_t source;     // string
} heddle_cache;

#ifdef __cplusplus
}
#endif
#endif
