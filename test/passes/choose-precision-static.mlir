// RUN: heddle-opt %s -heddle-choose-precision=activations=i8 | FileCheck %s
// RUN: heddle-opt %s -heddle-choose-precision=activations=i16 | FileCheck %s --check-prefix=I16
// RUN: not heddle-opt %s -heddle-choose-precision="activations=i8 target=npu:edge" 2>&1 | FileCheck %s --check-prefix=NPU

// NPU: error: expected dynamic activations for target 'npu:edge', but found calibrated ranges; static ones are for target 'cpu'

// A range of 127 is a scale of 1 in 8 bits; readers whose ranges differ do not share codes; one without a range stays dynamic.
// CHECK-LABEL: func.func @ranges(
// CHECK-SAME:    %[[H:.*]]: tensor<?x64xf32>
// CHECK-DAG:     %[[DYNAMIC:.*]] = heddle.quantize %[[H]] : {{.*}}act_i8
// CHECK-DAG:     %[[HALF:.*]] = heddle.quantize %[[H]] {scale = 5.000000e-01 : f32} : {{.*}}act_i8
// CHECK-DAG:     %[[ONE:.*]] = heddle.quantize %[[H]] {scale = 1.000000e+00 : f32} : {{.*}}act_i8
// CHECK:         heddle.linear %[[ONE]]
// CHECK:         heddle.linear %[[ONE]]
// CHECK:         heddle.linear %[[HALF]]
// CHECK:         heddle.linear %[[DYNAMIC]]
// I16-LABEL: func.func @ranges(
// I16:         heddle.quantize %{{.*}} {scale = 3.906250e-03 : f32} : {{.*}}act_i16
module attributes {heddle.activation_ranges = {"blk.0.attn_q" = 127.0 : f64, "blk.0.attn_k" = 127.0 : f64, "blk.0.attn_v" = 63.5 : f64}} {
  heddle.param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>> file 0 at 0
  func.func @ranges(%h: tensor<?x64xf32>) -> tensor<?x64xf32> {
    %w = heddle.get_param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>>
    %0 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32> loc("blk.0.attn_q")
    %1 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32> loc("blk.0.attn_k")
    %2 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32> loc("blk.0.attn_v")
    %3 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32> loc("blk.0.ffn_up")
    %4 = heddle.binary <add> %0, %1 : tensor<?x64xf32>
    %5 = heddle.binary <add> %2, %3 : tensor<?x64xf32>
    %6 = heddle.binary <add> %4, %5 : tensor<?x64xf32>
    return %6 : tensor<?x64xf32>
  }
}
