// RUN: heddle-opt %s -heddle-fold-quantization | FileCheck %s

heddle.param @up : !heddle.stored<64x32xf32, #heddle.enc<f32>> file 0 at 0

// Both roundings of one parameter by one scheme become one derived parameter; another scheme makes another.
// CHECK-DAG: heddle.param @up.int4 : !heddle.stored<64x32xf32, #heddle.enc<q4_0>> derived [@up] {
// CHECK-DAG: heddle.param @up.int8 : !heddle.stored<64x32xf32, #heddle.enc<int8>> derived [@up] {

// CHECK-LABEL: func.func @shared(
// CHECK-NOT:     heddle.get_param @up :
// CHECK-NOT:     heddle.quantize_weights
// CHECK-DAG:     %[[A:.*]] = heddle.get_param @up.int4
// CHECK-DAG:     %[[B:.*]] = heddle.get_param @up.int4
// CHECK-DAG:     %[[C:.*]] = heddle.get_param @up.int8
// CHECK:         heddle.linear
func.func @shared(%x: tensor<?x32xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = heddle.get_param @up : !heddle.stored<64x32xf32, #heddle.enc<f32>>
  %a = heddle.quantize_weights %w {scheme = "int4"} : <64x32xf32, #heddle.enc<f32>> -> <64x32xf32, #heddle.enc<q4_0>>
  %b = heddle.quantize_weights %w {scheme = "int4"} : <64x32xf32, #heddle.enc<f32>> -> <64x32xf32, #heddle.enc<q4_0>>
  %c = heddle.quantize_weights %w {scheme = "int8"} : <64x32xf32, #heddle.enc<f32>> -> <64x32xf32, #heddle.enc<int8>>
  %0 = heddle.linear %x, %a : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q4_0>> -> tensor<?x64xf32>
  %1 = heddle.linear %x, %b : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q4_0>> -> tensor<?x64xf32>
  %2 = heddle.linear %x, %c : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<int8>> -> tensor<?x64xf32>
  return %0, %1, %2 : tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>
}

// A weight that the caller passes is not known when the model is packaged: it is rounded where it is.
// CHECK-LABEL: func.func @passed(
// CHECK:         heddle.quantize_weights
func.func @passed(%x: tensor<?x32xf32>, %w: !heddle.stored<64x32xf32, #heddle.enc<f32>>) -> tensor<?x64xf32> {
  %q = heddle.quantize_weights %w {scheme = "int4"} : <64x32xf32, #heddle.enc<f32>> -> <64x32xf32, #heddle.enc<q4_0>>
  %0 = heddle.linear %x, %q : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q4_0>> -> tensor<?x64xf32>
  return %0 : tensor<?x64xf32>
}
