// The passes and their manual. In the order in which codegen/Pipelines.cpp runs them.
#ifndef HEDDLE_PASSES_TD
#define HEDDLE_PASSES_TD
include "mlir/Pass/PassBase.td"

def InsertQuantizationPass : Pass<"heddle-insert-quantization", "mlir::ModuleOp"> {
  let summary = "Round weights as the user or calibration asks";
  let description = [{
    Each stored matrix that a `linear` or an `embedding` reads gets a `quantize_weights` (schemes: docs/quantization.md) between itself and those readers, which share it. The scheme is, in
    this order, that of the weight's entry in the module attribute `heddle.quantization`, of the first rule `PATTERN=SCHEME` in `schemes` whose pattern (`*`, `?`, `[a-z]`)
    fits its name, or the rule without a pattern. `keep` leaves a weight as it is. An entry with `file` and `offset` names weights that are rounded already (by second-order rounding, for instance):
    the readers then read those. `cost` of a decision is the weight's size in bytes.
    ```mlir
    %w = heddle.get_param @up : !heddle.stored<64x32xf32, #heddle.enc<f32>>       // before
    %y = heddle.linear %x, %w : ...
    %w = heddle.get_param @up : !heddle.stored<64x32xf32, #heddle.enc<f32>>       // after, schemes=int4
    %q = heddle.quantize_weights %w {scheme = "int4"} : ... -> !heddle.stored<64x32xf32, #heddle.enc<q4_0>>
    %y = heddle.linear %x, %q : ...
    ```
  }];
  let options = [ListOption<"schemes", "schemes", "std::string", "SCHEME for all weights, PATTERN=SCHEME for some">,
                 Option<"search", "search", "bool", "false", "Scales of least square error instead of those that take in the largest weight">];
}

def FoldQuantizationPass : Pass<"heddle-fold-quantization", "mlir::ModuleOp"> {
  let summary = "Round parameters once, when the model is packaged";
  let description = [{
    A `quantize_weights` of a parameter moves from the function into the recipe of a derived parameter, which the packager evaluates row by row; a step never sees
    the original weights.
    ```mlir
    %w = heddle.get_param @up : !heddle.stored<64x32xf32, #heddle.enc<f32>>                      // before
    %q = heddle.quantize_weights %w {scheme = "int4"} : ...
    heddle.param @up.int4 : !heddle.stored<64x32xf32, #heddle.enc<q4_0>> derived [@up] { ... }   // after
    %q = heddle.get_param @up.int4 : !heddle.stored<64x32xf32, #heddle.enc<q4_0>>
    ```
  }];
}

def InsertObserversPass : Pass<"heddle-insert-observers", "mlir::ModuleOp"> {
  let summary = "Return intermediate values of an entry beside its results";
  let description = [{
    Calibration needs to see what flows through a model. Each value that is asked for becomes one more result of the function, in order of appearance:

    - `linear`: what each `linear` reads, named `observe.input:NODE`. Readers of one value share the result: `observe.input:blk.0.attn_q,blk.0.attn_k`.
    - `attention`: what each `attention` yields, with its heads joined where a reshape does so: `observe.attention:blk.0.attn`. A value that is both is named
      `observe.attention:blk.0.attn;input:blk.0.attn_output`.

    Arguments of the function are not returned. The values stay what they were, but they are stored, so fusion has less to fuse.
    ```mlir
    func.func @f(...) -> tensor<?x8xf32>                                             // before
    func.func @f(...) -> (tensor<?x8xf32>,                                           // after
                          tensor<?x16xf32> {heddle.name = "observe.input:blk.0.ffn_down"})
    ```
  }];
  let options = [ListOption<"observe", "observe", "std::string", "linear, attention">];
}

def InsertHeadGatingPass : Pass<"heddle-insert-head-gating", "mlir::ModuleOp"> {
  let summary = "Gate the heads of attention by parameters of the module";
  let description = [{
    An attention at source node N whose module has a parameter `N.gate.weight` gets a `head_gate` on the layer's input: what its query projection reads. With
    `N.gate.bias` and `N.gate.skip` (the value that a skipped head takes; zeros without it) if they exist. An attention whose heads are selected
    already, or whose queries come otherwise than from one product that they alone read, is left as it is.
    ```mlir
    %q = heddle.linear %x, %wq ...                                                   // before
    %o = heddle.attention %q keys %k values %v cache %c at %s, %p ...
    %heads = heddle.head_gate %x, %gate bias %b : ...                                // after
    %q = heddle.linear %x, %wq ...
    %o = heddle.attention %q keys %k values %v cache %c at %s, %p select(%heads : !heddle.selection<heads, ?x9>) skip %skip : ...
    ```
  }];
}

