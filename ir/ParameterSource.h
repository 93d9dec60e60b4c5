// Where the bytes of `heddle.param ... file F at O` come from.
//
// Frontends provide one (their mapped model files), packager and interpreter read through it. Free of MLIR.
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>

namespace heddle {

class ParameterSource {
public:
  virtual ~ParameterSource() = default;
  /// `size` bytes at `offset` of file number `file`, valid as long as this object; an error names the file
  /// when the range is not in it. Safe from several threads.
  virtual llvm::Expected<llvm::ArrayRef<uint8_t>> bytes(int64_t file, uint64_t offset,
                                                        uint64_t size) const = 0;
  /// Tells that a range will not be read again soon, so that its pages can leave memory. May do nothing.
  virtual void release(int64_t file, uint64_t offset, uint64_t size) const {}
};

} // namespace heddle
