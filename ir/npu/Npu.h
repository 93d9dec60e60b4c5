// The npu dialect (ir/npu/NpuOps.td).
#pragma once
#include "heddle/npu.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::npu {

// What all commands do alike, by the machine's table.
ParseResult parseCommand(OpAsmParser &parser, OperationState &state);
void printCommand(OpAsmPrinter &printer, Operation *op);
LogicalResult verifyCommand(Operation *op);

/// The table's entry of a command, by its name; null for other ops.
const heddle_npu_command_info *commandInfo(StringRef name);
const heddle_npu_command_info *commandInfo(Operation *op);

} // namespace mlir::npu

#include "ir/npu/NpuDialect.h.inc"
#define GET_OP_CLASSES
#include "ir/npu/NpuOps.h.inc"