def SpecializeHeadMaskPass : Pass<"heddle-specialize-head-mask", "mlir::ModuleOp"> {
  let summary = "Remove attention heads that no row needs";
  let description = [{
    An attention at source node N whose module has a constant `N.gate.keep` (i1 [heads]) loses the heads where it is false: their rows of the query projection, their
    columns of the output projection, and their gates vanish (derived parameters, `keep_parts`). What their skip values contribute becomes part of the output
    projection's bias. Rows of keys and values, and their place in the cache, vanish where all query heads of a group are off.

    All groups keep the same number of query heads: where fewer of one group are off than of another, the others stay as heads whose gate is always off. An
    attention whose regions tell heads apart, or whose heads cannot be cut out of its projections, stays whole: its gate turns those heads off.
    `cost` of a decision is the bytes of weights that vanish.
    ```mlir
    %q = heddle.linear %x, %wq : ... -> tensor<?x64xf32>              // before, @attn.gate.keep = [true, false, true, false], two KV heads
    %q = heddle.linear %x, %wq.kept : ... -> tensor<?x32xf32>         // after
    ```
  }];
}

def LowerHeadGatingPass : Pass<"heddle-lower-head-gating", "mlir::ModuleOp"> {
  let summary = "Skip what only skipped heads need";
  let description = [{
    Where attention selects heads, the product that makes its queries and the one that reads its result take the selection too, so that rows of the one and
    columns of the other are not read for heads that no row needs. A constant skip value moves behind the output projection: what it contributes there is a derived
    parameter, of which `skipped_sum` adds a row for each skipped head. Keys and values are made for all heads.

    With `dense`, attention computes all heads and `mask_heads` replaces those that are not selected: the same numbers (the same bits with a skip value of
    zeros), none of the work saved.
    ```mlir
    %q = heddle.linear %x, %wq ...                                                   // before
    %o = heddle.attention %q ... select(%heads : !heddle.selection<heads, ?x9>) skip %skip ...
    %y = heddle.linear %o, %wo ...
    %q = heddle.linear %x, %wq select <results>(%heads : ...) ...                    // after
    %o = heddle.attention %q ... select(%heads : !heddle.selection<heads, ?x9>) ...
    %0 = heddle.linear %o, %wo select <inputs>(%heads : ...) ...
    %1 = heddle.skipped_sum %skip.projected by %heads : ...
    %y = heddle.binary <add> %0, %1 : tensor<?x576xf32>
    ```
  }];
  let options = [Option<"dense", "dense", "bool", "false", "Compute all heads, then mask">];
}

def InferShapesPass : Pass<"heddle-infer-shapes", "mlir::ModuleOp"> {
  let summary = "Name and check the rows of every value of an entry";
  let description = [{
    Every activation has rows, its first dimension: rows of the call (`n`), wanted rows (`m`) or sequences (`s`). The pass follows the names from
    `heddle.dims` of the arguments through the function. Where rows of two names meet in one op it reports both values' source nodes. Results get the
    `heddle.dims` that their rows follow from, bounds included.
    ```mlir
    func.func @step(%h: tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 512>]},                        // before
                    %wanted: tensor<?xi32> {heddle.dims = [#heddle.dim<"m", 0 to 512>]}) -> tensor<?x8xf32>
    func.func @step(...) -> (tensor<?x8xf32> {heddle.dims = [#heddle.dim<"m", 0 to 512>]})                   // after, if it returns gather_rows
    ```
  }];
}

