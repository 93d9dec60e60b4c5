// Model-level ops. What each computes is stated in its description; accumulation is f32 unless it says otherwise.
#ifndef HEDDLE_OPS_TD
#define HEDDLE_OPS_TD

include "ir/HeddleBase.td"
include "ir/HeddleInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Heddle_Op<string mnemonic, list<Trait> traits = []> : Op<Heddle_Dialect, mnemonic, traits>;

//===-------------------------------------------------------------------------------------------------------------===//
// Parameters and state
//===-------------------------------------------------------------------------------------------------------------===//

def Heddle_ParamOp : Heddle_Op<"param", [Symbol, IsolatedFromAbove]> {
  let summary = "A parameter: numbers in a file, written out, or derived from others";
  let description = [{
    A *source* names bytes of one of the model's files (`file 0 at 4096`) or holds its numbers (`value`). A *derived*
    parameter has a recipe, a region over the parameters it comes from, which the packager evaluates; passes
    change weights only thus, so large weights never enter the IR.

    ```mlir
    heddle.param @w : !heddle.stored<576x576xf32, #heddle.enc<q4_1>> file 0 at 4096
    heddle.param @b : tensor<4xf32> value dense<1.0> : tensor<4xf32>
    heddle.param @p : !heddle.stored<576x576xf32, #heddle.enc<q4_1, w16>> derived [@w] {
    ^bb0(%w: !heddle.stored<576x576xf32, #heddle.enc<q4_1>>):
      %0 = heddle.pack %w : !heddle.stored<576x576xf32, #heddle.enc<q4_1>> -> !heddle.stored<576x576xf32, #heddle.enc<q4_1, w16>>
      heddle.yield %0 : !heddle.stored<576x576xf32, #heddle.enc<q4_1, w16>>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, OptionalAttr<I64Attr>:$file,
                       OptionalAttr<I64Attr>:$offset, OptionalAttr<ElementsAttr>:$value,
                       OptionalAttr<FlatSymbolRefArrayAttr>:$from);
  let regions = (region AnyRegion:$recipe);
  let assemblyFormat = [{
    $sym_name `:` $type (`file` $file^ `at` $offset)? (`value` $value^)? (`derived` $from^)? ($recipe^)? attr-dict
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def Heddle_GetParamOp : Heddle_Op<"get_param", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The value of a parameter";
  let arguments = (ins FlatSymbolRefAttr:$param);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$param attr-dict `:` type($result)";
}

def Heddle_CacheOp : Heddle_Op<"cache", [Symbol]> {
  let summary = "The KV cache of one layer";
  let description = [{
    Declares state that every session owns. `window` is the number of tokens that a row can see back, itself included; 0 means all.
    ```mlir
    heddle.cache @kv.0 : !heddle.kv_cache<3x64x64xf16>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Heddle_KvCacheType>:$type,
                       DefaultValuedAttr<I64Attr, "0">:$window);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
}

def Heddle_GetCacheOp : Heddle_Op<"get_cache", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A handle to a KV cache";
  let arguments = (ins FlatSymbolRefAttr:$cache);
  let results = (outs Heddle_KvCacheType:$result);
  let assemblyFormat = "$cache attr-dict `:` type($result)";
}

