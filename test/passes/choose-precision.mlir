// RUN: heddle-opt %s -heddle-choose-precision | FileCheck %s
// RUN: heddle-opt %s -heddle-choose-precision=activations=i8 | FileCheck %s --check-prefix=I8
// RUN: not heddle-opt %s -heddle-choose-precision=activations=f32 2>&1 | FileCheck %s --check-prefix=F32
// RUN: not heddle-opt %s -heddle-choose-precision=activations=i4 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// F32: error: 'heddle.linear' op expected quantized activations for weight 'q4', which is stored in blocks
// F32-SAME: choose mixed, i8 or i16
// UNKNOWN: error: unknown activations 'i4'; expected mixed, i8, i16 or f32

heddle.param @q4 : !heddle.stored<64x64xf32, #heddle.enc<q4_1>> file 0 at 0
heddle.param @f16 : !heddle.stored<64x64xf32, #heddle.enc<f16>> file 0 at 0
heddle.cache @kv : !heddle.kv_cache<4x16x16xf16>

// One quantization serves two readers; a dense weight takes f32; what leaves the function through a soft-cap is 16 bits.
// CHECK-LABEL: func.func @shared_input(
// CHECK-SAME:    %[[H:.*]]: tensor<?x64xf32>
// CHECK:         %[[Q:.*]] = heddle.quantize %[[H]] : tensor<?x64xf32> -> <?x64xf32, #heddle.enc<act_i8>>
// CHECK:         heddle.linear %[[Q]], {{.*}} #heddle.enc<q4_1>
// CHECK:         heddle.linear %[[Q]], {{.*}} #heddle.enc<q4_1>
// CHECK:         heddle.linear %[[H]], {{.*}} #heddle.enc<f16>
// CHECK:         %[[N:.*]] = heddle.rms_norm
// CHECK-NEXT:    %[[NQ:.*]] = heddle.quantize %[[N]] {{.*}}act_i16
// CHECK-NEXT:    heddle.linear %[[NQ]]
// CHECK-NEXT:    heddle.unary <tanh>
// I8-LABEL:    func.func @shared_input(
// I8-NOT:        act_i16
func.func @shared_input(%h: tensor<?x64xf32>, %norm: tensor<64xf32>) -> tensor<?x64xf32> {
  %w = heddle.get_param @q4 : !heddle.stored<64x64xf32, #heddle.enc<q4_1>>
  %d = heddle.get_param @f16 : !heddle.stored<64x64xf32, #heddle.enc<f16>>
  %0 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %1 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %2 = heddle.linear %h, %d : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  %3 = heddle.binary <mul> %0, %1 : tensor<?x64xf32>
  %4 = heddle.binary <add> %3, %2 : tensor<?x64xf32>
  %5 = heddle.rms_norm %4, %norm : tensor<?x64xf32>, tensor<64xf32>
  %6 = heddle.linear %5, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %7 = heddle.unary <tanh> %6 : tensor<?x64xf32>
  return %7 : tensor<?x64xf32>
}

// Queries, keys and values are 16 bits, through reshape and norm too; the linear after the attention is not. Two schemes of one value are two ops.
// CHECK-LABEL: func.func @attended(
// CHECK-SAME:    %[[H:.*]]: tensor<?x64xf32>
// CHECK-DAG:     %[[Q16:.*]] = heddle.quantize %[[H]] {{.*}}act_i16
// CHECK-DAG:     %[[Q8:.*]] = heddle.quantize %[[H]] {{.*}}act_i8
// CHECK:         heddle.linear %[[Q16]]
// CHECK:         heddle.linear %[[Q16]]
// CHECK:         heddle.attention
// CHECK-NEXT:    ^bb0
// CHECK:         heddle.quantize {{.*}}act_i8
// CHECK:         heddle.linear %[[Q8]]
func.func @attended(%h: tensor<?x64xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>, %norm: tensor<16xf32>) -> tensor<?x64xf32> {
  %w = heddle.get_param @q4 : !heddle.stored<64x64xf32, #heddle.enc<q4_1>>
  %c = heddle.get_cache @kv : !heddle.kv_cache<4x16x16xf16>
  %0 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %1 = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %2 = heddle.rms_norm %1, %norm : tensor<?x4x16xf32>, tensor<16xf32>
  %3 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %4 = heddle.reshape %3 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  heddle.cache_append %c, %4, %4 at %s, %p : !heddle.kv_cache<4x16x16xf16>, tensor<?x4x16xf32>, tensor<?x4x16xf32>, tensor<?xi32>, tensor<?xi32>
  %5 = heddle.attention %2 cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<4x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  %6 = heddle.reshape %5 : tensor<?x4x16xf32> -> tensor<?x64xf32>
  %7 = heddle.linear %6, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %8 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %9 = heddle.binary <add> %7, %8 : tensor<?x64xf32>
  return %9 : tensor<?x64xf32>
}

// Variants of at most 4 rows are 16 bits everywhere.
// CHECK-LABEL: func.func @few_rows(
// CHECK:         heddle.quantize {{.*}}act_i16
// CHECK-NOT:     act_i8
func.func @few_rows(%h: tensor<?x64xf32>) -> tensor<?x64xf32> attributes {heddle.rows = array<i64: 1, 4>} {
  %w = heddle.get_param @q4 : !heddle.stored<64x64xf32, #heddle.enc<q4_1>>
  %0 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %1 = heddle.binary <add> %0, %h : tensor<?x64xf32>
  return %1 : tensor<?x64xf32>
}

// Variants for tiles are bf16, but for what leaves the function.
// CHECK-LABEL: func.func @tiles(
// CHECK:         heddle.quantize {{.*}}act_bf16
// CHECK:         heddle.quantize {{.*}}act_i16
// CHECK-NOT:     act_i8
// I8-LABEL:    func.func @tiles(
// I8-NOT:        act_bf16
func.func @tiles(%h: tensor<?x64xf32>) -> tensor<?x64xf32> attributes {heddle.rows = array<i64: 32, 64>, heddle.tiles} {
  %w = heddle.get_param @q4 : !heddle.stored<64x64xf32, #heddle.enc<q4_1>>
  %0 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %1 = heddle.binary <add> %0, %h : tensor<?x64xf32>
  %2 = heddle.linear %1, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  return %2 : tensor<?x64xf32>
}

// CHECK-LABEL: func.func @five_rows(
// CHECK:         heddle.quantize {{.*}}act_i8
func.func @five_rows(%h: tensor<?x64xf32>) -> tensor<?x64xf32> attributes {heddle.rows = array<i64: 1, 5>} {
  %w = heddle.get_param @q4 : !heddle.stored<64x64xf32, #heddle.enc<q4_1>>
  %0 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q4_1>> -> tensor<?x64xf32>
  %1 = heddle.binary <add> %0, %h : tensor<?x64xf32>
  return %1 : tensor<?x64xf32>
}
