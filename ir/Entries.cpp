#include "ir/Entries.h"

using namespace mlir;
using namespace mlir::heddle;

static bool namesDimension(ArrayAttr dims, StringRef name) {
  return dims && llvm::any_of(dims.getAsRange<DimAttr>(), [&](DimAttr dim) { return dim.getName() == name; });
}

EntryKind mlir::heddle::entryKind(func::FuncOp entry) {
  for (unsigned i = 0; i < entry.getNumArguments(); ++i)
    if (namesDimension(entry.getArgAttrOfType<ArrayAttr>(i, kDimsAttr), "m"))
      return EntryKind::Step;
  for (unsigned i = 0; i < entry.getNumResults(); ++i)
    if (namesDimension(entry.getResultAttrOfType<ArrayAttr>(i, kDimsAttr), "s"))
      return EntryKind::Encode;
  return EntryKind::Tensors;
}
