// RUN: not heddle-opt %s -heddle-insert-head-gating 2>&1 | FileCheck %s

// CHECK: error: loc("attn"): 'heddle.attention' op expected parameter 'attn.gate.weight' of its gate to have type 'tensor<4x32xf32>', but found 'tensor<3x32xf32>'
// CHECK: note: the parameter is here

heddle.param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>> file 0 at 0
heddle.param @attn.gate.weight : tensor<3x32xf32> file 1 at 0

func.func @gate_of_fewer_heads(%x: tensor<?x32xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x4x16xf32> {
  %w = heddle.get_param @wq : !heddle.stored<64x32xf32, #heddle.enc<f16>>
  %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  %q = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.5e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32> loc("attn")
  return %o : tensor<?x4x16xf32>
}
