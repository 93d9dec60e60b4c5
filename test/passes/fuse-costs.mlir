// RUN: heddle-opt %s -heddle-fuse-for-target -heddle-report-decisions=format=json -split-input-file 2>&1 | FileCheck %s

// What an op that joins saves: its operand is not read from memory, at the bound of its rows: 512 * 8 * 4 bytes.
// CHECK: {"cost":16384,"kind":"fuse","pass":"heddle-fuse-for-target",{{.*}},"source":"joins"}
func.func @rows(%a: tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 512>]}, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %0 = heddle.rms_norm %a, %w : tensor<?x8xf32>, tensor<8xf32> loc("first")
  %1 = heddle.unary <silu> %0 : tensor<?x8xf32> loc("joins")
  return %1 : tensor<?x8xf32>
}

// -----

// A parameter that is pooled has as many sequences as it has rows, at most: 5 * 8 * 4 bytes.
// CHECK: {"cost":160,"kind":"fuse","pass":"heddle-fuse-for-target",{{.*}},"source":"joins"}
heddle.param @p : tensor<5x8xf32> value dense<1.0> : tensor<5x8xf32>
func.func @pooled_parameter(%s: tensor<5xi32>) -> tensor<?x8xf32> {
  %p = heddle.get_param @p : tensor<5x8xf32>
  %0 = heddle.pool_rows <mean> %p, %s : tensor<5x8xf32>, tensor<5xi32> -> tensor<?x8xf32> loc("first")
  %1 = heddle.unary <silu> %0 : tensor<?x8xf32> loc("joins")
  return %1 : tensor<?x8xf32>
}
