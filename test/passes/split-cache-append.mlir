// RUN: heddle-opt %s -heddle-split-cache-append | FileCheck %s

// CHECK-LABEL: func.func @cached(
// CHECK-SAME:    %[[Q:.*]]: tensor<?x4x16xf32>, %[[K:.*]]: tensor<?x2x16xf32>, %[[V:.*]]: tensor<?x2x16xf32>
// CHECK:         %[[C:.*]] = heddle.get_cache @kv.0
// CHECK-NEXT:    heddle.cache_append %[[C]], %[[K]], %[[V]] at %{{.*}}, %{{.*}}
// CHECK-NEXT:    heddle.attention %[[Q]] cache %[[C]] at
heddle.cache @kv.0 : !heddle.kv_cache<2x16x16xf16>
func.func @cached(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x4x16xf32> {
  %c = heddle.get_cache @kv.0 : !heddle.kv_cache<2x16x16xf16>
  %o = heddle.attention %q keys %k values %v cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    %0 = arith.cmpi sle, %kp, %qp : i32
    heddle.yield %0 : i1
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return %o : tensor<?x4x16xf32>
}

// Without a cache, keys and values are attended to and stay.
// CHECK-LABEL: func.func @uncached(
// CHECK-NOT:     heddle.cache_append
// CHECK:         heddle.attention %{{.*}} keys %{{.*}} values %{{.*}} at
func.func @uncached(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x4x16xf32> {
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return %o : tensor<?x4x16xf32>
}
