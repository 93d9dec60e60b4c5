// RUN: not heddle-opt %s -heddle-infer-shapes 2>&1 | FileCheck %s

// Values are named by their source nodes: both of them.
// CHECK: error: 'heddle.binary' op expected operands with the same rows, but 'output_rows' has rows 'm' and 'blk.0.norm' has rows 'n'
// CHECK: "output_rows"{{.*}}: rows 'm' come from here
// CHECK: "blk.0.norm"{{.*}}: rows 'n' come from here
#n = #heddle.dim<"n", 1 to 512>
#m = #heddle.dim<"m", 0 to 512>
func.func @source_nodes(%h: tensor<?x8xf32> {heddle.dims = [#n]}, %w: tensor<?xi32> {heddle.dims = [#m]}, %norm: tensor<8xf32>) -> tensor<?x8xf32>
    attributes {heddle.entry = "step"} {
  %0 = heddle.gather_rows %h, %w : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32> loc("output_rows")
  %1 = heddle.rms_norm %h, %norm : tensor<?x8xf32>, tensor<8xf32> loc("blk.0.norm")
  %2 = heddle.binary <add> %0, %1 : tensor<?x8xf32>
  return %2 : tensor<?x8xf32>
}
