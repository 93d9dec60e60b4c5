// RUN: heddle-opt %s -split-input-file -verify-diagnostics

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>, %a: !heddle.selection<tokens, ?x32>, %b: !heddle.selection<blocks, ?x2, 16>) {
  // expected-error @below {{expected at most one selection of heads and one of tokens or blocks, but found 2 selections}}
  %0 = heddle.attention %q cache %c at %s, %p select(%a, %b : !heddle.selection<tokens, ?x32>, !heddle.selection<blocks, ?x2, 16>) {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>, %a: !heddle.selection<heads, ?x3>) {
  // expected-error @below {{expected a selection among the 4 query heads, but found '!heddle.selection<heads, ?x3>'}}
  %0 = heddle.attention %q cache %c at %s, %p select(%a : !heddle.selection<heads, ?x3>) {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>, %a: tensor<4x16xf32>) {
  // expected-error @below {{expected 'skip' with a selection of heads, but found none}}
  %0 = heddle.attention %q cache %c at %s, %p skip %a : tensor<4x16xf32> {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>, %h: !heddle.selection<heads, ?x4>, %a: tensor<4x8xf32>) {
  // expected-error @below {{expected 'skip' to be [4, 16], but found 'tensor<4x8xf32>'}}
  %0 = heddle.attention %q cache %c at %s, %p select(%h : !heddle.selection<heads, ?x4>) skip %a : tensor<4x8xf32> {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected 'k' to be at least 1, but found 0}}
  %0 = heddle.top_k 0 of %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> !heddle.selection<tokens, ?x64>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected a selection of tokens for each row of 'query', but found '!heddle.selection<blocks, ?x4, 16>'}}
  %0 = heddle.top_k 2 of %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> !heddle.selection<blocks, ?x4, 16>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>, %t: tensor<4x4xf32>) {
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    // expected-error @below {{expected an index for each of the 2 dimensions of the tensor, but found 1}}
    %y = heddle.element %t[%qh] : tensor<4x4xf32>
    heddle.yield %y : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>, %t: tensor<4x?xf32>) {
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    // expected-error @below {{expected only the first dimension of the tensor to be dynamic and none to be 0, but found 'tensor<4x?xf32>'}}
    %y = heddle.element %t[%qh, %kp] : tensor<4x?xf32>
    heddle.yield %y : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return
}

// -----

func.func @f(%m: tensor<?x4xf32>) {
  // expected-error @below {{expected a selection of blocks, but found '!heddle.selection<tokens, ?x16>'}}
  %0 = heddle.select_blocks %m : tensor<?x4xf32> -> !heddle.selection<tokens, ?x16>
  return
}

// -----

func.func @f(%m: tensor<?x4xf32>) {
  // expected-error @below {{expected a selection of 4 blocks for each row, but found '!heddle.selection<blocks, ?x5, 16>'}}
  %0 = heddle.select_blocks %m : tensor<?x4xf32> -> !heddle.selection<blocks, ?x5, 16>
  return
}

// -----

func.func @f(%m: tensor<?x4xf32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected a mask at positions to have a fixed positive number of rows, but found 'tensor<?x4xf32>'}}
  %0 = heddle.select_blocks %m at %p : tensor<?x4xf32>, tensor<?xi32> -> !heddle.selection<blocks, ?x4, 16>
  return
}

// -----

func.func @f(%c: tensor<?x4x3x10xf32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected 'result' to have the rows and heads of 'chunks' and width 8, but found 'tensor<?x4x10xf32>'}}
  %0 = heddle.merge_chunks %c at %p : tensor<?x4x3x10xf32>, tensor<?xi32> -> tensor<?x4x10xf32>
  return
}

// -----

func.func @f(%q: tensor<?x4x16xf32>, %c: !heddle.kv_cache<2x16x16xf16>, %s: tensor<?xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected chunks of the rows and heads of 'query', 18 numbers each, but found 'tensor<?x4x3x16xf32>'}}
  %0 = heddle.attention %q cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x3x16xf32>
  return
}
