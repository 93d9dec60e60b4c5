// Rows of a stored weight matrix in the order of its file, wherever they come from: a file, or a recipe that
// rounds other weights.
#pragma once
#include "ir/Heddle.h"
#include "ir/ParameterSource.h"
#include <memory>

namespace heddle {

class StoredRows {
public:
  virtual ~StoredRows() = default;

  /// Rows of `param`, of type !heddle.stored. Where scales are shared between rows this reads all of them
  /// once.
  static llvm::Expected<std::unique_ptr<StoredRows>>
  of(mlir::heddle::ParamOp param, const mlir::SymbolTable &symbols, const ParameterSource &source);

  /// Bytes of rows first .. first + count, valid until the next call.
  virtual llvm::Expected<llvm::ArrayRef<uint8_t>> read(int64_t first, int64_t count) = 0;
  /// Tells that these rows will not be read again.
  virtual void release(int64_t first, int64_t count) = 0;

protected:
  StoredRows(mlir::heddle::StoredType type);

  StorageFormat format;
  int64_t rows, columns;
  uint64_t rowBytes;
};

} // namespace heddle
