// The heddle dialect: what every user of its IR includes.
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "ir/ActivationLayout.h"
#include "ir/StorageFormat.h"

#include "ir/HeddleEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "ir/HeddleAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "ir/HeddleTypes.h.inc"

#include "ir/HeddleDialect.h.inc"
#include "ir/HeddleInterfaces.h.inc"

#define GET_OP_CLASSES
#include "ir/HeddleOps.h.inc"

namespace mlir::heddle {

/// Argument attribute of entry functions: an array of #heddle.dim, one for each `?` of the argument's type,
/// in order.
inline constexpr llvm::StringLiteral kDimsAttr = "heddle.dims";
/// Function attribute: the entry's name ("step", "encode"); several functions of one entry are its variants.
inline constexpr llvm::StringLiteral kEntryAttr = "heddle.entry";
/// Function attribute: fewest and most rows that a variant serves, an array of two.
inline constexpr llvm::StringLiteral kRowsAttr = "heddle.rows";
/// Function attribute (unit): the variant multiplies tiles of bf16 and stands in for the one of the same rows
/// on processors that do so.
inline constexpr llvm::StringLiteral kTilesAttr = "heddle.tiles";
/// Argument and result attribute: the input's or output's public name.
inline constexpr llvm::StringLiteral kNameAttr = "heddle.name";
/// Module attribute: dictionary of model facts (name, architecture, vocabulary, context, slots, ...).
inline constexpr llvm::StringLiteral kModelAttr = "heddle.model";

/// The storage format of a weight encoding; `enc` must not be an activation's.
inline ::heddle::StorageFormat storageFormat(EncAttr enc) {
  return static_cast<::heddle::StorageFormat>(enc.getFormat());
}

/// Output columns of a panel of weights in this layout; 0 for others.
inline int64_t panelColumns(Layout layout) {
  return layout == Layout::Panel16 ? 16 : layout == Layout::Panel32 ? 32 : 0;
}

/// Byte layout of activations that `quantize` makes.
::heddle::ActivationLayout activationLayout(StoredType type);

/// Shape of a tensor, stored or selection type.
llvm::ArrayRef<int64_t> shapeOf(Type type);

/// The parameter or cache that a symbol names, looked up from `op`.
ParamOp lookupParam(Operation *op, FlatSymbolRefAttr name);

} // namespace mlir::heddle
