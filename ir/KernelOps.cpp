// Kernels and launches.
#include "ir/Heddle.h"

using namespace mlir;
using namespace mlir::heddle;

#define GET_OP_CLASSES
#include "ir/HeddleOps.cpp.inc"

LogicalResult KernelOp::verifyRegions() {
  if (isa<YieldOp>(getBody().front().getTerminator()))
    return success();
  return emitOpError() << "expected kernel '" << getSymName() << "' to end in 'heddle.yield'";
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto kernel = tables.lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr());
  if (!kernel)
    return emitOpError() << "expected kernel '" << getKernel() << "' to exist in the module";
  Block &body = kernel.getBody().front();
  if (body.getArgumentTypes() != getInputs().getTypes())
    return emitOpError() << "expected operands of kernel '" << getKernel() << "' to have its argument types";
  if (body.getTerminator()->getOperandTypes() != getResultTypes())
    return emitOpError() << "expected results of kernel '" << getKernel()
                         << "' to have the types that it yields";
  if (getArena() && getArena()->size() != getNumResults())
    return emitOpError() << "expected 'arena' to have an offset for each of " << getNumResults()
                         << " results, but found " << getArena()->size();
  return success();
}
