// RUN: heddle-opt %s -heddle-insert-head-gating -heddle-specialize-head-mask -mlir-print-debuginfo=false -split-input-file | FileCheck %s
// RUN: heddle-opt %s -heddle-insert-head-gating -heddle-specialize-head-mask -heddle-report-decisions -split-input-file 2>&1 | FileCheck %s --check-prefix=WHY

heddle.param @wq : !heddle.stored<128x32xf32, #heddle.enc<q8_0>> file 0 at 0
heddle.param @wk : !heddle.stored<64x32xf32, #heddle.enc<q8_0>> file 0 at 8192
heddle.param @wv : !heddle.stored<64x32xf32, #heddle.enc<q8_0>> file 0 at 16384
heddle.param @wo : !heddle.stored<32x128xf32, #heddle.enc<q8_0>> file 0 at 24576
heddle.param @attn.gate.keep : tensor<4xi1> value dense<[true, true, false, false]> : tensor<4xi1>
heddle.param @attn.gate.skip : tensor<4x32xf32> file 1 at 0
heddle.param @attn.gate.weight : tensor<4x32xf32> file 1 at 512
heddle.cache @kv : !heddle.kv_cache<2x32x32xf16>

// A group that is off takes its keys, its values and its part of the cache along; what its heads' skip values
// contribute becomes a bias.
// CHECK-DAG:   heddle.param @wq.kept : !heddle.stored<64x32xf32, #heddle.enc<q8_0>> derived [@wq]
// CHECK-DAG:   heddle.keep_parts %{{.*}} axis 0 keep [true, true, false, false]
// CHECK-DAG:   heddle.param @wk.kept : !heddle.stored<32x32xf32, #heddle.enc<q8_0>> derived [@wk]
// CHECK-DAG:   heddle.param @wo.kept : !heddle.stored<32x64xf32, #heddle.enc<q8_0>> derived [@wo]
// CHECK-DAG:   heddle.param @attn.gate.skip.bias : tensor<32xf32> derived [@attn.gate.skip, @wo]
// CHECK-DAG:   heddle.cache @kv : !heddle.kv_cache<1x32x32xf16>
// CHECK-LABEL: func.func @group(
// CHECK:         %[[H:.*]] = heddle.head_gate %{{.*}}, %{{.*}} : tensor<?x32xf32>, tensor<2x32xf32> -> <heads, ?x2>
// CHECK:         heddle.linear %{{.*}}, %{{.*}} : tensor<?x32xf32>, <64x32xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32>
// CHECK:         heddle.attention {{.*}} select(%[[H]] : !heddle.selection<heads, ?x2>) skip %{{.*}} : tensor<2x32xf32>
// CHECK:         tensor<?x2x32xf32>, tensor<?x1x32xf32>, tensor<?x1x32xf32> cache !heddle.kv_cache<1x32x32xf16>
// CHECK:         heddle.linear %{{.*}}, %{{.*}} bias %{{.*}} : tensor<?x64xf32>, <32x64xf32, #heddle.enc<q8_0>>, tensor<32xf32> -> tensor<?x32xf32>
// WHY: remark: {{.*}}remove: 2 of 4 heads and 1 of 2 KV heads are removed
func.func @group(%x: tensor<?x32xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x32xf32> {
  %wq = heddle.get_param @wq : !heddle.stored<128x32xf32, #heddle.enc<q8_0>>
  %wk = heddle.get_param @wk : !heddle.stored<64x32xf32, #heddle.enc<q8_0>>
  %wv = heddle.get_param @wv : !heddle.stored<64x32xf32, #heddle.enc<q8_0>>
  %wo = heddle.get_param @wo : !heddle.stored<32x128xf32, #heddle.enc<q8_0>>
  %c = heddle.get_cache @kv : !heddle.kv_cache<2x32x32xf16>
  %0 = heddle.linear %x, %wq : tensor<?x32xf32>, !heddle.stored<128x32xf32, #heddle.enc<q8_0>> -> tensor<?x128xf32>
  %q = heddle.reshape %0 : tensor<?x128xf32> -> tensor<?x4x32xf32>
  %1 = heddle.linear %x, %wk : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32>
  %k = heddle.reshape %1 : tensor<?x64xf32> -> tensor<?x2x32xf32>
  %2 = heddle.linear %x, %wv : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32>
  %v = heddle.reshape %2 : tensor<?x64xf32> -> tensor<?x2x32xf32>
  %o = heddle.attention %q keys %k values %v cache %c at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x32xf32>, tensor<?x2x32xf32>, tensor<?x2x32xf32> cache !heddle.kv_cache<2x32x32xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x32xf32> loc("attn")
  %a = heddle.reshape %o : tensor<?x4x32xf32> -> tensor<?x128xf32>
  %y = heddle.linear %a, %wo : tensor<?x128xf32>, !heddle.stored<32x128xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

heddle.param @wq : !heddle.stored<128x32xf32, #heddle.enc<q8_0>> file 0 at 0
heddle.param @wo : !heddle.stored<32x128xf32, #heddle.enc<q8_0>> file 0 at 24576
heddle.param @even.gate.keep : tensor<4xi1> value dense<[true, false, false, true]> : tensor<4xi1>
heddle.param @uneven.gate.keep : tensor<4xi1> value dense<[true, false, true, true]> : tensor<4xi1>

// One head of each group: keys and values stay.
// CHECK-LABEL: func.func @even(
// CHECK-NOT:     heddle.head_gate
// CHECK:         heddle.attention
// CHECK:         tensor<?x2x32xf32>, tensor<?x2x32xf32>, tensor<?x2x32xf32>, tensor<?xi32>
// WHY: remark: {{.*}}remove: 2 of 4 heads and 0 of 2 KV heads are removed
func.func @even(%x: tensor<?x32xf32>, %k: tensor<?x2x32xf32>, %v: tensor<?x2x32xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x32xf32> {
  %wq = heddle.get_param @wq : !heddle.stored<128x32xf32, #heddle.enc<q8_0>>
  %wo = heddle.get_param @wo : !heddle.stored<32x128xf32, #heddle.enc<q8_0>>
  %0 = heddle.linear %x, %wq : tensor<?x32xf32>, !heddle.stored<128x32xf32, #heddle.enc<q8_0>> -> tensor<?x128xf32>
  %q = heddle.reshape %0 : tensor<?x128xf32> -> tensor<?x4x32xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x32xf32>, tensor<?x2x32xf32>, tensor<?x2x32xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x32xf32> loc("even")
  %a = heddle.reshape %o : tensor<?x4x32xf32> -> tensor<?x128xf32>
  %y = heddle.linear %a, %wo : tensor<?x128xf32>, !heddle.stored<32x128xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// A head off in one group only stays, with a gate that is always off.
// CHECK:         heddle.param @uneven.gate.mask : tensor<4xf32> value dense<[1.000000e+00, -1.000000e+00, 1.000000e+00, 1.000000e+00]>
// CHECK-LABEL: func.func @uneven(
// CHECK:         %[[H:.*]] = heddle.head_gate
// CHECK:         heddle.attention {{.*}} select(%[[H]] : !heddle.selection<heads, ?x4>)
// WHY: remark: {{.*}}gate: 1 heads stay beside others of their group and are always off
func.func @uneven(%x: tensor<?x32xf32>, %k: tensor<?x2x32xf32>, %v: tensor<?x2x32xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x32xf32> {
  %wq = heddle.get_param @wq : !heddle.stored<128x32xf32, #heddle.enc<q8_0>>
  %wo = heddle.get_param @wo : !heddle.stored<32x128xf32, #heddle.enc<q8_0>>
  %0 = heddle.linear %x, %wq : tensor<?x32xf32>, !heddle.stored<128x32xf32, #heddle.enc<q8_0>> -> tensor<?x128xf32>
  %q = heddle.reshape %0 : tensor<?x128xf32> -> tensor<?x4x32xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x32xf32>, tensor<?x2x32xf32>, tensor<?x2x32xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x32xf32> loc("uneven")
  %a = heddle.reshape %o : tensor<?x4x32xf32> -> tensor<?x128xf32>
  %y = heddle.linear %a, %wo : tensor<?x128xf32>, !heddle.stored<32x128xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

heddle.param @wq : !heddle.stored<128x32xf32, #heddle.enc<q8_0>> file 0 at 0
heddle.param @wo : !heddle.stored<32x128xf32, #heddle.enc<q8_0>> file 0 at 0
heddle.param @told.gate.keep : tensor<4xi1> value dense<[true, false, true, false]> : tensor<4xi1>

// Scores that depend on the KV head would change with its number: all heads stay.
// CHECK-LABEL: func.func @told_apart(
// CHECK:         heddle.attention {{.*}} select(%{{.*}} : !heddle.selection<heads, ?x4>)
// WHY: remark: {{.*}}keep: {{.*}}its regions tell heads apart
func.func @told_apart(%x: tensor<?x32xf32>, %k: tensor<?x2x32xf32>, %v: tensor<?x2x32xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x32xf32> {
  %wq = heddle.get_param @wq : !heddle.stored<128x32xf32, #heddle.enc<q8_0>>
  %wo = heddle.get_param @wo : !heddle.stored<32x128xf32, #heddle.enc<q8_0>>
  %0 = heddle.linear %x, %wq : tensor<?x32xf32>, !heddle.stored<128x32xf32, #heddle.enc<q8_0>> -> tensor<?x128xf32>
  %q = heddle.reshape %0 : tensor<?x128xf32> -> tensor<?x4x32xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    %h = arith.sitofp %kh : i32 to f32
    %r = arith.addf %score, %h : f32
    heddle.yield %r : f32
  } mask {
  } : tensor<?x4x32xf32>, tensor<?x2x32xf32>, tensor<?x2x32xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x32xf32> loc("told")
  %a = heddle.reshape %o : tensor<?x4x32xf32> -> tensor<?x128xf32>
  %y = heddle.linear %a, %wo : tensor<?x128xf32>, !heddle.stored<32x128xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

heddle.param @wq : !heddle.stored<128x32xf32, #heddle.enc<q8_0>> file 0 at 0
heddle.param @wo : !heddle.stored<32x128xf32, #heddle.enc<q8_0>> file 0 at 0
heddle.param @gated.gate.weight : tensor<4x32xf32> file 1 at 0
heddle.param @gated.gate.keep : tensor<4xi1> value dense<[true, false, true, true]> : tensor<4xi1>

// A head that stays beside others of its group, under a gate of the model.
// CHECK-LABEL: func.func @gated(
// CHECK:         heddle.head_gate %{{.*}}, %{{.*}} : tensor<?x32xf32>, tensor<4x32xf32>
// WHY: remark: {{.*}}keep: 1 heads that are off stay beside others of their group; their gate decides
func.func @gated(%x: tensor<?x32xf32>, %k: tensor<?x2x32xf32>, %v: tensor<?x2x32xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x32xf32> {
  %wq = heddle.get_param @wq : !heddle.stored<128x32xf32, #heddle.enc<q8_0>>
  %wo = heddle.get_param @wo : !heddle.stored<32x128xf32, #heddle.enc<q8_0>>
  %0 = heddle.linear %x, %wq : tensor<?x32xf32>, !heddle.stored<128x32xf32, #heddle.enc<q8_0>> -> tensor<?x128xf32>
  %q = heddle.reshape %0 : tensor<?x128xf32> -> tensor<?x4x32xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x32xf32>, tensor<?x2x32xf32>, tensor<?x2x32xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x32xf32> loc("gated")
  %a = heddle.reshape %o : tensor<?x4x32xf32> -> tensor<?x128xf32>
  %y = heddle.linear %a, %wo : tensor<?x128xf32>, !heddle.stored<32x128xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
