// RUN: heddle-opt %s | heddle-opt | FileCheck %s
// RUN: heddle-opt %s -mlir-print-op-generic | heddle-opt | FileCheck %s

// Every op, in the form in which it prints. Attributes with defaults have other values, as defaults are not printed.

//===-------------------------------------------------------------------------------------------------------------===//
// Parameters and state
//===-------------------------------------------------------------------------------------------------------------===//

// CHECK: heddle.param @file : !heddle.stored<64x32xf32, #heddle.enc<q4_1>> file 0 at 4096
heddle.param @file : !heddle.stored<64x32xf32, #heddle.enc<q4_1>> file 0 at 4096
// CHECK: heddle.param @value : tensor<4xf32> value dense<1.000000e+00> : tensor<4xf32>
heddle.param @value : tensor<4xf32> value dense<1.0> : tensor<4xf32>
// CHECK: heddle.param @packed : !heddle.stored<64x32xf32, #heddle.enc<q4_1, w16>> derived [@file] {
// CHECK-NEXT: ^bb0(%[[W:.*]]: !heddle.stored<64x32xf32, #heddle.enc<q4_1>>):
// CHECK-NEXT: %[[P:.*]] = heddle.pack %[[W]] : <64x32xf32, #heddle.enc<q4_1>> -> <64x32xf32, #heddle.enc<q4_1, w16>>
// CHECK-NEXT: heddle.yield %[[P]] : !heddle.stored<64x32xf32, #heddle.enc<q4_1, w16>>
heddle.param @packed : !heddle.stored<64x32xf32, #heddle.enc<q4_1, w16>> derived [@file] {
^bb0(%w: !heddle.stored<64x32xf32, #heddle.enc<q4_1>>):
  %0 = heddle.pack %w : !heddle.stored<64x32xf32, #heddle.enc<q4_1>> -> !heddle.stored<64x32xf32, #heddle.enc<q4_1, w16>>
  heddle.yield %0 : !heddle.stored<64x32xf32, #heddle.enc<q4_1, w16>>
}
// CHECK: heddle.param @rounded : !heddle.stored<64x32xf32, #heddle.enc<int8>> derived [@file] {
// CHECK: %{{.*}} = heddle.quantize_weights %{{.*}} {scheme = "int8", search} : <64x32xf32, #heddle.enc<q4_1>> -> <64x32xf32, #heddle.enc<int8>>
heddle.param @rounded : !heddle.stored<64x32xf32, #heddle.enc<int8>> derived [@file] {
^bb0(%w: !heddle.stored<64x32xf32, #heddle.enc<q4_1>>):
  %0 = heddle.quantize_weights %w {scheme = "int8", search} : !heddle.stored<64x32xf32, #heddle.enc<q4_1>> -> !heddle.stored<64x32xf32, #heddle.enc<int8>>
  heddle.yield %0 : !heddle.stored<64x32xf32, #heddle.enc<int8>>
}
// CHECK: heddle.param @rope : tensor<16x8xf32> derived [@value] {
// CHECK-NEXT: ^bb0(%[[F:.*]]: tensor<4xf32>):
// CHECK-NEXT: heddle.rope_table %[[F]] : tensor<4xf32> {base = 1.000000e+04 : f64, scale = 1.250000e-01 : f64} -> tensor<16x8xf32>
heddle.param @rope : tensor<16x8xf32> derived [@value] {
^bb0(%f: tensor<4xf32>):
  %0 = heddle.rope_table %f : tensor<4xf32> {base = 1.0e4 : f64, scale = 0.125 : f64} -> tensor<16x8xf32>
  heddle.yield %0 : tensor<16x8xf32>
}
// CHECK: heddle.cache @kv : !heddle.kv_cache<2x16x8xf16> {window = 512 : i64}
heddle.cache @kv : !heddle.kv_cache<2x16x8xf16> {window = 512 : i64}

//===-------------------------------------------------------------------------------------------------------------===//
// Tensor ops
//===-------------------------------------------------------------------------------------------------------------===//

