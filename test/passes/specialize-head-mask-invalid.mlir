// RUN: not heddle-opt %s -heddle-specialize-head-mask 2>&1 | FileCheck %s

// CHECK: error: loc("attn"): 'heddle.attention' op expected parameter 'attn.gate.keep' to be a constant of type 'tensor<4xi1>', but found 'tensor<3xi1>'

heddle.param @attn.gate.keep : tensor<3xi1> value dense<[true, false, true]> : tensor<3xi1>

func.func @mask_of_fewer_heads(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x4x16xf32> {
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32> loc("attn")
  return %o : tensor<?x4x16xf32>
}
