// RUN: heddle-opt %s | heddle-opt | FileCheck %s
// RUN: heddle-opt %s -mlir-print-op-generic | heddle-opt | FileCheck %s

// CHECK-LABEL: func.func @gates(
func.func @gates(%x: tensor<?x32xf32>, %w: tensor<4x32xf32>, %b: tensor<4xf32>, %o: tensor<?x4x16xf32>, %skip: tensor<4x16xf32>,
                 %table: tensor<4x32xf32>, %wq: !heddle.stored<64x32xf32, #heddle.enc<f16>>, %bias: tensor<64xf32>,
                 %wo: !heddle.stored<32x64xf32, #heddle.enc<f16>>, %a: tensor<?x64xf32>) {
  // CHECK: %[[H:.*]] = heddle.head_gate %{{.*}}, %{{.*}} bias %{{.*}} : tensor<?x32xf32>, tensor<4x32xf32>, tensor<4xf32> -> <heads, ?x4>
  %heads = heddle.head_gate %x, %w bias %b : tensor<?x32xf32>, tensor<4x32xf32>, tensor<4xf32> -> !heddle.selection<heads, ?x4>
  // CHECK: heddle.head_gate %{{.*}}, %{{.*}} : tensor<?x32xf32>, tensor<4x32xf32> -> <heads, ?x4>
  %0 = heddle.head_gate %x, %w : tensor<?x32xf32>, tensor<4x32xf32> -> !heddle.selection<heads, ?x4>
  // CHECK: heddle.mask_heads %{{.*}} by %[[H]] skip %{{.*}} : tensor<?x4x16xf32>, <heads, ?x4>, tensor<4x16xf32>
  %1 = heddle.mask_heads %o by %heads skip %skip : tensor<?x4x16xf32>, !heddle.selection<heads, ?x4>, tensor<4x16xf32>
  // CHECK: heddle.mask_heads %{{.*}} by %[[H]] : tensor<?x4x16xf32>, <heads, ?x4>
  %2 = heddle.mask_heads %o by %heads : tensor<?x4x16xf32>, !heddle.selection<heads, ?x4>
  // CHECK: heddle.skipped_sum %{{.*}} by %[[H]] : tensor<4x32xf32>, <heads, ?x4> -> tensor<?x32xf32>
  %3 = heddle.skipped_sum %table by %heads : tensor<4x32xf32>, !heddle.selection<heads, ?x4> -> tensor<?x32xf32>
  // CHECK: heddle.block_diagonal %{{.*}} : tensor<4x16xf32> -> tensor<4x64xf32>
  %4 = heddle.block_diagonal %skip : tensor<4x16xf32> -> tensor<4x64xf32>
  // CHECK: heddle.linear %{{.*}}, %{{.*}} bias %{{.*}} select <results>(%[[H]] : !heddle.selection<heads, ?x4>) :
  %5 = heddle.linear %x, %wq bias %bias select <results>(%heads : !heddle.selection<heads, ?x4>) : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>>, tensor<64xf32> -> tensor<?x64xf32>
  // CHECK: heddle.linear %{{.*}}, %{{.*}} select <inputs>(%[[H]] : !heddle.selection<heads, ?x4>) :
  %6 = heddle.linear %a, %wo select <inputs>(%heads : !heddle.selection<heads, ?x4>) : tensor<?x64xf32>, !heddle.stored<32x64xf32, #heddle.enc<f16>> -> tensor<?x32xf32>
  // CHECK: heddle.keep_parts %{{.*}} axis 0 keep [true, false, true, false] : !heddle.stored<64x32xf32, #heddle.enc<f16>> -> !heddle.stored<32x32xf32, #heddle.enc<f16>>
  %7 = heddle.keep_parts %wq axis 0 keep [true, false, true, false] : !heddle.stored<64x32xf32, #heddle.enc<f16>> -> !heddle.stored<32x32xf32, #heddle.enc<f16>>
  return
}