def ApplyAttentionPass : Pass<"heddle-apply-attention", "mlir::ModuleOp"> {
  let summary = "Give attention ops the regions of a named variant";
  let description = [{
    Replaces score and mask regions by those of `variant`: causal, window, alibi, or one that a plug-in brings (docs/plugins.md). `nodes` is a pattern
    with `*` and `?` of source nodes. Parameters that are not given have the variant's defaults. For experiments with models that were made for it: the results change.
    ```mlir
    } mask {                                                          // before
    }
    } mask {                                                          // after, variant=causal
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      %see = arith.cmpi sle, %kp, %qp : i32
      heddle.yield %see : i1
    }
    ```
  }];
  let options = [Option<"variant", "variant", "std::string", "", "Name of the variant">,
                 Option<"nodes", "nodes", "std::string", "\"*\"", "Pattern of the source nodes">,
                 ListOption<"parameters", "parameters", "std::string", "NAME=NUMBER of the variant">];
  let dependentDialects = ["arith::ArithDialect", "math::MathDialect"];
}

def SpecializeRowsPass : Pass<"heddle-specialize-rows", "mlir::ModuleOp"> {
  let summary = "One variant of an entry for each range of rows";
  let description = [{
    Decoding one token and reading a prompt want different code. Each function with `heddle.entry` becomes one function per range of dimension `dim`,
    cut after each of `bounds`; memory is then planned at the range's end, precision chosen for it, and the runtime picks the variant by the
    number of rows of a call. Without `bounds` there is one variant.

    With `tiles-from` another cut comes there, and each variant from it on that multiplies weights stored in blocks gets an alternative with
    `heddle.tiles`, which processors run that multiply tiles of bf16 (AMX): `choose-precision` then rounds its activations to bf16.
    ```mlir
    func.func @step(%x: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 512>]})                  // before, bounds=4
    func.func @step.rows_1_4(... "n", 1 to 4 ...) attributes {heddle.rows = array<i64: 1, 4>}        // after
    func.func @step.rows_5_512(... "n", 5 to 512 ...) attributes {heddle.rows = array<i64: 5, 512>}
    ```
  }];
  let options = [ListOption<"bounds", "bounds", "int64_t", "Largest numbers of rows of all variants but the last, ascending">,
                 Option<"tilesFrom", "tiles-from", "int64_t", "0", "Rows from which variants have an alternative in tiles of bf16; 0: none">,
                 Option<"dim", "dim", "std::string", "\"n\"", "Name of the dimension to cut">];
}

def SetCacheTypePass : Pass<"heddle-set-cache-type", "mlir::ModuleOp"> {
  let summary = "Store keys and values in fewer bits";
  let description = [{
    All KV caches of the module get elements of one type. `int8` and `fp8` (e4m3) are codes with a scale for each token and head, which `cache_append` finds and
    attention multiplies by (`!heddle.kv_cache`). `cost` of a decision is the bytes that a token then takes in that cache.
    ```mlir
    heddle.cache @kv.0 : !heddle.kv_cache<3x64x64xf16>     // before
    heddle.cache @kv.0 : !heddle.kv_cache<3x64x64xi8>      // after, type=int8
    ```
  }];
  let options = [Option<"type", "type", "std::string", "\"f16\"", "f16, int8 or fp8">,
                 Option<"target", "target", "std::string", "\"cpu\"", "Target that the module is compiled for">];
}

def SplitCacheAppendPass : Pass<"heddle-split-cache-append", "mlir::ModuleOp"> {
  let summary = "Separate storing keys and values from attending to them";
  let description = [{
    Attention that is given keys, values and a cache becomes `cache_append` followed by attention on the cache alone, so that the append
    can join the rows kernel that makes the keys.
    ```mlir
    %o = heddle.attention %q keys %k values %v cache %c at %s, %p ...    // before
    heddle.cache_append %c, %k, %v at %s, %p                             // after
    %o = heddle.attention %q cache %c at %s, %p ...
    ```
  }];
}

def SplitAttentionPass : Pass<"heddle-split-attention", "mlir::ModuleOp"> {
  let summary = "Let workers share out the context of a decode step";
  let description = [{
    In functions of few rows attention to a cache leaves its chunks of 256 positions unmerged, so that several workers can work on one KV head, and
    `merge_chunks` puts them together in order: the same bits for any number of workers. Attention to contexts of one chunk stays whole.
    ```mlir
    %o = heddle.attention %q cache %c at %s, %p ... -> tensor<?x9x64xf32>        // before
    %0 = heddle.attention %q cache %c at %s, %p ... -> tensor<?x9x8x66xf32>      // after
    %o = heddle.merge_chunks %0 at %p : tensor<?x9x8x66xf32>, tensor<?xi32> -> tensor<?x9x64xf32>
    ```
  }];
  let options = [Option<"maxRows", "max-rows", "int64_t", "4", "Most rows of the functions that this is for">,
                 Option<"chunkTokens", "chunk-tokens", "int64_t", "256", "Tokens in a chunk, as kernels cut them">];
}

