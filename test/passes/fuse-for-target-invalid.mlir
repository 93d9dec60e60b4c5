// RUN: heddle-opt %s -heddle-fuse-for-target -split-input-file -verify-diagnostics -allow-unregistered-dialect
// RUN: not heddle-opt %s -heddle-fuse-for-target=target=cdua -split-input-file -allow-unregistered-dialect 2>&1 | FileCheck %s

// CHECK: error: unknown target 'cdua'; known targets: cpu

#n = #heddle.dim<"n", 1 to 512>
func.func @foreign(%a: tensor<?x8xf32> {heddle.dims = [#n]}) -> tensor<?x8xf32> {
  // expected-error @below {{cannot be part of a kernel of target 'cpu'}}
  %0 = "test.op"(%a) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
// expected-error @below {{expected result 0 to be computed or an f32 tensor, but found an argument, parameter or constant of type 'tensor<?xi32>'}}
func.func @indices(%a: tensor<?xi32> {heddle.dims = [#n]}) -> tensor<?xi32> {
  return %a : tensor<?xi32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
// expected-error @below {{expected caches to come from 'heddle.get_cache', but found argument 0}}
func.func @cache_argument(%c: !heddle.kv_cache<4x4x4xf16>, %k: tensor<?x4x4xf32> {heddle.dims = [#n]}, %p: tensor<?xi32> {heddle.dims = [#n]}) {
  heddle.cache_append %c, %k, %k at %p, %p : !heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

// expected-error @below {{expected a function without branches, but found 2 blocks}}
func.func @branches(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = heddle.unary <silu> %x : tensor<4x8xf32>
  cf.br ^bb1
^bb1:
  return %0 : tensor<4x8xf32>
}
