#include "ir/Heddle.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::heddle;

#include "ir/HeddleDialect.cpp.inc"
#include "ir/HeddleEnums.cpp.inc"
#include "ir/HeddleInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "ir/HeddleAttrs.cpp.inc"

void HeddleDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "ir/HeddleAttrs.cpp.inc"
      >();
  registerTypes();
  addOperations<
#define GET_OP_LIST
#include "ir/HeddleOps.cpp.inc"
      >();
}

LogicalResult DimAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringRef name, int64_t min,
                              int64_t max) {
  if (name.empty())
    return emitError() << "expected a dimension to have a name, but found an empty one";
  if (min < 0 || max < min)
    return emitError() << "expected bounds of dimension '" << name
                       << "' to satisfy 0 <= minimum <= maximum, but found " << min << " to " << max;
  return success();
}
