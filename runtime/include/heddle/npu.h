// Code for the NPU (docs/npu-isa.md): a command, and the member of an artifact that holds all functions of a
// program. Written by the compiler, read by drivers of NPUs; nothing in it is trusted. Plain C11, fixed
// width, little-endian, no pointers.
#ifndef HEDDLE_NPU_H
#define HEDDLE_NPU_H
#include <heddle/npu_commands.h>
#include <heddle/program.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct heddle_npu_command {
  uint8_t opcode, function, types, modes;
  uint8_t registers[HEDDLE_NPU_FIELDS]; // the value of field i is immediates[i] + r[registers[i]]
  int32_t immediates[HEDDLE_NPU_FIELDS];
} heddle_npu_command;

#define HEDDLE_NPU_REGISTERS 64
#define HEDDLE_NPU_SEMAPHORES 16
#define HEDDLE_NPU_LOOP_DEPTH 8
#define HEDDLE_NPU_MAX_COMMANDS (1u << 20)  // of a program
#define HEDDLE_NPU_ACCUMULATORS 0x80000000u // on-chip address

// What a launch puts into registers (docs/npu.md); the others are 0.
enum {
  HEDDLE_NPU_REGISTER_DATA = 1,     // address of the function's data
  HEDDLE_NPU_REGISTER_DIMS = 2,     // values of HEDDLE_DIM_*, HEDDLE_DIM_COUNT registers
  HEDDLE_NPU_REGISTER_ITEMS = 5,    // items of the launch
  HEDDLE_NPU_REGISTER_OPERANDS = 8, // address of operand 0, operand 1, ...
  HEDDLE_NPU_MAX_OPERANDS = 32
};

#define HEDDLE_NPU_MAGIC "HDLNPU01" // 8 bytes, no terminator
typedef struct heddle_npu_header {
  char magic[8];
  uint32_t machine; // heddle_npu_machine.id
  uint32_t reserved;
  uint64_t file_size;
  heddle_span functions; // heddle_npu_function
  heddle_span commands;  // heddle_npu_command
  heddle_span sources;   // heddle_npu_source, ascending
  heddle_span data;      // bytes: constants of functions
  heddle_span strings;   // bytes; a string is a u32 byte offset into it, NUL-terminated
} heddle_npu_header;

typedef struct heddle_npu_function {
  uint32_t name; // string: that of the heddle_function
  uint32_t first_command, command_count;
  uint32_t operand_count; // addresses that it expects
  uint64_t data_offset, data_bytes;
} heddle_npu_function;

// The op that commands come from: of this one and of all up to the next record.
typedef struct heddle_npu_source {
  uint32_t command, name; // index into commands; string
} heddle_npu_source;

#ifdef __cplusplus
}
#endif
#endif