def ChoosePrecisionPass : Pass<"heddle-choose-precision", "mlir::ModuleOp"> {
  let summary = "Write quantization of activations into the IR";
  let description = [{
    Each `linear` whose weight is stored in blocks gets its input quantized, `act_i8`, `act_i16` or `act_bf16`, by an explicit `quantize` that all readers with
    the same scheme share; a linear with a dense weight stays f32. Nothing else lowers precision.

    - `mixed`: `act_i16` in variants of at most 4 rows, where reading weights takes the time and 16 bits are nearly free. Elsewhere `act_i16` for linears whose result
      is attended to (through reshape, norms, rope, scale) or leaves the function (through reshape, unary, scale), which is where 8 bits cost accuracy, and `act_i8` for the rest.
      In variants with `heddle.tiles`, `act_bf16` instead of both, but for linears whose result leaves the function.
    - `i8`, `i16`: the same everywhere. On the NPU all of these are `act_i8_row`: what its array multiplies has one scale a row.
    - `f32`: allowed for dense weights only; a weight stored in blocks is an error.

    Codes of products whose source node has an entry in the module attribute `heddle.activation_ranges` get one constant `scale`, range / largest code, for all blocks
    (static activations): no kernel looks for it.
    ```mlir
    %1 = heddle.linear %0, %w : tensor<?x64xf32>, !heddle.stored<32x64xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>    // before
    %q = heddle.quantize %0 : tensor<?x64xf32> -> !heddle.stored<?x64xf32, #heddle.enc<act_i8>>                       // after
    %1 = heddle.linear %q, %w : !heddle.stored<?x64xf32, #heddle.enc<act_i8>>, !heddle.stored<32x64xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>
    ```
  }];
  let options = [Option<"activations", "activations", "std::string", "\"mixed\"", "mixed, i8, i16 or f32">,
                 Option<"target", "target", "std::string", "\"cpu\"", "Name of a target description">];
}

def PackParametersPass : Pass<"heddle-pack-parameters", "mlir::ModuleOp"> {
  let summary = "Derive parameters in the layout that kernels read";
  let description = [{
    Stored matrices that `linear` multiplies by and stored tables that `embedding` reads become derived parameters in layout `w16`, one for each source,
    whoever uses it; the packager does the work. For the NPU they are `panel16` or `panel32` for products and `gather` for tables. Parameters that nothing reads are
    removed.
    ```mlir
    %w = heddle.get_param @w : !heddle.stored<32x64xf32, #heddle.enc<q8_0>>              // before
    heddle.param @w.w16 : !heddle.stored<32x64xf32, #heddle.enc<q8_0, w16>> derived [@w] {   // after
    ^bb0(%0: !heddle.stored<32x64xf32, #heddle.enc<q8_0>>):
      %1 = heddle.pack %0 : !heddle.stored<32x64xf32, #heddle.enc<q8_0>> -> !heddle.stored<32x64xf32, #heddle.enc<q8_0, w16>>
      heddle.yield %1 : !heddle.stored<32x64xf32, #heddle.enc<q8_0, w16>>
    }
    %w = heddle.get_param @w.w16 : !heddle.stored<32x64xf32, #heddle.enc<q8_0, w16>>
    ```
  }];
  let options = [Option<"target", "target", "std::string", "\"cpu\"", "Name of a target description">];
}

