#include "codegen/Epilogue.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {

Value emitEpilogue(KernelEmitter &e, KernelOp kernel, ArrayRef<LinearOp> linears, ValueRange sums,
                   function_ref<Value(Value)> load) {
  Block &body = kernel.getBody().front();
  IRMapping values;
  auto read = [&](Value value) -> Value {
    if (Value known = values.lookupOrNull(value))
      return known;
    Value loaded = load(value);
    values.map(value, loaded);
    return loaded;
  };
  for (auto [linear, sum] : llvm::zip(linears, sums)) {
    Value result = sum;
    if (Value bias = LinearOp(linear).getBias())
      result = e.addF(result, read(bias));
    values.map(LinearOp(linear).getResult(), result);
  }
  for (Operation &op : body.without_terminator()) {
    auto elementwise = dyn_cast<ElementwiseOpInterface>(op);
    if (!elementwise)
      continue;
    SmallVector<Value> operands;
    for (Value operand : op.getOperands())
      operands.push_back(read(operand));
    values.map(op.getResult(0), elementwise.emitElementwise(e, e.getLoc(), operands));
  }
  return read(body.getTerminator()->getOperand(0));
}

} // namespace heddle