def Heddle_PackOp : Heddle_Op<"pack", [Pure]> {
  let summary = "Change the physical layout of stored numbers, not their values";
  let description = [{ From the file's row order to a layout that kernels read (docs/kernel-abi.md, "Packed weights"). }];
  let arguments = (ins Heddle_StoredType:$input);
  let results = (outs Heddle_StoredType:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_QuantizeWeightsOp : Heddle_Op<"quantize_weights", [Pure]> {
  let summary = "Round weights into another storage format";
  let description = [{
    `scheme` is a name of docs/quantization.md; it says the format of the result and which weights share a scale. The weights are decoded to f32 and each becomes its
    nearest code (half to even). The scale takes in the largest weight, or, with `search`, is the one of some around it that gives the least square
    error (integers only). ir/WeightEncoding.h defines both.
    ```mlir
    %q = heddle.quantize_weights %w {scheme = "int4", search} : !heddle.stored<64x32xf32, #heddle.enc<f32>> -> !heddle.stored<64x32xf32, #heddle.enc<q4_0>>
    ```
  }];
  let arguments = (ins Heddle_StoredType:$input, StrAttr:$scheme, UnitAttr:$search);
  let results = (outs Heddle_StoredType:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_RopeTableOp : Heddle_Op<"rope_table", [Pure]> {
  let summary = "Cosines and sines of rotary position embedding, for a parameter's recipe";
  let description = [{
    Row p holds `cos(p * f_i)` for i < D/2, then `sin(p * f_i)`, with `f_i = scale * base^(-2i/D) / factors_i` (factors 1 where absent),
    computed in f64 and rounded to f32 once. RoFormer, arXiv 2104.09864.
  }];
  let arguments = (ins Optional<1DTensorOf<[F32]>>:$factors, F64Attr:$base, DefaultValuedAttr<F64Attr, "1.0">:$scale);
  let results = (outs 2DTensorOf<[F32]>:$result);
  let assemblyFormat = "($factors^ `:` type($factors))? attr-dict `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_YieldOp : Heddle_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "End of a recipe, an attention region or a kernel";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
}

//===-------------------------------------------------------------------------------------------------------------===//
// Tensor ops
//===-------------------------------------------------------------------------------------------------------------===//

def Heddle_EmbeddingOp : Heddle_Op<"embedding", [Pure]> {
  let summary = "Rows of a table, by index";
  let description = [{
    Row i of the result is `scale * table[indices[i]]`, decoded to f32, then one multiplication. An index outside of the table reads row 0
    or the last row (it is clamped): no address comes from user data unchecked.
    ```mlir
    %0 = heddle.embedding %table, %tokens : !heddle.stored<49152x576xf32, #heddle.enc<q8_0>>, tensor<?xi32> -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Heddle_Numbers:$table, Heddle_Indices:$indices, DefaultValuedAttr<F32Attr, "1.0f">:$scale);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$table `,` $indices attr-dict `:` type($table) `,` type($indices) `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_GatherRowsOp : Heddle_Op<"gather_rows", [Pure]> {
  let summary = "Rows of a tensor, by index; an index outside is clamped";
  let arguments = (ins Heddle_F32Tensor:$input, Heddle_Indices:$indices);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$input `,` $indices attr-dict `:` type($input) `,` type($indices) `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_Selected : Heddle_Enum<"Selected", "what of a product a selection of heads covers", [
  I32EnumAttrCase<"Results", 0, "results">, I32EnumAttrCase<"Inputs", 1, "inputs">]>;
def Heddle_SelectedAttr : EnumAttr<Heddle_Dialect, Heddle_Selected, "selected"> { let assemblyFormat = "`<` $value `>`"; }

def Heddle_LinearOp : Heddle_Op<"linear", [Pure, AttrSizedOperandSegments]> {
  let summary = "Matrix product with a weight matrix stored as [out, in], plus bias";
  let description = [{
    `result[m, r] = sum_k input[m, k] * weight[r, k] + bias[r]`. The input is f32, or activations that `quantize` made, in which case block-wise
    integer sums are exact and scales apply in f32 (docs/kernel-abi.md, "What a contraction computes"). With
    `act_bf16` activations each weight is rounded to bf16 too, products are exact, and sums are f32 in any order.
    ```mlir
    %y = heddle.linear %x, %w : tensor<?x576xf32>, !heddle.stored<1536x576xf32, #heddle.enc<q4_1>> -> tensor<?x1536xf32>
    %z = heddle.linear %x, %w bias %b : tensor<?x576xf32>, !heddle.stored<1536x576xf32, #heddle.enc<f16>>, tensor<1536xf32> -> tensor<?x1536xf32>
    ```
    A selection of heads is a promise by which code may do less. `select <results>`: nobody reads the results of heads that a row does not select, which are
    undefined. `select <inputs>`: the input is 0 in heads that a row does not select.
    ```mlir
    %q = heddle.linear %x, %w select <results>(%heads : !heddle.selection<heads, ?x9>) : tensor<?x576xf32>, !heddle.stored<576x576xf32, #heddle.enc<q4_1>> -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Heddle_Numbers:$input, Heddle_StoredType:$weight, Optional<1DTensorOf<[F32]>>:$bias,
                       Optional<Heddle_SelectionType>:$selection, OptionalAttr<Heddle_SelectedAttr>:$selected);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? (`select` $selected^ `(` $selection `:` type($selection) `)`)? attr-dict
    `:` type($input) `,` type($weight) (`,` type($bias)^)? `->` type($result)
  }];
  let builders = [OpBuilder<(ins "Type":$result, "Value":$input, "Value":$weight, "Value":$bias), [{
    build($_builder, $_state, result, input, weight, bias, Value(), SelectedAttr());
  }]>];
  let extraClassDeclaration = [{
    /// Whether the weight is stored in blocks, whose products want rounded activations.
    bool hasBlockWeight();
  }];
  let hasVerifier = 1;
}

def Heddle_RmsNormOp : Heddle_Op<"rms_norm", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Root-mean-square normalization over the innermost axis";
  let description = [{
    Replaces each innermost row `x` by `x * weight / sqrt(mean(x * x) + epsilon)`, all in f32. arXiv 1910.07467.
    ```mlir
    %y = heddle.rms_norm %x, %w {epsilon = 1.0e-5 : f32} : tensor<?x576xf32>, tensor<576xf32>
    ```
  }];
  let arguments = (ins Heddle_F32Tensor:$input, 1DTensorOf<[F32]>:$weight, DefaultValuedAttr<F32Attr, "1.0e-5f">:$epsilon);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($input) `,` type($weight)";
  let hasVerifier = 1;
}

def Heddle_LayerNormOp : Heddle_Op<"layer_norm", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Layer normalization over the innermost axis";
  let description = [{
    Replaces each innermost row `x` by `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * weight + bias`, all in f32. arXiv 1607.06450.
  }];
  let arguments = (ins Heddle_F32Tensor:$input, 1DTensorOf<[F32]>:$weight, 1DTensorOf<[F32]>:$bias,
                       DefaultValuedAttr<F32Attr, "1.0e-5f">:$epsilon);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$input `,` $weight `,` $bias attr-dict `:` type($input) `,` type($weight) `,` type($bias)";
  let hasVerifier = 1;
}

def Heddle_L2NormalizeOp : Heddle_Op<"l2_normalize", [Pure, SameOperandsAndResultType]> {
  let summary = "Scale each innermost row to Euclidean length 1; a row shorter than epsilon is divided by epsilon";
  let arguments = (ins Heddle_F32Tensor:$input, DefaultValuedAttr<F32Attr, "1.0e-12f">:$epsilon);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

def Heddle_Pairing : Heddle_Enum<"Pairing", "which elements rotate together", [
  I32EnumAttrCase<"Interleaved", 0, "interleaved">, I32EnumAttrCase<"Half", 1, "half">]>;
def Heddle_PairingAttr : EnumAttr<Heddle_Dialect, Heddle_Pairing, "pairing"> { let assemblyFormat = "`<` $value `>`"; }

def Heddle_RopeOp : Heddle_Op<"rope", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Rotary position embedding of [rows, heads, width]";
  let description = [{
    Rotates pairs of the first R elements of every head by the angles of row `positions[i]` of the table, which is [positions, R]
    (cosines, then sines: `rope_table`). Pairs are (2i, 2i+1) when `interleaved`, (i, i + R/2) when `half`. A position outside the table is clamped.
    ```mlir
    %q = heddle.rope <interleaved> %x, %table, %positions : tensor<?x9x64xf32>, tensor<4096x64xf32>, tensor<?xi32>
    ```
  }];
  let arguments = (ins Heddle_PairingAttr:$pairing, 3DTensorOf<[F32]>:$input, 2DTensorOf<[F32]>:$table, Heddle_Indices:$positions);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$pairing $input `,` $table `,` $positions attr-dict `:` type($input) `,` type($table) `,` type($positions)";
  let hasVerifier = 1;
}

def Heddle_CacheAppendOp : Heddle_Op<"cache_append", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Store keys and values of rows at their positions, rounded to the cache's element type";
  let arguments = (ins Heddle_KvCacheType:$cache, 3DTensorOf<[F32]>:$keys, 3DTensorOf<[F32]>:$values, Heddle_Indices:$slots,
                       Heddle_Indices:$positions);
  let assemblyFormat = [{
    $cache `,` $keys `,` $values `at` $slots `,` $positions attr-dict `:` type($cache) `,` type($keys) `,` type($values) `,` type($slots) `,` type($positions)
  }];
  let hasVerifier = 1;
}

def Heddle_AttentionOp : Heddle_Op<"attention", [AttrSizedOperandSegments, DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
                                                 ScoringOpInterface]> {
  let summary = "Scaled dot-product attention with score and mask regions";
  let description = [{
    For row i of slot s at position p and query head h (KV head g = h / (Hq / Hk)): over the keys j of slot s,
    `score_j = region(scale * dot(q[i,h], key_j[g]))`; keys whose mask is false drop out; the result is `sum_j softmax(score)_j * value_j[g]`.

    With a cache, the rows' own keys and values are appended first if given, and the keys are positions 0..p of the slot (a row never sees past
    its own position). Without a cache the keys are the rows of this call with the same slot, and `keys` and `values` are required; with
    `from %sequences` (cross attention) they are the rows of `keys` whose sequence is the slot, and their positions count from 0 in each sequence.
    A row with no visible key yields zeros.

    The score region maps (score: f32, q_head, kv_head, q_pos, kv_pos, slot: i32) to f32; the mask region, which may be absent, maps the same
    arguments to i1. A seventh argument, if declared, is the number of the query's row in this call. Both may hold arith and math ops and read
    tensors from outside by `heddle.element`.

    `select` takes at most one selection of heads and one of tokens or blocks (docs/ir.md, "Selections"): a key is seen where both it and the mask say so,
    and a head that is not selected yields its row of `skip`, or zeros.

    A result of rank 4, [rows, heads, chunks, Dv + 2], is not merged: each chunk of 256 positions has its sum of weighted values, the sum of its weights and its
    largest score, for `merge_chunks` (heddle-split-attention makes these, so that workers can share out one long context). Chunks past the row's position hold
    anything, those without a visible key 0 as sum of weights.
    ```mlir
    %o = heddle.attention %q cache %c at %slots, %positions select(%blocks : !heddle.selection<blocks, ?x32, 64>) {scale = 1.250000e-01 : f32} score {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      %slope = heddle.element %slopes[%qh] : tensor<9xf32>
      %d = arith.subi %kp, %qp : i32
      %x = arith.sitofp %d : i32 to f32
      %bias = arith.mulf %slope, %x : f32
      %y = arith.addf %s, %bias : f32
      heddle.yield %y : f32
    } mask {
    } : tensor<?x9x64xf32> cache !heddle.kv_cache<3x64x64xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x9x64xf32>
    ```
  }];
  let arguments = (ins 3DTensorOf<[F32]>:$query, Optional<3DTensorOf<[F32]>>:$keys, Optional<3DTensorOf<[F32]>>:$values,
                       Optional<Heddle_KvCacheType>:$cache, Optional<Heddle_Indices>:$key_sequences, Heddle_Indices:$slots,
                       Heddle_Indices:$positions, Variadic<Heddle_SelectionType>:$selections, Optional<2DTensorOf<[F32]>>:$skip, F32Attr:$scale);
  let results = (outs RankedTensorOf<[F32]>:$result);
  let regions = (region SizedRegion<1>:$score, AnyRegion:$mask);
  let assemblyFormat = [{
    $query (`keys` $keys^ `values` $values)? (`cache` $cache^)? (`from` $key_sequences^)? `at` $slots `,` $positions
    (`select` `(` $selections^ `:` type($selections) `)`)? (`skip` $skip^ `:` type($skip))? attr-dict
    `score` $score `mask` $mask `:` type($query) (`,` type($keys)^ `,` type($values))? (`cache` type($cache)^)? (`from` type($key_sequences)^)?
    `,` type($slots) `,` type($positions) `->` type($result)
  }];
  let builders = [OpBuilder<(ins "Type":$result, "Value":$query, "Value":$keys, "Value":$values, "Value":$cache, "Value":$slots,
                                 "Value":$positions, "FloatAttr":$scale), [{
    build($_builder, $_state, result, query, keys, values, cache, Value(), slots, positions, ValueRange(), Value(), scale);
  }]>];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// Query heads that share one KV head.
    int64_t groupSize();
    int64_t kvHeads();
    int64_t valueDim();
    /// Whether the result's chunks are not merged.
    bool isSplit() { return ::llvm::cast<::mlir::ShapedType>(getType()).getRank() == 4; }
    /// The selection of heads, or null.
    ::mlir::Value headSelection();
    /// The selection of tokens or blocks, or null.
    ::mlir::Value keySelection();
  }];
}

