// The tape: a machine that reads one instruction after another, for each row anew. A register holds a row of
// f32 numbers. Written by Target.cpp, run by Driver.cpp.
#ifndef TAPE_H
#define TAPE_H
#include <heddle/program.h>

enum { TAPE_NUMBER = 1, TAPE_REGISTERS = 64, TAPE_COLUMNS = 4096 };
enum tape_opcode {
  TAPE_LOAD,     // to = row of operand `a`, or all of it, where `kind` is 1
  TAPE_STORE,    // row of operand `a` = register `b`
  TAPE_UNARY,    // to = kind(a)
  TAPE_BINARY,   // to = a kind b
  TAPE_SCALE,    // to = a * number
  TAPE_RMS_NORM, // to = each `inner` numbers of a, / sqrt(mean of squares + number), * b
  TAPE_LINEAR,   // to = operand `b`, a matrix [columns][inner] in layout w16 (docs/kernel-abi.md), times a
};
enum tape_unary { TAPE_RELU, TAPE_TANH, TAPE_SILU, TAPE_EXP };
enum tape_binary { TAPE_ADD, TAPE_SUB, TAPE_MUL, TAPE_DIV };

typedef struct tape_instruction {
  uint32_t opcode, kind, to, a, b;
  uint32_t columns, inner; // numbers of `to` (STORE: of `b`), and of `a`
  float number;
} tape_instruction;

typedef struct tape_function {
  uint32_t first, count; // instructions
  uint32_t rows_dim;     // HEDDLE_DIM_*
  uint32_t reserved;
} tape_function;

// The member: this, functions in the order of the program's, instructions.
typedef struct tape_header {
  char magic[8]; // "TAPE0001"
  uint32_t functions, instructions;
} tape_header;

#endif
