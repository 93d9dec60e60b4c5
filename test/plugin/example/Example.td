include "ir/HeddleBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Example_Dialect : Dialect {
  let name = "example";
  let cppNamespace = "::example";
  let summary = "Ops of the example plug-in";
  let dependentDialects = ["::mlir::heddle::HeddleDialect"];
}

def Example_LerpOp : Op<Example_Dialect, "lerp", [Pure, SameOperandsAndResultType]> {
  let summary = "Linear interpolation between two tensors";
  let description = [{
    `a + t * (b - a)`, each step in f32. Becomes ops of heddle in `canonicalize`.
    ```mlir
    %y = example.lerp %a, %b by 0.25 : tensor<?x4xf32>
    ```
  }];
  let arguments = (ins Heddle_F32Tensor:$a, Heddle_F32Tensor:$b, F32Attr:$t);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$a `,` $b `by` $t attr-dict `:` type($result)";
  let hasCanonicalizer = 1;
}