def Heddle_MergeChunksOp : Heddle_Op<"merge_chunks", [Pure]> {
  let summary = "Chunks of attention, computed apart, become its result";
  let description = [{
    Merges the chunks 0 to `positions[i] / 256` of row i that `attention` with a result of rank 4 left, in ascending order, and divides by the sum of weights
    (docs/kernel-abi.md, "Attention"): the same bits as attention that merges them itself.
    ```mlir
    %o = heddle.merge_chunks %chunks at %positions : tensor<?x9x8x66xf32>, tensor<?xi32> -> tensor<?x9x64xf32>
    ```
  }];
  let arguments = (ins 4DTensorOf<[F32]>:$chunks, Heddle_Indices:$positions);
  let results = (outs 3DTensorOf<[F32]>:$result);
  let assemblyFormat = "$chunks `at` $positions attr-dict `:` type($chunks) `,` type($positions) `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_ElementOp : Heddle_Op<"element", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>, ParentOneOf<["AttentionOp", "TopKOp"]>]> {
  let summary = "One number of a tensor, in a region of attention";
  let description = [{
    An index outside of the tensor is clamped: no address comes from computed numbers unchecked. Tensors come from outside of the region: parameters,
    constants, values of the function. Where the first dimension is dynamic it has the rows of the query.
    ```mlir
    %bias = heddle.element %biases[%qh, %qp, %kp] : tensor<9x512x512xf32>
    ```
  }];
  let arguments = (ins AnyTypeOf<[RankedTensorOf<[F32, I32]>]>:$tensor, Variadic<I32>:$indices);
  let results = (outs AnyTypeOf<[F32, I32]>:$result);
  let assemblyFormat = "$tensor `[` $indices `]` attr-dict `:` type($tensor)";
  let hasVerifier = 1;
}

