// The passes and their manual. In the order in which codegen/Pipelines.cpp runs them.
#ifndef HEDDLE_PASSES_TD
#define HEDDLE_PASSES_TD
include "mlir/Pass/PassBase.td"

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

def SpecializeRowsPass : Pass<"heddle-specialize-rows", "mlir::ModuleOp"> {
  let summary = "One variant of an entry for each range of rows";
  let description = [{
    Decoding one token and reading a prompt want different code. Each function with `heddle.entry` becomes one function per range of dimension `dim`,
    cut after each of `bounds`; memory is then planned at the range's end, precision chosen for it, and the runtime picks the variant by the
    number of rows of a call. Without `bounds` there is one variant.
    ```mlir
    func.func @step(%x: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 512>]})                  // before, bounds=4
    func.func @step.rows_1_4(... "n", 1 to 4 ...) attributes {heddle.rows = array<i64: 1, 4>}        // after
    func.func @step.rows_5_512(... "n", 5 to 512 ...) attributes {heddle.rows = array<i64: 5, 512>}
    ```
  }];
  let options = [ListOption<"bounds", "bounds", "int64_t", "Largest numbers of rows of all variants but the last, ascending">,
                 Option<"dim", "dim", "std::string", "\"n\"", "Name of the dimension to cut">];
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

def ChoosePrecisionPass : Pass<"heddle-choose-precision", "mlir::ModuleOp"> {
  let summary = "Write quantization of activations into the IR";
  let description = [{
    Each `linear` whose weight is stored in blocks gets its input quantized, `act_i8` or `act_i16`, by an explicit `quantize` that all readers with
    the same scheme share; a linear with a dense weight stays f32. Nothing else lowers precision.

    - `mixed`: `act_i16` in variants of at most 4 rows, where reading weights takes the time and 16 bits are nearly free. Elsewhere `act_i16` for linears whose result
      is attended to (through reshape, norms, rope, scale) or leaves the function (through reshape, unary, scale), which is where 8 bits cost accuracy, and `act_i8` for the rest.
    - `i8`, `i16`: the same everywhere. `f32`: allowed for dense weights only; a weight stored in blocks is an error.
    ```mlir
    %1 = heddle.linear %0, %w : tensor<?x64xf32>, !heddle.stored<32x64xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>    // before
    %q = heddle.quantize %0 : tensor<?x64xf32> -> !heddle.stored<?x64xf32, #heddle.enc<act_i8>>                       // after
    %1 = heddle.linear %q, %w : !heddle.stored<?x64xf32, #heddle.enc<act_i8>>, !heddle.stored<32x64xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>
    ```
  }];
  let options = [Option<"activations", "activations", "std::string", "\"mixed\"", "mixed, i8, i16 or f32">];
}

def PackParametersPass : Pass<"heddle-pack-parameters", "mlir::ModuleOp"> {
  let summary = "Derive parameters in the layout that kernels read";
  let description = [{
    Stored matrices that `linear` multiplies by and stored tables that `embedding` reads become derived parameters in layout `w16`, one for each source,
    whoever uses it; the packager does the work. Parameters that nothing reads are removed.
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
