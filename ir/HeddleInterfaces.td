// Interfaces that generators and passes use instead of op names.
#ifndef HEDDLE_INTERFACES_TD
#define HEDDLE_INTERFACES_TD
include "mlir/IR/OpBase.td"

def ElementwiseOpInterface : OpInterface<"ElementwiseOpInterface"> {
  let cppNamespace = "::mlir::heddle";
  let description = [{
    An op whose result element depends on the elements of its operands at the same place only. Any generator can put it into its epilogue.
  }];
  let methods = [InterfaceMethod<[{
      Emits the computation on f32 scalars or vectors of any length (arith and math ops only); `operands` has one value for each operand.
    }], "::mlir::Value", "emitElementwise", (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::ValueRange":$operands)>];
}
#endif