def Heddle_TopKOp : Heddle_Op<"top_k", [AttrSizedOperandSegments, DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
                                        ScoringOpInterface]> {
  let summary = "For every row the k tokens whose keys score highest";
  let description = [{
    Scores as `attention` does (same operands, same regions), sums a key's scores over the query heads in ascending order, and selects the `k`
    largest sums among the keys that are seen; of equal ones the earlier; a sum that is NaN or minus infinity is not selected. A head whose mask says no adds nothing; a key is seen where the mask of the first head says so.
    ```mlir
    %tokens = heddle.top_k 64 of %q cache %c at %slots, %positions {scale = 1.250000e-01 : f32} score {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      heddle.yield %s : f32
    } mask {
    } : tensor<?x9x64xf32> cache !heddle.kv_cache<3x64x64xf16>, tensor<?xi32>, tensor<?xi32> -> !heddle.selection<tokens, ?x2048>
    ```
  }];
  let arguments = (ins I64Attr:$k, 3DTensorOf<[F32]>:$query, Optional<3DTensorOf<[F32]>>:$keys, Optional<Heddle_KvCacheType>:$cache,
                       Optional<Heddle_Indices>:$key_sequences, Heddle_Indices:$slots, Heddle_Indices:$positions, F32Attr:$scale);
  let results = (outs Heddle_SelectionType:$result);
  let regions = (region SizedRegion<1>:$score, AnyRegion:$mask);
  let assemblyFormat = [{
    $k `of` $query (`keys` $keys^)? (`cache` $cache^)? (`from` $key_sequences^)? `at` $slots `,` $positions attr-dict
    `score` $score `mask` $mask `:` type($query) (`,` type($keys)^)? (`cache` type($cache)^)? (`from` type($key_sequences)^)?
    `,` type($slots) `,` type($positions) `->` type($result)
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def Heddle_SelectBlocksOp : Heddle_Op<"select_blocks", [Pure]> {
  let summary = "Blocks of tokens where a mask is positive";
  let description = [{
    Block b is selected for row i where `mask[i, b] > 0` (so NaN selects nothing). With positions, the mask's rows are blocks of queries instead:
    `mask[min(positions[i] / block, last), b] > 0`.
    ```mlir
    %blocks = heddle.select_blocks %mask at %positions : tensor<32x32xf32>, tensor<?xi32> -> !heddle.selection<blocks, ?x32, 64>
    ```
  }];
  let arguments = (ins 2DTensorOf<[F32]>:$mask, Optional<Heddle_Indices>:$positions);
  let results = (outs Heddle_SelectionType:$result);
  let assemblyFormat = "$mask (`at` $positions^)? attr-dict `:` type($mask) (`,` type($positions)^)? `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_UnaryKind : Heddle_Enum<"UnaryKind", "function of one number", [
  I32EnumAttrCase<"Silu", 0, "silu">, I32EnumAttrCase<"GeluTanh", 1, "gelu_tanh">, I32EnumAttrCase<"GeluErf", 2, "gelu_erf">,
  I32EnumAttrCase<"Tanh", 3, "tanh">, I32EnumAttrCase<"Sigmoid", 4, "sigmoid">, I32EnumAttrCase<"Relu", 5, "relu">,
  I32EnumAttrCase<"Exp", 6, "exp">]>;
def Heddle_UnaryKindAttr : EnumAttr<Heddle_Dialect, Heddle_UnaryKind, "unary_kind"> { let assemblyFormat = "`<` $value `>`"; }

def Heddle_UnaryOp : Heddle_Op<"unary", [Pure, SameOperandsAndResultType, DeclareOpInterfaceMethods<ElementwiseOpInterface>]> {
  let summary = "A function of each element";
  let description = [{
    `silu` x / (1 + exp(-x)); `gelu_tanh` 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); `gelu_erf` 0.5 x (1 + erf(x / sqrt 2)); `tanh`; `sigmoid`;
    `relu` max(x, 0); `exp`. Compiled code may differ from the exact function by the ulp that docs/cpu-kernels.md states; NaN stays NaN.
    ```mlir
    %y = heddle.unary <silu> %x : tensor<?x1536xf32>
    ```
  }];
  let arguments = (ins Heddle_UnaryKindAttr:$kind, Heddle_F32Tensor:$input);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($input)";
}

def Heddle_BinaryKind : Heddle_Enum<"BinaryKind", "function of two numbers", [
  I32EnumAttrCase<"Add", 0, "add">, I32EnumAttrCase<"Sub", 1, "sub">, I32EnumAttrCase<"Mul", 2, "mul">, I32EnumAttrCase<"Div", 3, "div">,
  I32EnumAttrCase<"Max", 4, "max">, I32EnumAttrCase<"Min", 5, "min">]>;
def Heddle_BinaryKindAttr : EnumAttr<Heddle_Dialect, Heddle_BinaryKind, "binary_kind"> { let assemblyFormat = "`<` $value `>`"; }

def Heddle_BinaryOp : Heddle_Op<"binary", [Pure, SameOperandsAndResultType, DeclareOpInterfaceMethods<ElementwiseOpInterface>]> {
  let summary = "A function of two tensors, element by element; one f32 rounding";
  let description = [{
    ```mlir
    %y = heddle.binary <add> %a, %b : tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Heddle_BinaryKindAttr:$kind, Heddle_F32Tensor:$lhs, Heddle_F32Tensor:$rhs);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$kind $lhs `,` $rhs attr-dict `:` type($result)";
}

def Heddle_ScaleOp : Heddle_Op<"scale", [Pure, SameOperandsAndResultType, DeclareOpInterfaceMethods<ElementwiseOpInterface>]> {
  let summary = "Multiply every element by a constant; one f32 rounding";
  let arguments = (ins Heddle_F32Tensor:$input, F32Attr:$factor);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$input `by` $factor attr-dict `:` type($input)";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Heddle_ReshapeOp : Heddle_Op<"reshape", [Pure]> {
  let summary = "The same numbers under another inner shape";
  let description = [{
    Rows stay rows: the first dimension is kept, the product of the others too. Costs nothing.
    ```mlir
    %q = heddle.reshape %x : tensor<?x576xf32> -> tensor<?x9x64xf32>
    ```
  }];
  let arguments = (ins Heddle_F32Tensor:$input);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def Heddle_PoolKind : Heddle_Enum<"PoolKind", "how rows of a sequence become one", [
  I32EnumAttrCase<"Mean", 0, "mean">, I32EnumAttrCase<"First", 1, "first">, I32EnumAttrCase<"Last", 2, "last">]>;
def Heddle_PoolKindAttr : EnumAttr<Heddle_Dialect, Heddle_PoolKind, "pool_kind"> { let assemblyFormat = "`<` $value `>`"; }

def Heddle_PoolRowsOp : Heddle_Op<"pool_rows", [Pure]> {
  let summary = "One row for each sequence of rows";
  let description = [{
    `sequences[i]` is the sequence of row i; rows of a sequence are contiguous and ascending, sequences are numbered from 0. `mean` sums in row order in
    f32 and divides once. A sequence without rows yields zeros.
  }];
  let arguments = (ins Heddle_PoolKindAttr:$kind, 2DTensorOf<[F32]>:$input, Heddle_Indices:$sequences);
  let results = (outs 2DTensorOf<[F32]>:$result);
  let assemblyFormat = "$kind $input `,` $sequences attr-dict `:` type($input) `,` type($sequences) `->` type($result)";
  let hasVerifier = 1;
}

//===-------------------------------------------------------------------------------------------------------------===//
// Precision
//===-------------------------------------------------------------------------------------------------------------===//

def Heddle_QuantizeOp : Heddle_Op<"quantize", [Pure]> {
  let summary = "Round activations to integers with a scale for each block of 32 along a row, or to bf16";
  let description = [{
    `act_i8`: scale amax/127; `act_i16`: amax/32512; codes round half to even (docs/kernel-abi.md, "Quantized activations").
    `act_i8_row`: as `act_i8` with one scale for the whole row; `act_i8_128`: with one for each 128 columns. With `scale` (static activations) all blocks have that one instead, and codes are the nearest
    to `x * (1 / scale)` within +-127 (`act_i8`) or +-32512 (`act_i16`); those of numbers that are not finite are 0.
    `act_bf16`: half to even; what is too small for a normal number becomes zero. Nothing but `choose-precision` inserts it.
    ```mlir
    %q = heddle.quantize %x : tensor<?x576xf32> -> !heddle.stored<?x576xf32, #heddle.enc<act_i8>>
    ```
  }];
  let arguments = (ins 2DTensorOf<[F32]>:$input, OptionalAttr<F32Attr>:$scale);
  let results = (outs Heddle_StoredType:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Heddle_DequantizeOp : Heddle_Op<"dequantize", [Pure]> {
  let summary = "The f32 numbers of a stored value, one rounding for each multiplication of its format";
  let arguments = (ins Heddle_StoredType:$input);
  let results = (outs Heddle_F32Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

#endif
