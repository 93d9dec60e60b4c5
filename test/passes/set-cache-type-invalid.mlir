// RUN: not heddle-opt %s -heddle-set-cache-type=type=int4 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not heddle-opt %s -heddle-set-cache-type="type=int8 target=cuda" 2>&1 | FileCheck %s --check-prefix=TARGET

// NAME: error: unknown type 'int4' of KV caches; expected f16, int8 or fp8
// TARGET: error: expected a KV cache of 'f16' for target 'cuda', but found 'int8'; caches of 8 bits are for target 'cpu'
heddle.cache @kv.0 : !heddle.kv_cache<2x16x16xf16>
