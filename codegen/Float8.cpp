#include "codegen/Float8.h"

namespace heddle {

Value halfOfF8(KernelEmitter &e, StorageFormat format, Value codes) {
  if (format == StorageFormat::F8E5M2)
    return e.shiftLeft(codes, 8);
  return e.bitAnd(e.shiftLeft(codes, 7), ~0x4000); // the sign is in both upper bits
}

} // namespace heddle
