// What passes that change parameters share.
#pragma once
#include "ir/Heddle.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::heddle {

/// Whether `use` reads rows of a stored matrix: the weight of a product, or a table.
bool readsStoredRows(OpOperand &use);

/// The matrices of `module` that code reads so, in the order of the module.
SmallVector<ParamOp> storedMatrices(ModuleOp module);

/// The scheme that rules give to a weight: of the first rule PATTERN=SCHEME that fits its name, else of the
/// rule without a pattern; empty without one.
StringRef schemeFor(ArrayRef<std::string> rules, StringRef name);

/// A parameter made of `source` alone, next to it: `recipe` gets the source's value and makes one of `type`.
/// Its name is `source`'s and `suffix`, changed where that is taken.
ParamOp deriveParameter(ParamOp source, StringRef suffix, Type type, SymbolTable &symbols,
                        function_ref<Value(OpBuilder &, Value)> recipe);

} // namespace mlir::heddle
