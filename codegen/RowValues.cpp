#include "codegen/RowValues.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {

Value withoutReshapes(Value value) {
  while (auto reshape = value.getDefiningOp<ReshapeOp>())
    value = reshape.getInput();
  return value;
}

int64_t rowColumns(Type type) {
  int64_t columns = 1;
  for (int64_t size : shapeOf(type).drop_front())
    columns *= size;
  return columns;
}

int64_t rowBytes(Type type) {
  if (auto stored = dyn_cast<StoredType>(type))
    return activationLayout(stored).stride();
  if (isa<SelectionType>(type))
    return rowColumns(type);
  return rowColumns(type) * 4;
}

llvm::SmallVector<Operation *> readersOf(Value value) {
  llvm::SmallVector<Operation *> readers;
  for (Operation *user : value.getUsers()) {
    if (auto reshape = dyn_cast<ReshapeOp>(user))
      readers.append(readersOf(reshape.getResult()));
    else
      readers.push_back(user);
  }
  return readers;
}

} // namespace heddle
