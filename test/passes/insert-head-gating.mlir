// RUN: heddle-opt %s -heddle-insert-head-gating -mlir-print-debuginfo=false | FileCheck %s
// RUN: heddle-opt %s -heddle-insert-head-gating -heddle-report-decisions 2>&1 | FileCheck %s --check-prefix=WHY

heddle.param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>> file 0 at 0
heddle.param @all.gate.weight : tensor<4x32xf32> file 1 at 0
heddle.param @all.gate.bias : tensor<4xf32> file 1 at 512
heddle.param @all.gate.skip : tensor<4x16xf32> file 1 at 1024
heddle.param @plain.gate.weight : tensor<4x32xf32> file 1 at 0
heddle.param @shared.gate.weight : tensor<4x32xf32> file 1 at 0

// The gate reads what the queries come from, and stands before them.
// CHECK-LABEL: func.func @gated(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<?x32xf32>
// CHECK-DAG:     %[[W:.*]] = heddle.get_param @all.gate.weight
// CHECK-DAG:     %[[B:.*]] = heddle.get_param @all.gate.bias
// CHECK-DAG:     %[[S:.*]] = heddle.get_param @all.gate.skip
// CHECK:         %[[H:.*]] = heddle.head_gate %[[X]], %[[W]] bias %[[B]]
// CHECK:         heddle.linear %[[X]]
// CHECK:         heddle.attention {{.*}} select(%[[H]] : !heddle.selection<heads, ?x4>) skip %[[S]] : tensor<4x16xf32>
// WHY: remark: {{.*}}gate: a gate on the layer's input says which of 4 heads a row needs; others yield their parameter 'all.gate.skip'
func.func @gated(%x: tensor<?x32xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x4x16xf32> {
  %w = heddle.get_param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>>
  %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  %q = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32> loc("all")
  return %o : tensor<?x4x16xf32>
}

// Without a bias and a skip value: heads that are off yield zeros.
// CHECK-LABEL: func.func @zeros(
// CHECK:         %[[H:.*]] = heddle.head_gate %{{.*}}, %{{.*}} : tensor
// CHECK:         heddle.attention {{.*}} select(%[[H]] : !heddle.selection<heads, ?x4>) {
func.func @zeros(%x: tensor<?x32xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x4x16xf32> {
  %w = heddle.get_param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>>
  %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  %q = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32> loc("plain")
  return %o : tensor<?x4x16xf32>
}

// Queries that others read too, and an attention without parameters of a gate, stay.
// CHECK-LABEL: func.func @left_alone(
// CHECK-NOT:     heddle.head_gate
// CHECK:         return
// WHY: remark: {{.*}}keep: its queries are no product of f32 numbers that they alone read, so there is no input to gate by
func.func @left_alone(%x: tensor<?x32xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> (tensor<?x4x16xf32>, tensor<?x4x16xf32>) {
  %w = heddle.get_param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>>
  %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  %q = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32> loc("shared")
  %n = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32> loc("none")
  return %o, %n : tensor<?x4x16xf32>, tensor<?x4x16xf32>
}
