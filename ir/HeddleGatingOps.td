// Ops of head gating: attention heads that a row does not need are not computed (docs/head-gating.md).
#ifndef HEDDLE_GATING_OPS_TD
#define HEDDLE_GATING_OPS_TD

include "ir/HeddleOps.td"

def Heddle_HeadGateOp : Heddle_Op<"head_gate", [Pure]> {
  let summary = "The heads that each row needs, by a linear gate";
  let description = [{
    Head h of row i is selected where `sigmoid(sum_k input[i, k] * weight[h, k] + bias[h]) > 0.5`, which is where the sum is above 0: no sigmoid is
    computed, and a sum of exactly 0 or NaN selects nothing. The sum is in f32, in any order.
    ```mlir
    %heads = heddle.head_gate %x, %w bias %b : tensor<?x576xf32>, tensor<9x576xf32>, tensor<9xf32> -> !heddle.selection<heads, ?x9>
    ```
  }];
  let arguments = (ins 2DTensorOf<[F32]>:$input, 2DTensorOf<[F32]>:$weight, Optional<1DTensorOf<[F32]>>:$bias);
  let results = (outs Heddle_SelectionType:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? attr-dict `:` type($input) `,` type($weight) (`,` type($bias)^)? `->` type($result)
  }];
  let hasVerifier = 1;
}

def Heddle_MaskHeadsOp : Heddle_Op<"mask_heads", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Replace the heads that a row does not select";
  let description = [{
    A selected head of [rows, heads, width] stays, any other becomes its row of `skip`, zeros without `skip`, whatever it held (NaN too). Attention without a selection
    followed by this op computes what attention with the selection does.
    ```mlir
    %y = heddle.mask_heads %x by %heads skip %means : tensor<?x9x64xf32>, !heddle.selection<heads, ?x9>, tensor<9x64xf32>
    ```
  }];
  let arguments = (ins 3DTensorOf<[F32]>:$input, Heddle_SelectionType:$selection, Optional<2DTensorOf<[F32]>>:$skip);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = [{
    $input `by` $selection (`skip` $skip^)? attr-dict `:` type($input) `,` type($selection) (`,` type($skip)^)?
  }];
  let hasVerifier = 1;
}

def Heddle_SkippedSumOp : Heddle_Op<"skipped_sum", [Pure]> {
  let summary = "Sum of a table's rows over the heads that are not selected";
  let description = [{
    `result[i] = sum of table[h] over the heads h that row i does not select`, in ascending order of h, in f32. With a table of what each head's skip
    value contributes after the output projection, this is what skipping adds.
    ```mlir
    %y = heddle.skipped_sum %table by %heads : tensor<9x576xf32>, !heddle.selection<heads, ?x9> -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins 2DTensorOf<[F32]>:$table, Heddle_SelectionType:$selection);
  let results = (outs 2DTensorOf<[F32]>:$result);
  let assemblyFormat = "$table `by` $selection attr-dict `:` type($table) `,` type($selection) `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_BlockDiagonalOp : Heddle_Op<"block_diagonal", [Pure]> {
  let summary = "Rows of a matrix as the blocks of a block-diagonal matrix, for a parameter's recipe";
  let description = [{
    Row h of [H, D] lies at columns h * D to h * D + D of row h of [H, H * D]; all else is 0. A `linear` of the result projects every head's
    row by itself.
    ```mlir
    %y = heddle.block_diagonal %x : tensor<9x64xf32> -> tensor<9x576xf32>
    ```
  }];
  let arguments = (ins 2DTensorOf<[F32]>:$input);
  let results = (outs 2DTensorOf<[F32]>:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_KeepPartsOp : Heddle_Op<"keep_parts", [Pure]> {
  let summary = "Some of the equal parts of an axis, for a parameter's recipe";
  let description = [{
    Cuts axis `axis` into as many equal parts as `keep` has entries and keeps those where it is true, in order. Stored weights keep their bytes, so parts of
    their last axis are whole blocks.
    ```mlir
    %y = heddle.keep_parts %w axis 0 keep [true, false, true] : !heddle.stored<48x32xf32, #heddle.enc<q8_0>> -> !heddle.stored<32x32xf32, #heddle.enc<q8_0>>
    ```
  }];
  let arguments = (ins Heddle_Numbers:$input, I64Attr:$axis, DenseBoolArrayAttr:$keep);
  let results = (outs Heddle_Numbers:$result);
  let assemblyFormat = "$input `axis` $axis `keep` $keep attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Numbers of the parts that stay, ascending.
    ::llvm::SmallVector<int64_t> keptParts();
    /// Elements of a part along the axis.
    int64_t partSize();
  }];
}

#endif
