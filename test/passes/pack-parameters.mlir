// RUN: heddle-opt %s -heddle-pack-parameters | FileCheck %s

// CHECK:       heddle.param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>> file 0 at 4096
// CHECK-NEXT:  heddle.param @w.w16_0 : !heddle.stored<64x64xf32, #heddle.enc<q8_0, w16>> derived [@w] {
// CHECK-NEXT:  ^bb0(%[[W:.*]]: !heddle.stored<64x64xf32, #heddle.enc<q8_0>>):
// CHECK-NEXT:    %[[P:.*]] = heddle.pack %[[W]]
// CHECK-NEXT:    heddle.yield %[[P]]
heddle.param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>> file 0 at 4096
// A file may have any name, ours too.
// CHECK:       heddle.param @w.w16 : tensor<4xf32>
heddle.param @w.w16 : tensor<4xf32> file 0 at 0
// CHECK-NOT:   @unused
heddle.param @unused : tensor<4xf32> file 0 at 0
// CHECK:       heddle.param @dense.w16 : !heddle.stored<32x64xf32, #heddle.enc<f32, w16>> derived [@dense]
heddle.param @dense : !heddle.stored<32x64xf32, #heddle.enc<f32>> file 0 at 0
// CHECK-NOT:   @only_recipes_read_it
// CHECK:       heddle.param @factors
heddle.param @factors : tensor<8xf32> file 0 at 0
heddle.param @rope : tensor<16x16xf32> derived [@factors] {
^bb0(%f: tensor<8xf32>):
  %0 = heddle.rope_table %f : tensor<8xf32> {base = 1.0e4 : f64} -> tensor<16x16xf32>
  heddle.yield %0 : tensor<16x16xf32>
}
heddle.param @only_recipes_read_it : tensor<8xf32> file 0 at 0
heddle.param @dead_recipe : tensor<16x16xf32> derived [@only_recipes_read_it] {
^bb0(%f: tensor<8xf32>):
  %0 = heddle.rope_table %f : tensor<8xf32> {base = 1.0e4 : f64} -> tensor<16x16xf32>
  heddle.yield %0 : tensor<16x16xf32>
}

// Embedding and head share one packed copy; what else reads the source keeps reading it.
// CHECK-LABEL: func.func @tied(
// CHECK:         %[[A:.*]] = heddle.get_param @w.w16_0
// CHECK:         heddle.embedding %[[A]]
// CHECK:         %[[B:.*]] = heddle.get_param @w.w16_0
// CHECK-NEXT:    %[[S:.*]] = heddle.get_param @w :
// CHECK-NEXT:    heddle.dequantize %[[S]]
// CHECK:         heddle.linear %{{.*}}, %[[B]]
// CHECK:         %[[D:.*]] = heddle.get_param @dense.w16
// CHECK-NEXT:    heddle.linear %{{.*}}, %[[D]]
func.func @tied(%t: tensor<?xi32>, %p: tensor<?xi32>) -> (tensor<?x64xf32>, tensor<64x64xf32>, tensor<?x32xf32>, tensor<?x4x16xf32>, tensor<4xf32>) {
  %w = heddle.get_param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>>
  %0 = heddle.embedding %w, %t : !heddle.stored<64x64xf32, #heddle.enc<q8_0>>, tensor<?xi32> -> tensor<?x64xf32>
  %again = heddle.get_param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>>
  %1 = heddle.dequantize %again : !heddle.stored<64x64xf32, #heddle.enc<q8_0>> -> tensor<64x64xf32>
  %2 = heddle.linear %0, %again : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32>
  %d = heddle.get_param @dense : !heddle.stored<32x64xf32, #heddle.enc<f32>>
  %3 = heddle.linear %2, %d : tensor<?x64xf32>, !heddle.stored<32x64xf32, #heddle.enc<f32>> -> tensor<?x32xf32>
  %r = heddle.get_param @rope : tensor<16x16xf32>
  %4 = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %5 = heddle.rope <half> %4, %r, %p : tensor<?x4x16xf32>, tensor<16x16xf32>, tensor<?xi32>
  %other = heddle.get_param @w.w16 : tensor<4xf32>
  return %2, %1, %3, %5, %other : tensor<?x64xf32>, tensor<64x64xf32>, tensor<?x32xf32>, tensor<?x4x16xf32>, tensor<4xf32>
}
