// RUN: heddle-opt %s -heddle-split-attention | FileCheck %s
// RUN: heddle-opt %s -heddle-split-attention=max-rows=2 | FileCheck %s --check-prefix=NARROW

module attributes {heddle.model = {name = "tiny", max_context = 640 : i64}} {
  heddle.cache @kv : !heddle.kv_cache<2x16x16xf16>

  // 640 tokens are 3 chunks, of 16 numbers, a sum and a maximum each.
  // CHECK-LABEL: func.func @few(
  // CHECK:         %[[C:.*]] = heddle.attention %{{.*}} cache %{{.*}} at %{{.*}}, %[[P:[a-z0-9]+]] {
  // CHECK:         -> tensor<?x4x3x18xf32>
  // CHECK:         %[[O:.*]] = heddle.merge_chunks %[[C]] at %[[P]] : tensor<?x4x3x18xf32>, tensor<?xi32> -> tensor<?x4x16xf32>
  // CHECK:         return %[[O]]
  // NARROW-NOT:    heddle.merge_chunks
  func.func @few(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x4x16xf32> attributes {heddle.rows = array<i64: 1, 4>} {
    %c = heddle.get_cache @kv : !heddle.kv_cache<2x16x16xf16>
    %o = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
    ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      heddle.yield %score : f32
    } mask {
    } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
    return %o : tensor<?x4x16xf32>
  }

  // Many rows keep all workers busy as they are.
  // CHECK-LABEL: func.func @many(
  // CHECK-NOT:     heddle.merge_chunks
  func.func @many(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x4x16xf32> attributes {heddle.rows = array<i64: 5, 512>} {
    %c = heddle.get_cache @kv : !heddle.kv_cache<2x16x16xf16>
    %o = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
    ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      heddle.yield %score : f32
    } mask {
    } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
    return %o : tensor<?x4x16xf32>
  }

  // Functions are looked at one by one.
  // CHECK-LABEL: func.func @few_after_many(
  // CHECK:         heddle.merge_chunks
  func.func @few_after_many(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x4x16xf32> attributes {heddle.rows = array<i64: 1, 4>} {
    %c = heddle.get_cache @kv : !heddle.kv_cache<2x16x16xf16>
    %o = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
    ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      heddle.yield %score : f32
    } mask {
    } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
    return %o : tensor<?x4x16xf32>
  }
}
