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
def ScoringOpInterface : OpInterface<"ScoringOpInterface"> {
  let cppNamespace = "::mlir::heddle";
  let description = [{ An op that scores queries against keys, with score and mask regions: `attention` and `top_k`. }];
  let methods = [
    InterfaceMethod<"Rows by heads by width.", "::mlir::Value", "getQuery">,
    InterfaceMethod<"Rows by KV heads by width, where they are not only in a cache; or null.", "::mlir::Value", "getKeys">,
    InterfaceMethod<"The cache whose keys are scored, or null.", "::mlir::Value", "getCache">,
    InterfaceMethod<"The sequence of each key, where keys are not the rows' own; or null.", "::mlir::Value", "getKeySequences">,
    InterfaceMethod<"The slot or sequence of each row.", "::mlir::Value", "getSlots">,
    InterfaceMethod<"The position of each row.", "::mlir::Value", "getPositions">,
    InterfaceMethod<"Factor of each product.", "::llvm::APFloat", "getScale">,
    InterfaceMethod<"What becomes of a product.", "::mlir::Region &", "getScore">,
    InterfaceMethod<"Which keys are seen; empty: all.", "::mlir::Region &", "getMask">];
  let extraClassDeclaration = [{
    int64_t kvHeads();
    /// Query heads that share one KV head.
    int64_t groupSize();
    /// Width of queries and keys.
    int64_t keyDim();
  }];
}

#endif
