// RUN: heddle-opt %s -heddle-fuse-for-target -mlir-print-debuginfo -mlir-print-local-scope -split-input-file | FileCheck %s

// A launch carries the source nodes of all that it does; the ops in the kernel keep their own.
// CHECK: heddle.launch @rms_norm_silu_8({{.*}} loc(fused["blk.0.norm", "blk.0.act"])
// CHECK: heddle.kernel @rms_norm_silu_8
// CHECK: heddle.rms_norm {{.*}} loc("blk.0.norm")
// CHECK: heddle.unary {{.*}} loc("blk.0.act")
func.func @f(%a: tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 512>]}, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %0 = heddle.rms_norm %a, %w : tensor<?x8xf32>, tensor<8xf32> loc("blk.0.norm")
  %1 = heddle.unary <silu> %0 : tensor<?x8xf32> loc("blk.0.act")
  return %1 : tensor<?x8xf32>
}

// -----

// What is returned a second time is copied, in the name of what made it.
// CHECK: heddle.launch @silu_8({{.*}} loc("blk.1.act")
// CHECK: heddle.reshape {{.*}} loc("blk.1.act")
func.func @twice(%a: tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 512>]}) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %0 = heddle.unary <silu> %a : tensor<?x8xf32> loc("blk.1.act")
  return %0, %0 : tensor<?x8xf32>, tensor<?x8xf32> loc("the_end")
}
