// What the signature of an entry says (docs/ir.md): names of dimensions decide.
#pragma once
#include "ir/Heddle.h"

namespace mlir::heddle {

enum class EntryKind {
  Step, // tokens, slots, positions, wanted rows -> numbers of the wanted rows: an argument has dimension "m"
  Encode, // tokens, sequences, positions -> a row for each sequence: a result has dimension "s"
  Tensors,
};

EntryKind entryKind(func::FuncOp entry);

} // namespace mlir::heddle
