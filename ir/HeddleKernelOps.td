// Kernel-level ops.
#ifndef HEDDLE_KERNEL_OPS_TD
#define HEDDLE_KERNEL_OPS_TD

include "ir/HeddleGatingOps.td"
include "mlir/Interfaces/FunctionInterfaces.td"

def Heddle_Family : Heddle_Enum<"Family", "which generator makes a kernel's code", [
  I32EnumAttrCase<"Contraction", 0, "contraction">, I32EnumAttrCase<"Attention", 1, "attention">, I32EnumAttrCase<"Rows", 2, "rows">]>;
def Heddle_FamilyAttr : EnumAttr<Heddle_Dialect, Heddle_Family, "family"> { let assemblyFormat = "`<` $value `>`"; }

def Heddle_KernelOp : Heddle_Op<"kernel", [Symbol, IsolatedFromAbove, SingleBlock]> {
  let summary = "A fused group of ops that becomes one function of a target";
  let description = [{
    The body has one block; its arguments are everything the group reads (parameters and caches included), its `heddle.yield` everything others
    read. The generator's decisions stand in `schedule`. Structurally equal kernels are one symbol (`share-kernels`).
    ```mlir
    heddle.kernel @rms_norm_quantize family <rows> target "cpu" {
    ^bb0(%x: tensor<?x576xf32>, %w: tensor<576xf32>):
      %0 = heddle.rms_norm %x, %w : tensor<?x576xf32>, tensor<576xf32>
      %1 = heddle.quantize %0 : tensor<?x576xf32> -> !heddle.stored<?x576xf32, #heddle.enc<act_i8>>
      heddle.yield %1 : !heddle.stored<?x576xf32, #heddle.enc<act_i8>>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Heddle_FamilyAttr:$family, StrAttr:$target,
                       DefaultValuedAttr<DictionaryAttr, "{}">:$schedule);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `family` $family `target` $target (`schedule` $schedule^)? attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
}

def Heddle_LaunchOp : Heddle_Op<"launch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Call of a kernel";
  let description = [{
    `rows` names the dimension that the kernel's items run over (`n`, `m` or `s`). After `plan-memory`, `arena` gives every result's byte offset in the activation
    arena (-1: the result is an output of the function), and `barrier` says whether workers must meet before it. The location carries the source nodes.
    ```mlir
    %q = heddle.launch @rms_norm_quantize(%h, %w) over "n" : (tensor<?x576xf32>, tensor<576xf32>) -> !heddle.stored<?x576xf32, #heddle.enc<act_i8>>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<AnyType>:$inputs, StrAttr:$rows, OptionalAttr<DenseI64ArrayAttr>:$arena,
                       UnitAttr:$barrier);
  let results = (outs Variadic<AnyType>:$results);
  let assemblyFormat = [{
    $kernel `(` $inputs `)` `over` $rows (`arena` $arena^)? (`barrier` $barrier^)? attr-dict `:` functional-type($inputs, $results)
  }];
}

#endif
