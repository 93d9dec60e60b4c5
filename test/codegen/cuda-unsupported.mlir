// What has no code for CUDA says which op and why; it is no internal error.
// RUN: not heddle-run-ir --target cuda %s 2>&1 | FileCheck %s

#n = #heddle.dim<"n", 1 to 4>

// Rows to pool, or to choose from, must lie in memory as a whole.
heddle.kernel @pool family <rows> target "cuda" {
^bb0(%x: tensor<?x8xf32>, %s: tensor<?xi32>):
  %0 = heddle.unary <silu> %x : tensor<?x8xf32>
  %1 = heddle.pool_rows <mean> %0, %s : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  heddle.yield %1 : tensor<?x8xf32>
}
// CHECK-DAG: @pools: {{.*}}'heddle.pool_rows'{{.*}}expected its input to be an argument of the kernel
func.func @pools(%x: tensor<?x8xf32> {heddle.dims = [#n]}, %s: tensor<?xi32> {heddle.dims = [#n]}) -> (tensor<?x8xf32> {heddle.dims = [#heddle.dim<"s", 0 to 4>]})
    attributes {heddle.example = [{inputs = [dense<1.0> : tensor<2x8xf32>, dense<0> : tensor<2xi32>], expected = [dense<0.7310585786300049> : tensor<1x8xf32>]}]} {
  %0 = heddle.launch @pool(%x, %s) over "s" : (tensor<?x8xf32>, tensor<?xi32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

heddle.kernel @gather family <rows> target "cuda" {
^bb0(%x: tensor<?x8xf32>, %i: tensor<?xi32>):
  %0 = heddle.unary <silu> %x : tensor<?x8xf32>
  %1 = heddle.gather_rows %0, %i : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  heddle.yield %1 : tensor<?x8xf32>
}
// CHECK-DAG: @gathers: {{.*}}'heddle.gather_rows'{{.*}}expected its input to be an argument of the kernel
func.func @gathers(%x: tensor<?x8xf32> {heddle.dims = [#n]}, %i: tensor<?xi32> {heddle.dims = [#n]}) -> tensor<?x8xf32>
    attributes {heddle.example = [{inputs = [dense<1.0> : tensor<2x8xf32>, dense<0> : tensor<2xi32>], expected = [dense<0.7310585786300049> : tensor<2x8xf32>]}]} {
  %0 = heddle.launch @gather(%x, %i) over "n" : (tensor<?x8xf32>, tensor<?xi32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
