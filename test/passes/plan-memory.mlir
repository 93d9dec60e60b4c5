// RUN: heddle-opt %s -heddle-plan-memory | FileCheck %s

#n = #heddle.dim<"n", 1 to 4>

heddle.kernel @unary family <rows> target "cpu" {
^bb0(%x: tensor<?x16xf32>):
  %0 = heddle.unary <silu> %x : tensor<?x16xf32>
  heddle.yield %0 : tensor<?x16xf32>
}
heddle.kernel @wide family <rows> target "cpu" {
^bb0(%x: tensor<?x16xf32>):
  %0 = heddle.reshape %x : tensor<?x16xf32> -> tensor<?x4x4xf32>
  heddle.yield %0 : tensor<?x4x4xf32>
}
heddle.kernel @add family <rows> target "cpu" {
^bb0(%x: tensor<?x16xf32>, %y: tensor<?x16xf32>):
  %0 = heddle.binary <add> %x, %y : tensor<?x16xf32>
  heddle.yield %0 : tensor<?x16xf32>
}

// 4 rows of 16 f32 are 256 bytes. The first two launches are independent and share a stretch without a barrier, so their results lie apart though the
// first one's only reader comes next; the third reuses nothing that its own stretch reads; what returns is not in the arena.
// CHECK-LABEL: func.func @reuse(
// CHECK-SAME:    heddle.arena_bytes = 768
// CHECK-NEXT:    %[[A:.*]] = heddle.launch @unary(%{{.*}}) over "n" arena [0] :
// CHECK-NEXT:    %[[B:.*]] = heddle.launch @unary(%{{.*}}) over "n" arena [256] :
// CHECK-NEXT:    %[[C:.*]] = heddle.launch @unary(%[[A]]) over "n" arena [512] barrier :
// CHECK-NEXT:    %[[D:.*]] = heddle.launch @add(%[[B]], %[[C]]) over "n" arena [0] barrier :
// CHECK-NEXT:    %[[E:.*]] = heddle.launch @unary(%[[D]]) over "n" arena [-1] barrier :
// CHECK-NEXT:    return %[[E]]
func.func @reuse(%x: tensor<?x16xf32> {heddle.dims = [#n]}) -> tensor<?x16xf32> {
  %0 = heddle.launch @unary(%x) over "n" : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %1 = heddle.launch @unary(%x) over "n" : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %2 = heddle.launch @unary(%0) over "n" : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %3 = heddle.launch @add(%1, %2) over "n" : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  %4 = heddle.launch @unary(%3) over "n" : (tensor<?x16xf32>) -> tensor<?x16xf32>
  return %4 : tensor<?x16xf32>
}

// Activations take the bytes of their layout: a row of 32 in act_i16 is 64 codes, 4 + 8 + 8 bytes of scale and sums, up to a multiple of 64: 128.
// CHECK-LABEL: func.func @stored(
// CHECK-SAME:    heddle.arena_bytes = 1024
// CHECK:         heddle.launch @quantize({{.*}}) over "n" arena [0, 512] :
heddle.kernel @quantize family <rows> target "cpu" {
^bb0(%x: tensor<?x32xf32>):
  %0 = heddle.quantize %x : tensor<?x32xf32> -> !heddle.stored<?x32xf32, #heddle.enc<act_i16>>
  heddle.yield %x, %0 : tensor<?x32xf32>, !heddle.stored<?x32xf32, #heddle.enc<act_i16>>
}
heddle.kernel @linear family <contraction> target "cpu" {
^bb0(%x: !heddle.stored<?x32xf32, #heddle.enc<act_i16>>, %w: !heddle.stored<32x32xf32, #heddle.enc<q8_0>>, %r: tensor<?x32xf32>):
  %0 = heddle.linear %x, %w : !heddle.stored<?x32xf32, #heddle.enc<act_i16>>, !heddle.stored<32x32xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>
  %1 = heddle.binary <add> %0, %r : tensor<?x32xf32>
  heddle.yield %1 : tensor<?x32xf32>
}
func.func @stored(%x: tensor<?x32xf32> {heddle.dims = [#n]}, %w: !heddle.stored<32x32xf32, #heddle.enc<q8_0>>) -> tensor<?x32xf32> {
  %0:2 = heddle.launch @quantize(%x) over "n" : (tensor<?x32xf32>) -> (tensor<?x32xf32>, !heddle.stored<?x32xf32, #heddle.enc<act_i16>>)
  %1 = heddle.launch @linear(%0#1, %w, %0#0) over "n"
    : (!heddle.stored<?x32xf32, #heddle.enc<act_i16>>, !heddle.stored<32x32xf32, #heddle.enc<q8_0>>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %1 : tensor<?x32xf32>
}

// Append after read, and read after append, of one cache need a barrier; two caches are independent.
heddle.cache @kv.0 : !heddle.kv_cache<4x4x4xf16>
heddle.cache @kv.1 : !heddle.kv_cache<4x4x4xf16>
heddle.kernel @append family <rows> target "cpu" {
^bb0(%c: !heddle.kv_cache<4x4x4xf16>, %k: tensor<?x4x4xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>):
  heddle.cache_append %c, %k, %k at %s, %p : !heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?xi32>, tensor<?xi32>
  heddle.yield
}
heddle.kernel @attend family <attention> target "cpu" {
^bb0(%c: !heddle.kv_cache<4x4x4xf16>, %q: tensor<?x4x4xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>):
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x4xf32> cache !heddle.kv_cache<4x4x4xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x4xf32>
  heddle.yield %0 : tensor<?x4x4xf32>
}
// CHECK-LABEL: func.func @caches(
// CHECK:         heddle.launch @append(%[[C0:[0-9a-z]+]], {{.*}} over "n" arena [] :
// CHECK-NEXT:    heddle.launch @append(%[[C1:[0-9a-z]+]], {{.*}} over "n" arena [] :
// CHECK-NEXT:    heddle.launch @attend(%[[C0]], {{.*}} over "n" arena [-1] barrier :
// CHECK-NEXT:    heddle.launch @attend(%[[C1]], {{.*}} over "n" arena [-1] :
// CHECK-NEXT:    heddle.launch @append(%[[C1]], {{.*}} over "n" arena [] barrier :
// CHECK-NEXT:    heddle.launch @append(%[[C1]], {{.*}} over "n" arena [] barrier :
func.func @caches(%q: tensor<?x4x4xf32> {heddle.dims = [#n]}, %s: tensor<?xi32> {heddle.dims = [#n]}, %p: tensor<?xi32> {heddle.dims = [#n]})
    -> (tensor<?x4x4xf32>, tensor<?x4x4xf32>) {
  %c0 = heddle.get_cache @kv.0 : !heddle.kv_cache<4x4x4xf16>
  %c1 = heddle.get_cache @kv.1 : !heddle.kv_cache<4x4x4xf16>
  heddle.launch @append(%c0, %q, %s, %p) over "n" : (!heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  heddle.launch @append(%c1, %q, %s, %p) over "n" : (!heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  %0 = heddle.launch @attend(%c0, %q, %s, %p) over "n" : (!heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x4x4xf32>
  %1 = heddle.launch @attend(%c1, %q, %s, %p) over "n" : (!heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x4x4xf32>
  heddle.launch @append(%c1, %q, %s, %p) over "n" : (!heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  heddle.launch @append(%c1, %q, %s, %p) over "n" : (!heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  return %0, %1 : tensor<?x4x4xf32>, tensor<?x4x4xf32>
}

heddle.kernel @pool family <rows> target "cpu" {
^bb0(%x: tensor<?x16xf32>, %s: tensor<?xi32>):
  %0 = heddle.pool_rows <mean> %x, %s : tensor<?x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
  heddle.yield %0 : tensor<?x16xf32>
}

// There may be as many sequences as rows: their results take as much.
// CHECK-LABEL: func.func @sequences(
// CHECK-SAME:    heddle.arena_bytes = 256
// CHECK-NEXT:    heddle.launch @pool(%{{.*}}) over "s" arena [0] :
func.func @sequences(%x: tensor<?x16xf32> {heddle.dims = [#n]}, %s: tensor<?xi32> {heddle.dims = [#n]}) -> tensor<?x16xf32> {
  %0 = heddle.launch @pool(%x, %s) over "s" : (tensor<?x16xf32>, tensor<?xi32>) -> tensor<?x16xf32>
  %1 = heddle.launch @unary(%0) over "s" : (tensor<?x16xf32>) -> tensor<?x16xf32>
  return %1 : tensor<?x16xf32>
}

heddle.kernel @to32 family <contraction> target "cpu" {
^bb0(%x: tensor<?x16xf32>, %w: !heddle.stored<32x16xf32, #heddle.enc<f32>>, %y: tensor<?x16xf32>):
  %0 = heddle.linear %x, %w : tensor<?x16xf32>, !heddle.stored<32x16xf32, #heddle.enc<f32>> -> tensor<?x32xf32>
  heddle.yield %0 : tensor<?x32xf32>
}
heddle.kernel @to48 family <contraction> target "cpu" {
^bb0(%x: tensor<?x32xf32>, %w: !heddle.stored<48x32xf32, #heddle.enc<f32>>):
  %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<48x32xf32, #heddle.enc<f32>> -> tensor<?x48xf32>
  heddle.yield %0 : tensor<?x48xf32>
}
heddle.kernel @silu48 family <rows> target "cpu" {
^bb0(%x: tensor<?x48xf32>):
  %0 = heddle.unary <silu> %x : tensor<?x48xf32>
  heddle.yield %0 : tensor<?x48xf32>
}
heddle.param @w32 : !heddle.stored<32x16xf32, #heddle.enc<f32>> file 0 at 0
heddle.param @w48 : !heddle.stored<48x32xf32, #heddle.enc<f32>> file 0 at 2048

// What is given back joins what is free on either side: three results of 256 bytes make room for one of 768.
// CHECK-LABEL: func.func @joined(
// CHECK-SAME:    heddle.arena_bytes = 1280
// CHECK:         %[[A:.*]] = heddle.launch @unary(%{{.*}}) over "n" arena [0] :
// CHECK-NEXT:    %[[B:.*]] = heddle.launch @unary(%{{.*}}) over "n" arena [256] :
// CHECK-NEXT:    %[[C:.*]] = heddle.launch @unary(%[[B]]) over "n" arena [512] barrier :
// CHECK-NEXT:    %[[D:.*]] = heddle.launch @to32(%[[A]], %{{.*}}, %[[C]]) over "n" arena [768] barrier :
// CHECK-NEXT:    %[[E:.*]] = heddle.launch @to48(%[[D]], %{{.*}}) over "n" arena [0] barrier :
func.func @joined(%x: tensor<?x16xf32> {heddle.dims = [#n]}) -> tensor<?x48xf32> {
  %w = heddle.get_param @w32 : !heddle.stored<32x16xf32, #heddle.enc<f32>>
  %v = heddle.get_param @w48 : !heddle.stored<48x32xf32, #heddle.enc<f32>>
  %a = heddle.launch @unary(%x) over "n" : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %b = heddle.launch @unary(%x) over "n" : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %c = heddle.launch @unary(%b) over "n" : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %d = heddle.launch @to32(%a, %w, %c) over "n" : (tensor<?x16xf32>, !heddle.stored<32x16xf32, #heddle.enc<f32>>, tensor<?x16xf32>) -> tensor<?x32xf32>
  %e = heddle.launch @to48(%d, %v) over "n" : (tensor<?x32xf32>, !heddle.stored<48x32xf32, #heddle.enc<f32>>) -> tensor<?x48xf32>
  %f = heddle.launch @silu48(%e) over "n" : (tensor<?x48xf32>) -> tensor<?x48xf32>
  return %f : tensor<?x48xf32>
}
