#include "passes/Passes.h"
#include "passes/RowDims.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_INFERSHAPESPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct InferShapes : mlir::heddle::impl::InferShapesPassBase<InferShapes> {
  void runOnOperation() override {
    for (func::FuncOp function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr(kEntryAttr) && failed(nameResults(function)))
        return signalPassFailure();
  }

  LogicalResult nameResults(func::FuncOp function) {
    FailureOr<RowDims> rows = RowDims::compute(function);
    if (failed(rows))
      return failure();
    Operation *end = function.getBody().front().getTerminator();
    for (auto [number, value] : llvm::enumerate(end->getOperands())) {
      auto tensor = dyn_cast<RankedTensorType>(value.getType());
      if (!tensor || tensor.hasStaticShape())
        continue;
      StringRef name = rows->of(value);
      if (!tensor.isDynamicDim(0) || tensor.getNumDynamicDims() != 1 || name.empty())
        return function.emitOpError()
               << "expected only the first dimension of result " << number
               << " to be dynamic, and to follow from the arguments, but found " << tensor;
      RowDims::Bounds bounds = rows->bounds(name);
      Attribute dim = DimAttr::get(&getContext(), name, bounds.min, bounds.max);
      auto declared = function.getResultAttrOfType<ArrayAttr>(number, kDimsAttr);
      if (declared && (declared.size() != 1 || declared[0] != dim))
        return function.emitOpError() << "expected '" << kDimsAttr << "' of result " << number << " to be "
                                      << dim << ", which its rows follow from, but found " << declared;
      function.setResultAttr(number, kDimsAttr, ArrayAttr::get(&getContext(), dim));
    }
    return success();
  }
};
} // namespace
