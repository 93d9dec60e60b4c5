// RUN: heddle-opt %s -heddle-insert-quantization=schemes=int4,*.down=int8,keep*=keep | FileCheck %s
// RUN: heddle-opt %s -heddle-insert-quantization=schemes=int4 -heddle-fold-quantization | FileCheck %s --check-prefix=FOLD
// RUN: heddle-opt %s -heddle-insert-quantization=schemes=up=int4 -heddle-report-decisions=format=json 2>&1 | FileCheck %s --check-prefix=BYTES
// RUN: not heddle-opt %s -heddle-insert-quantization=schemes=int9 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not heddle-opt %s -heddle-insert-quantization=schemes=int4-g128 2>&1 | FileCheck %s --check-prefix=GROUPS
// UNKNOWN: unknown scheme 'int9' for weight 'up'; known schemes: keep, int4-channel,
// GROUPS: scheme 'int4-g128' rounds groups of 128 weights of a row, but rows of 'up' have 32; choose another scheme for it, as in --quantize int4-g128,up=int8

// 64 rows of 32 weights, each 18 bytes.
// BYTES: {"cost":1152,"kind":"quantize","pass":"heddle-insert-quantization","reason":"'up' as int4"

module attributes {heddle.quantization = {found = {scheme = "int5", file = 1 : i64, offset = 64 : i64}}} {
  // What calibration rounded is read from its file; the name of the scheme joins the weight's.
  // CHECK-DAG: heddle.param @found.int5 : !heddle.stored<32x32xf32, #heddle.enc<q5_0>> file 1 at 64
  heddle.param @up : !heddle.stored<64x32xf32, #heddle.enc<f32>> file 0 at 0
  heddle.param @blk.down : !heddle.stored<32x64xf32, #heddle.enc<q4_1>> file 0 at 0
  heddle.param @keep.me : !heddle.stored<32x32xf32, #heddle.enc<f32>> file 0 at 0
  heddle.param @found : !heddle.stored<32x32xf32, #heddle.enc<f32>> file 0 at 0
  // FOLD: heddle.param @up.int4 : !heddle.stored<64x32xf32, #heddle.enc<q4_0>> derived [@up] {
  // FOLD:   heddle.quantize_weights %{{.*}} {scheme = "int4"}

  // CHECK-LABEL: func.func @products(
  // CHECK-DAG:     %[[UP:.*]] = heddle.get_param @up
  // CHECK-DAG:     %[[UQ:.*]] = heddle.quantize_weights %[[UP]] {scheme = "int4"} : <64x32xf32, #heddle.enc<f32>> -> <64x32xf32, #heddle.enc<q4_0>>
  // CHECK-DAG:     %[[DQ:.*]] = heddle.quantize_weights %{{.*}} {scheme = "int8"} : <32x64xf32, #heddle.enc<q4_1>> -> <32x64xf32, #heddle.enc<int8>>
  // CHECK-DAG:     %[[KEPT:.*]] = heddle.get_param @keep.me
  // CHECK-DAG:     %[[FOUND:.*]] = heddle.get_param @found.int5
  // The table and the product share one rounded matrix.
  // CHECK:         heddle.embedding %[[UQ]],
  // CHECK:         heddle.linear %{{.*}}, %[[UQ]] :
  // CHECK:         heddle.linear %{{.*}}, %[[DQ]] :
  // CHECK:         heddle.linear %{{.*}}, %[[KEPT]] :
  // CHECK:         heddle.linear %{{.*}}, %[[FOUND]] :
  // FOLD-LABEL: func.func @products(
  // FOLD-NOT:     heddle.quantize_weights
  // FOLD:         heddle.get_param @up.int4
  func.func @products(%i: tensor<?xi32>) -> tensor<?x32xf32> {
    %up = heddle.get_param @up : !heddle.stored<64x32xf32, #heddle.enc<f32>>
    %down = heddle.get_param @blk.down : !heddle.stored<32x64xf32, #heddle.enc<q4_1>>
    %kept = heddle.get_param @keep.me : !heddle.stored<32x32xf32, #heddle.enc<f32>>
    %found = heddle.get_param @found : !heddle.stored<32x32xf32, #heddle.enc<f32>>
    %x = heddle.embedding %up, %i : !heddle.stored<64x32xf32, #heddle.enc<f32>>, tensor<?xi32> -> tensor<?x32xf32>
    %0 = heddle.linear %x, %up : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f32>> -> tensor<?x64xf32>
    %1 = heddle.linear %0, %down : tensor<?x64xf32>, !heddle.stored<32x64xf32, #heddle.enc<q4_1>> -> tensor<?x32xf32>
    %2 = heddle.linear %1, %kept : tensor<?x32xf32>, !heddle.stored<32x32xf32, #heddle.enc<f32>> -> tensor<?x32xf32>
    %3 = heddle.linear %2, %found : tensor<?x32xf32>, !heddle.stored<32x32xf32, #heddle.enc<f32>> -> tensor<?x32xf32>
    return %3 : tensor<?x32xf32>
  }

  // What is packed already is left alone: no scheme rounds packed weights.
  // CHECK-LABEL: func.func @packed_already(
  // CHECK-NOT:     heddle.quantize_weights
  heddle.param @packed : !heddle.stored<32x32xf32, #heddle.enc<q8_0, w16>> derived [@rows] {
  ^bb0(%w: !heddle.stored<32x32xf32, #heddle.enc<q8_0>>):
    %0 = heddle.pack %w : !heddle.stored<32x32xf32, #heddle.enc<q8_0>> -> !heddle.stored<32x32xf32, #heddle.enc<q8_0, w16>>
    heddle.yield %0 : !heddle.stored<32x32xf32, #heddle.enc<q8_0, w16>>
  }
  heddle.param @rows : !heddle.stored<32x32xf32, #heddle.enc<q8_0>> file 0 at 0
  func.func @packed_already(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
    %w = heddle.get_param @packed : !heddle.stored<32x32xf32, #heddle.enc<q8_0, w16>>
    %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<32x32xf32, #heddle.enc<q8_0, w16>> -> tensor<?x32xf32>
    return %0 : tensor<?x32xf32>
  }
}
