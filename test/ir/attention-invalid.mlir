// RUN: heddle-opt %s -split-input-file -verify-diagnostics

func.func @f(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected 'keys' and 'values' together}}
  %0 = "heddle.attention"(%q, %k, %c, %s, %p) <{operandSegmentSizes = array<i32: 1, 1, 0, 1, 0, 1, 1, 0, 0>, scale = 2.500000e-01 : f32}> ({
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  }, {
  }) : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected a cache, or 'keys' and 'values', but found neither}}
  %0 = "heddle.attention"(%q, %s, %p) <{operandSegmentSizes = array<i32: 1, 0, 0, 0, 0, 1, 1, 0, 0>, scale = 2.500000e-01 : f32}> ({
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  }, {
  }) : (tensor<?x4x16xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x8xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected heads of 'query' to be 16 wide like the keys, but found 8}}
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x8xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x3x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected the number of query heads to be a multiple of the 2 KV heads, but found 3}}
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x3x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x3x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %k: tensor<?x1x16xf32>, %v: tensor<?x2x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected 'keys' and 'values' to be [rows, 2, 16] and [rows, 2, 16], but found 'tensor<?x1x16xf32>' and 'tensor<?x2x16xf32>'}}
  %0 = heddle.attention %q keys %k values %v cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x1x16xf32>, tensor<?x2x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected 'result' to have the rows and heads of 'query' and width 16, but found 'tensor<?x4x8xf32>'}}
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected the mask region to have one block}}
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    cf.br ^bb1
  ^bb1:
    %true = arith.constant true
    heddle.yield %true : i1
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected the score region to take (score: f32, q_head: i32, kv_head: i32, q_pos: i32, kv_pos: i32, slot: i32)}}
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected the score region to yield one 'f32'}}
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %qh : i32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected the mask region to yield one 'i1'}}
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    // expected-error @below {{'heddle.scale' op is not allowed in the score region of an attention; expected arith and math ops}}
    %z = heddle.scale %q by 2.0 : tensor<?x4x16xf32>
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%c: !heddle.kv_cache<2x16x16xf16>, %k: tensor<?x2x8xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected 'keys' to be [rows, 2, 16] to match the cache, but found 'tensor<?x2x8xf32>'}}
  heddle.cache_append %c, %k, %v at %s, %p : !heddle.kv_cache<2x16x16xf16>, tensor<?x2x8xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @f(%c: !heddle.kv_cache<2x16x16xf16>, %k: tensor<?x2x16xf32>, %v: tensor<?x1x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected 'values' to be [rows, 2, 16] to match the cache, but found 'tensor<?x1x16xf32>'}}
  heddle.cache_append %c, %k, %v at %s, %p : !heddle.kv_cache<2x16x16xf16>, tensor<?x2x16xf32>, tensor<?x1x16xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %k: tensor<?x0x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected at least one KV head, but found 0}}
  %0 = heddle.attention %q keys %k values %k at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x0x16xf32>, tensor<?x0x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}