// CHECK-LABEL: func.func @rows(
// CHECK-SAME: %[[X:.*]]: tensor<?x32xf32> {heddle.dims = [#heddle.dim<"n", 1 to 512>], heddle.name = "x"}, %[[I:.*]]: tensor<?xi32>, %[[V:.*]]: tensor<32xf32>
func.func @rows(%x: tensor<?x32xf32> {heddle.name = "x", heddle.dims = [#heddle.dim<"n", 1 to 512>]}, %i: tensor<?xi32>, %v: tensor<32xf32>) {
  // CHECK-NEXT: %[[W:.*]] = heddle.get_param @file : !heddle.stored<64x32xf32, #heddle.enc<q4_1>>
  %w = heddle.get_param @file : !heddle.stored<64x32xf32, #heddle.enc<q4_1>>
  // CHECK-NEXT: heddle.embedding %[[W]], %[[I]] {scale = 2.500000e+01 : f32} : !heddle.stored<64x32xf32, #heddle.enc<q4_1>>, tensor<?xi32> -> tensor<?x32xf32>
  %0 = heddle.embedding %w, %i {scale = 25.0 : f32} : !heddle.stored<64x32xf32, #heddle.enc<q4_1>>, tensor<?xi32> -> tensor<?x32xf32>
  // CHECK-NEXT: heddle.gather_rows %[[X]], %[[I]] : tensor<?x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
  %1 = heddle.gather_rows %x, %i : tensor<?x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
  // CHECK-NEXT: heddle.rms_norm %[[X]], %[[V]] {epsilon = 9.99999997E-7 : f32} : tensor<?x32xf32>, tensor<32xf32>
  %2 = heddle.rms_norm %x, %v {epsilon = 1.0e-6 : f32} : tensor<?x32xf32>, tensor<32xf32>
  // CHECK-NEXT: heddle.layer_norm %[[X]], %[[V]], %[[V]] {epsilon = 9.99999996E-13 : f32} : tensor<?x32xf32>, tensor<32xf32>, tensor<32xf32>
  %3 = heddle.layer_norm %x, %v, %v {epsilon = 1.0e-12 : f32} : tensor<?x32xf32>, tensor<32xf32>, tensor<32xf32>
  // CHECK-NEXT: heddle.l2_normalize %[[X]] {epsilon = 9.99999997E-7 : f32} : tensor<?x32xf32>
  %4 = heddle.l2_normalize %x {epsilon = 1.0e-6 : f32} : tensor<?x32xf32>
  // CHECK-NEXT: heddle.unary <gelu_tanh> %[[X]] : tensor<?x32xf32>
  %5 = heddle.unary <gelu_tanh> %x : tensor<?x32xf32>
  // CHECK-NEXT: heddle.binary <sub> %[[X]], %{{.*}} : tensor<?x32xf32>
  %6 = heddle.binary <sub> %x, %5 : tensor<?x32xf32>
  // CHECK-NEXT: heddle.scale %[[X]] by 3.000000e+00 : tensor<?x32xf32>
  %7 = heddle.scale %x by 3.0 : tensor<?x32xf32>
  // CHECK-NEXT: heddle.reshape %[[X]] : tensor<?x32xf32> -> tensor<?x2x16xf32>
  %8 = heddle.reshape %x : tensor<?x32xf32> -> tensor<?x2x16xf32>
  // CHECK-NEXT: heddle.pool_rows <first> %[[X]], %[[I]] : tensor<?x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
  %9 = heddle.pool_rows <first> %x, %i : tensor<?x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
  return
}

// CHECK-LABEL: func.func @products(
// CHECK-SAME: %[[X:.*]]: tensor<?x32xf32>, %[[B:.*]]: tensor<64xf32>
func.func @products(%x: tensor<?x32xf32>, %b: tensor<64xf32>) {
  // CHECK-NEXT: %[[W:.*]] = heddle.get_param @packed
  %w = heddle.get_param @packed : !heddle.stored<64x32xf32, #heddle.enc<q4_1, w16>>
  // CHECK-NEXT: heddle.linear %[[X]], %[[W]] bias %[[B]] : tensor<?x32xf32>, <64x32xf32, #heddle.enc<q4_1, w16>>, tensor<64xf32> -> tensor<?x64xf32>
  %0 = heddle.linear %x, %w bias %b : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q4_1, w16>>, tensor<64xf32> -> tensor<?x64xf32>
  // CHECK-NEXT: %[[Q:.*]] = heddle.quantize %[[X]] : tensor<?x32xf32> -> <?x32xf32, #heddle.enc<act_i16>>
  %q = heddle.quantize %x : tensor<?x32xf32> -> !heddle.stored<?x32xf32, #heddle.enc<act_i16>>
  // CHECK-NEXT: heddle.linear %[[Q]], %[[W]] : !heddle.stored<?x32xf32, #heddle.enc<act_i16>>, <64x32xf32, #heddle.enc<q4_1, w16>> -> tensor<?x64xf32>
  %1 = heddle.linear %q, %w : !heddle.stored<?x32xf32, #heddle.enc<act_i16>>, !heddle.stored<64x32xf32, #heddle.enc<q4_1, w16>> -> tensor<?x64xf32>
  // CHECK-NEXT: heddle.dequantize %[[Q]] : <?x32xf32, #heddle.enc<act_i16>> -> tensor<?x32xf32>
  %2 = heddle.dequantize %q : !heddle.stored<?x32xf32, #heddle.enc<act_i16>> -> tensor<?x32xf32>
  return
}

// CHECK-LABEL: func.func @attend(
// CHECK-SAME: %[[Q:.*]]: tensor<?x4x16xf32>, %[[K:.*]]: tensor<?x2x16xf32>, %[[V:.*]]: tensor<?x2x8xf32>, %[[S:.*]]: tensor<?xi32>, %[[P:.*]]: tensor<?xi32>
func.func @attend(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x8xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // CHECK-NEXT: %[[T:.*]] = heddle.get_param @rope
  %t = heddle.get_param @rope : tensor<16x8xf32>
  // CHECK-NEXT: heddle.rope <half> %[[Q]], %[[T]], %[[P]] : tensor<?x4x16xf32>, tensor<16x8xf32>, tensor<?xi32>
  %0 = heddle.rope <half> %q, %t, %p : tensor<?x4x16xf32>, tensor<16x8xf32>, tensor<?xi32>
  // CHECK-NEXT: %[[C:.*]] = heddle.get_cache @kv : <2x16x8xf16>
  %c = heddle.get_cache @kv : !heddle.kv_cache<2x16x8xf16>
  // CHECK-NEXT: heddle.cache_append %[[C]], %[[K]], %[[V]] at %[[S]], %[[P]] : <2x16x8xf16>, tensor<?x2x16xf32>, tensor<?x2x8xf32>, tensor<?xi32>, tensor<?xi32>
  heddle.cache_append %c, %k, %v at %s, %p : !heddle.kv_cache<2x16x8xf16>, tensor<?x2x16xf32>, tensor<?x2x8xf32>, tensor<?xi32>, tensor<?xi32>
  // CHECK-NEXT: heddle.attention %[[Q]] cache %[[C]] at %[[S]], %[[P]] {scale = 2.500000e-01 : f32} score {
  // CHECK: } mask {
  // CHECK: } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x8xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x8xf32>
  %1 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    %a = math.absf %score : f32
    heddle.yield %a : f32
  } mask {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    %m = arith.cmpi sle, %kp, %qp : i32
    heddle.yield %m : i1
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x8xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x8xf32>
  // CHECK: heddle.attention %[[Q]] keys %[[K]] values %[[V]] at %[[S]], %[[P]] {scale = 1.000000e+00 : f32} score {
  // CHECK: } mask {
  // CHECK-NEXT: } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x8xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x8xf32>
  %2 = heddle.attention %q keys %k values %v at %s, %p {scale = 1.0 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x8xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x8xf32>
  return
}

// CHECK-LABEL: func.func @selections(
func.func @selections(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x8xf32>, %c: !heddle.kv_cache<2x16x8xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>,
                      %mask: tensor<4x4xf32>, %heads: !heddle.selection<heads, ?x4>, %skip: tensor<4x8xf32>, %bias: tensor<4x64xf32>, %other: tensor<?xi32>) {
  // CHECK: %[[B:.*]] = heddle.select_blocks %{{.*}} at %{{.*}} : tensor<4x4xf32>, tensor<?xi32> -> <blocks, ?x4, 16>
  %0 = heddle.select_blocks %mask at %p : tensor<4x4xf32>, tensor<?xi32> -> !heddle.selection<blocks, ?x4, 16>
  // CHECK: heddle.select_blocks %{{.*}} : tensor<4x4xf32> -> <blocks, 4x4, 32>
  %1 = heddle.select_blocks %mask : tensor<4x4xf32> -> !heddle.selection<blocks, 4x4, 32>
  // CHECK: heddle.top_k 3 of %{{.*}} cache %{{.*}} at %{{.*}}, %{{.*}} {scale = 2.500000e-01 : f32} score {
  // CHECK: } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x8xf16>, tensor<?xi32>, tensor<?xi32> -> <tokens, ?x64>
  %2 = heddle.top_k 3 of %q cache %c at %s, %p {scale = 0.25 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x8xf16>, tensor<?xi32>, tensor<?xi32> -> !heddle.selection<tokens, ?x64>
  // CHECK: heddle.attention %{{.*}} cache %{{.*}} at %{{.*}}, %{{.*}} select(%{{.*}}, %[[B]] : !heddle.selection<heads, ?x4>, !heddle.selection<blocks, ?x4, 16>) skip %{{.*}} : tensor<4x8xf32> {
  %3 = heddle.attention %q cache %c at %s, %p select(%heads, %0 : !heddle.selection<heads, ?x4>, !heddle.selection<blocks, ?x4, 16>) skip %skip : tensor<4x8xf32> {scale = 0.25 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32, %row: i32):
    // CHECK: heddle.element %{{.*}}[%{{.*}}, %{{.*}}] : tensor<4x64xf32>
    %b = heddle.element %bias[%qh, %row] : tensor<4x64xf32>
    %y = arith.addf %score, %b : f32
    heddle.yield %y : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x8xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x8xf32>
  // CHECK: %[[C:.*]] = heddle.attention
  // CHECK: -> tensor<?x4x3x10xf32>
  %5 = heddle.attention %q cache %c at %s, %p {scale = 0.25 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x8xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x3x10xf32>
  // CHECK: heddle.merge_chunks %[[C]] at %{{.*}} : tensor<?x4x3x10xf32>, tensor<?xi32> -> tensor<?x4x8xf32>
  %6 = heddle.merge_chunks %5 at %p : tensor<?x4x3x10xf32>, tensor<?xi32> -> tensor<?x4x8xf32>
  // CHECK: heddle.attention %{{.*}} keys %{{.*}} values %{{.*}} from %{{.*}} at %{{.*}}, %{{.*}} {
  %4 = heddle.attention %q keys %k values %v from %other at %s, %p {scale = 0.25 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  // CHECK: from tensor<?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x8xf32>
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x8xf32> from tensor<?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x8xf32>
  return
}

//===-------------------------------------------------------------------------------------------------------------===//
// Kernel level
//===-------------------------------------------------------------------------------------------------------------===//

// CHECK: heddle.kernel @twice family <rows> target "cpu" schedule {tile = 4 : i64} attributes {note = "kept"} {
// CHECK-NEXT: ^bb0(%[[X:.*]]: tensor<?x32xf32>):
// CHECK-NEXT: %[[Y:.*]] = heddle.scale %[[X]] by 2.000000e+00
// CHECK-NEXT: heddle.yield %[[X]], %[[Y]] : tensor<?x32xf32>, tensor<?x32xf32>
heddle.kernel @twice family <rows> target "cpu" schedule {tile = 4 : i64} attributes {note = "kept"} {
^bb0(%x: tensor<?x32xf32>):
  %0 = heddle.scale %x by 2.0 : tensor<?x32xf32>
  heddle.yield %x, %0 : tensor<?x32xf32>, tensor<?x32xf32>
}

// CHECK-LABEL: func.func @launches(
func.func @launches(%x: tensor<?x32xf32>) {
  // CHECK-NEXT: %[[R:.*]]:2 = heddle.launch @twice(%{{.*}}) over "n" : (tensor<?x32xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  %0:2 = heddle.launch @twice(%x) over "n" : (tensor<?x32xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  // CHECK-NEXT: heddle.launch @twice(%[[R]]#1) over "n" arena [64, -1] barrier : (tensor<?x32xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  %1:2 = heddle.launch @twice(%0#1) over "n" arena [64, -1] barrier : (tensor<?x32xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  return
}
