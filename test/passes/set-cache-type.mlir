// RUN: heddle-opt %s -heddle-set-cache-type=type=int8 | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: heddle-opt %s -heddle-set-cache-type=type=fp8 | FileCheck %s --check-prefixes=CHECK,FP8
// RUN: heddle-opt %s -heddle-set-cache-type=type=int8 | heddle-opt -heddle-set-cache-type=type=f16 | FileCheck %s --check-prefixes=CHECK,F16

// A token's codes and two scales of 4 bytes: 2 * (16 + 24 + 8).
// INT8: heddle.decisions = [{{.*}}cost = 96 : i64, kind = "cache", {{.*}}reason = "int8 as asked for"

// Every reader of a cache sees its new type.
// INT8: heddle.cache @kv.0 : !heddle.kv_cache<2x16x24xi8>
// FP8:  heddle.cache @kv.0 : !heddle.kv_cache<2x16x24xf8E4M3FN>
// F16:  heddle.cache @kv.0 : !heddle.kv_cache<2x16x24xf16>
heddle.cache @kv.0 : !heddle.kv_cache<2x16x24xf16>

// CHECK-LABEL: func.func @append(
// INT8: heddle.cache_append %{{.*}} : <2x16x24xi8>{{.*}}
// FP8:  heddle.cache_append %{{.*}} : <2x16x24xf8E4M3FN>
// F16:  heddle.cache_append %{{.*}} : <2x16x24xf16>
func.func @append(%k: tensor<?x2x16xf32>, %v: tensor<?x2x24xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  %c = heddle.get_cache @kv.0 : !heddle.kv_cache<2x16x24xf16>
  heddle.cache_append %c, %k, %v at %s, %p : !heddle.kv_cache<2x16x24xf16>, tensor<?x2x16xf32>, tensor<?x2x24xf32>, tensor<?xi32>, tensor<?xi32>
  return
}
