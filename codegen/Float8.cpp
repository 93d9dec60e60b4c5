#include "codegen/Float8.h"

namespace heddle {

Value halfOfF8(KernelEmitter &e, StorageFormat format, Value codes) {
  if (format == StorageFormat::F8E5M2)
    return e.shiftLeft(codes, 8);
  return e.create<mlir::arith::OrIOp>(e.shiftLeft(e.bitAnd(codes, 0x80), 8),
                                      e.shiftLeft(e.bitAnd(codes, 0x7f), 7));
}

} // namespace heddle