def FuseForTargetPass : Pass<"heddle-fuse-for-target", "mlir::ModuleOp"> {
  let summary = "Group ops into the kernels of a target";
  let description = [{
    Every op of a function joins a group, and each group becomes a `heddle.kernel` with one `heddle.launch`; parameters and caches become operands. Nothing is
    computed twice. Decisions carry the bytes that an intermediate result would have moved, at the bound of its rows.

    - *contraction*: a linear takes in the elementwise ops that follow it while each intermediate result has one reader; two linears with the same input and the same
      shapes that meet in one elementwise op (gate and up) become one kernel with two products.
    - *attention*: with the reshapes around it. What its regions capture becomes an operand, constants move inside.
    - *rows*: ops that work row by row join the first group of the same rows that comes after everything they need, as long as one row of the group
      fits the target's private cache. An op never joins the group that makes a tensor of which it reads other rows (`gather_rows`, `pool_rows`).

    Products come as early as their operands allow, so that independent ones stand together and need no barrier between them. Reads and writes of
    one cache keep their order. Kernel names say what they hold: `rms_norm_quantize_act_i16_576`, `linear_q4_1_i8_1536x576_silu_mul`.
    ```mlir
    %1 = heddle.linear %0, %w : ...                        // before
    %2 = heddle.binary <add> %1, %h : tensor<?x576xf32>
    heddle.kernel @linear_q4_1_i8_576x576_add family <contraction> target "cpu" { ... }   // after
    %2 = heddle.launch @linear_q4_1_i8_576x576_add(%0, %w, %h) over "n" : ...
    ```
  }];
  let options = [Option<"target", "target", "std::string", "\"cpu\"", "Name of a target description (passes/targets)">];
  let dependentDialects = ["arith::ArithDialect"];
}

def ShareKernelsPass : Pass<"heddle-share-kernels", "mlir::ModuleOp"> {
  let summary = "Structurally equal kernels become one symbol";
  let description = [{
    Kernels that differ in name and locations only, and whose launches run over the same dimension, become the first of them, across variants too. So code does
    not grow with depth. A launch's location keeps the layer that it belongs to.
    ```mlir
    %1 = heddle.launch @rms_norm_576(%0, %w0) over "n" : ...      // before
    %2 = heddle.launch @rms_norm_576_1(%1, %w1) over "n" : ...
    %1 = heddle.launch @rms_norm_576(%0, %w0) over "n" : ...      // after
    %2 = heddle.launch @rms_norm_576(%1, %w1) over "n" : ...
    ```
  }];
}

def PlanMemoryPass : Pass<"heddle-plan-memory", "mlir::ModuleOp"> {
  let summary = "Place the results of launches in one arena, and barriers between dependent launches";
  let description = [{
    Workers split the items of a launch, so a launch that reads what another one wrote since the last barrier gets `barrier`; the same holds for two uses of a cache of
    which one writes. Launches between two barriers may run at once. Results get offsets in one arena per function, by best fit at the
    bound of their rows, 64 bytes aligned; two results share bytes only if no stretch between barriers touches both, so reuse costs no barrier. Results that the function
    returns have offset -1. `heddle.arena_bytes` of the function is the arena's size.
    ```mlir
    %1 = heddle.launch @a(%0) over "n" : ...                                                  // before
    %2 = heddle.launch @b(%1) over "n" : ...
    %1 = heddle.launch @a(%0) over "n" arena array<i64: 0> : ...                              // after
    %2 = heddle.launch @b(%1) over "n" arena array<i64: 4096> barrier : ...
    ```
  }];
}

def ReportDecisionsPass : Pass<"heddle-report-decisions", "mlir::ModuleOp"> {
  let summary = "Show what the passes before it decided, and why";
  let description = [{
    Passes record decisions on the module (`heddle.decisions`). This pass shows them, as remarks at the ops' locations or as JSON on standard error, and removes the record.
    ```
    heddle-opt step.mlir -heddle-choose-precision -heddle-report-decisions
    step.mlir:7:8: remark: heddle-choose-precision: precision: i16: the result is attended to
    ```
  }];
  let options = [Option<"format", "format", "std::string", "\"remarks\"", "remarks or json">];
}

def ExpandMathPass : Pass<"heddle-expand-math"> {
  let summary = "Replace transcendental functions by arithmetic";
  let description = [{
    `math.exp`, `math.tanh` and `math.erf` of f32, scalar or vectors of any length, become `arith` and `math.fma`: no call remains, and every
    target and vector width computes the same bits. Largest errors over all f32, denormal results included: `exp` 1 ulp, `tanh` 2.5 ulp, `erf` 1.5 ulp.
    NaN stays NaN; infinities have their limits; `exp(0)` is 1.
  }];
  let dependentDialects = ["mlir::arith::ArithDialect", "mlir::math::MathDialect"];
}

#endif
