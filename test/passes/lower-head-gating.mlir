// RUN: heddle-opt %s -heddle-lower-head-gating | FileCheck %s
// RUN: heddle-opt %s -heddle-lower-head-gating=dense | FileCheck %s --check-prefix=DENSE
// RUN: heddle-opt %s -heddle-lower-head-gating -heddle-report-decisions 2>&1 | FileCheck %s --check-prefix=WHY

heddle.param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>> file 0 at 0
heddle.param @wo : !heddle.stored<32x64xf32, #heddle.enc<f16>> file 0 at 4096
heddle.param @skip : tensor<4x16xf32> file 1 at 0

// What a skip value contributes after the output projection is a parameter of its own.
// CHECK:      heddle.param @skip.projected : tensor<4x32xf32> derived [@skip, @wo] {
// CHECK-NEXT: ^bb0(%[[S:.*]]: tensor<4x16xf32>, %[[W:.*]]: !heddle.stored<32x64xf32, #heddle.enc<f16>>):
// CHECK-NEXT:   %[[D:.*]] = heddle.block_diagonal %[[S]] : tensor<4x16xf32> -> tensor<4x64xf32>
// CHECK-NEXT:   %[[P:.*]] = heddle.linear %[[D]], %[[W]]
// CHECK-NEXT:   heddle.yield %[[P]]

// CHECK-LABEL: func.func @means(
// CHECK:         %[[H:.*]] = heddle.head_gate
// CHECK:         heddle.linear %{{.*}}, %{{.*}} select <results>(%[[H]] : !heddle.selection<heads, ?x4>)
// CHECK:         heddle.attention {{.*}} select(%[[H]] : !heddle.selection<heads, ?x4>) {
// CHECK:         %[[Y:.*]] = heddle.linear %{{.*}}, %{{.*}} select <inputs>(%[[H]] : !heddle.selection<heads, ?x4>)
// CHECK:         %[[T:.*]] = heddle.get_param @skip.projected
// CHECK:         %[[C:.*]] = heddle.skipped_sum %[[T]] by %[[H]]
// CHECK:         %[[Z:.*]] = heddle.binary <add> %[[Y]], %[[C]]
// CHECK:         return %[[Z]]

// DENSE-LABEL: func.func @means(
// DENSE:         %[[H:.*]] = heddle.head_gate
// DENSE-NOT:     select
// DENSE:         %[[O:.*]] = heddle.attention
// DENSE:         heddle.mask_heads %[[O]] by %[[H]] skip %{{.*}} : tensor<?x4x16xf32>
// DENSE-NOT:     select
// DENSE:         return
func.func @means(%x: tensor<?x32xf32>, %gate: tensor<4x32xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x32xf32> {
  %wq = heddle.get_param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>>
  %wo = heddle.get_param @wo : !heddle.stored<32x64xf32, #heddle.enc<f16>>
  %skip = heddle.get_param @skip : tensor<4x16xf32>
  %heads = heddle.head_gate %x, %gate : tensor<?x32xf32>, tensor<4x32xf32> -> !heddle.selection<heads, ?x4>
  %0 = heddle.linear %x, %wq : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  %q = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p select(%heads : !heddle.selection<heads, ?x4>) skip %skip : tensor<4x16xf32> {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  %a = heddle.reshape %o : tensor<?x4x16xf32> -> tensor<?x64xf32>
  %y = heddle.linear %a, %wo : tensor<?x64xf32>, !heddle.stored<32x64xf32, #heddle.enc<f16>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// A result that others read too keeps its skip value, and queries that others read are made whole.
// CHECK-LABEL: func.func @shared(
// CHECK:         heddle.linear %{{.*}}, %{{.*}} : tensor<?x32xf32>
// CHECK:         heddle.attention {{.*}} skip %{{.*}} : tensor<4x16xf32> {
// CHECK:         heddle.linear %{{.*}}, %{{.*}} : tensor<?x64xf32>
// WHY: remark: {{.*}}keep: its queries are computed for all heads: other ops read them too
// WHY: remark: {{.*}}keep: its result is read as a whole, so heads that are not selected are written to it
func.func @shared(%x: tensor<?x32xf32>, %gate: tensor<4x32xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> (tensor<?x32xf32>, tensor<?x64xf32>, tensor<?x64xf32>) {
  %wq = heddle.get_param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>>
  %wo = heddle.get_param @wo : !heddle.stored<32x64xf32, #heddle.enc<f16>>
  %skip = heddle.get_param @skip : tensor<4x16xf32>
  %heads = heddle.head_gate %x, %gate : tensor<?x32xf32>, tensor<4x32xf32> -> !heddle.selection<heads, ?x4>
  %0 = heddle.linear %x, %wq : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  %q = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p select(%heads : !heddle.selection<heads, ?x4>) skip %skip : tensor<4x16xf32> {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  %a = heddle.reshape %o : tensor<?x4x16xf32> -> tensor<?x64xf32>
  %y = heddle.linear %a, %wo : tensor<?x64xf32>, !heddle.stored<32x64xf32, #heddle.enc<f16>> -> tensor<?x32xf32>
  return %y, %0, %a : tensor<?x32xf32>, tensor<?x64xf32>, tensor<?x64xf32>
}

// Skip values that are computed are multiplied for every row.
// CHECK-LABEL: func.func @computed_skip(
// CHECK:         heddle.attention {{.*}} skip %{{.*}} : tensor<4x16xf32> {
// WHY: remark: {{.*}}keep: the skip values or the output projection are no parameters, so they are multiplied for every row
func.func @computed_skip(%x: tensor<?x32xf32>, %gate: tensor<4x32xf32>, %skip: tensor<4x16xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x32xf32> {
  %wq = heddle.get_param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>>
  %wo = heddle.get_param @wo : !heddle.stored<32x64xf32, #heddle.enc<f16>>
  %heads = heddle.head_gate %x, %gate : tensor<?x32xf32>, tensor<4x32xf32> -> !heddle.selection<heads, ?x4>
  %0 = heddle.linear %x, %wq : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  %q = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p select(%heads : !heddle.selection<heads, ?x4>) skip %skip : tensor<4x16xf32> {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  %a = heddle.reshape %o : tensor<?x4x16xf32> -> tensor<?x64xf32>
  %y = heddle.linear %a, %wo : tensor<?x64xf32>, !heddle.stored<32x64xf32, #heddle.enc<f16>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// Only the selection of heads becomes a mask.
// DENSE-LABEL: func.func @heads_and_blocks(
// DENSE:         heddle.attention {{.*}} select(%{{.*}} : !heddle.selection<blocks, ?x2, 16>) {
// DENSE:         heddle.mask_heads
func.func @heads_and_blocks(%x: tensor<?x32xf32>, %gate: tensor<4x32xf32>, %blocks: !heddle.selection<blocks, ?x2, 16>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x32xf32> {
  %wq = heddle.get_param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>>
  %wo = heddle.get_param @wo : !heddle.stored<32x64xf32, #heddle.enc<f16>>
  %heads = heddle.head_gate %x, %gate : tensor<?x32xf32>, tensor<4x32xf32> -> !heddle.selection<heads, ?x4>
  %0 = heddle.linear %x, %wq : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  %q = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p select(%heads, %blocks : !heddle.selection<heads, ?x4>, !heddle.selection<blocks, ?x2, 16>) {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  %a = heddle.reshape %o : tensor<?x4x16xf32> -> tensor<?x64xf32>
  %y = heddle.linear %a, %wo : tensor<?x64xf32>, !heddle.stored<32x64xf32, #heddle.enc<f16>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
