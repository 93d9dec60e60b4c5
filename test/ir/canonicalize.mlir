// RUN: heddle-opt %s -canonicalize | FileCheck %s

// A recipe is complete in itself: its constants stay inside.
// CHECK:      heddle.param @types : tensor<4x32xf32> derived [@table] {
// CHECK-NEXT: ^bb0(
// CHECK-NEXT:   arith.constant dense<0> : tensor<4xi32>
heddle.param @table : !heddle.stored<2x32xf32, #heddle.enc<f32>> file 0 at 0
heddle.param @types : tensor<4x32xf32> derived [@table] {
^bb0(%t: !heddle.stored<2x32xf32, #heddle.enc<f32>>):
  %zero = arith.constant dense<0> : tensor<4xi32>
  %0 = heddle.embedding %t, %zero : !heddle.stored<2x32xf32, #heddle.enc<f32>>, tensor<4xi32> -> tensor<4x32xf32>
  heddle.yield %0 : tensor<4x32xf32>
}

// Reshapes chain into one, and to nothing where the type comes back.
// CHECK-LABEL: func.func @reshapes(
// CHECK-SAME:    %[[X:.*]]: tensor<?x32xf32>
// CHECK-NEXT:    %[[Y:.*]] = heddle.reshape %[[X]] : tensor<?x32xf32> -> tensor<?x4x8xf32>
// CHECK-NEXT:    return %[[X]], %[[Y]]
func.func @reshapes(%x: tensor<?x32xf32>) -> (tensor<?x32xf32>, tensor<?x4x8xf32>) {
  %0 = heddle.reshape %x : tensor<?x32xf32> -> tensor<?x2x16xf32>
  %1 = heddle.reshape %0 : tensor<?x2x16xf32> -> tensor<?x32xf32>
  %2 = heddle.reshape %0 : tensor<?x2x16xf32> -> tensor<?x4x8xf32>
  return %1, %2 : tensor<?x32xf32>, tensor<?x4x8xf32>
}

// Two scales become one where no rounding moves: the inner factor is a power of two. A scale by 1 vanishes.
// CHECK-LABEL: func.func @scales(
// CHECK-SAME:    %[[X:.*]]: tensor<?x8xf32>
// CHECK-NEXT:    %[[A:.*]] = heddle.scale %[[X]] by 1.500000e+00
// CHECK-NEXT:    %[[B:.*]] = heddle.scale %[[X]] by 3.000000e+00
// CHECK-NEXT:    %[[C:.*]] = heddle.scale %[[B]] by 5.000000e-01
// CHECK-NEXT:    return %[[A]], %[[C]], %[[X]]
func.func @scales(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  %0 = heddle.scale %x by 5.000000e-01 : tensor<?x8xf32>
  %1 = heddle.scale %0 by 3.0 : tensor<?x8xf32>
  %2 = heddle.scale %x by 3.0 : tensor<?x8xf32>
  %3 = heddle.scale %2 by 5.000000e-01 : tensor<?x8xf32>
  %4 = heddle.scale %x by 1.0 : tensor<?x8xf32>
  return %1, %3, %4 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}
