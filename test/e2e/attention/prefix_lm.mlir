// Prefix language model (arXiv 1910.10683): the first tokens of each sequence, a number per sequence, see one another; the rest is causal.
%prefix = arith.constant dense<[20, 0, 150, 1]> : tensor<4xi32>
%o = heddle.attention %q $KEYS at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %length = heddle.element %prefix[%slot] : tensor<4xi32>
  %inside = arith.cmpi slt, %kp, %length : i32
  %causal = arith.cmpi sle, %kp, %qp : i32
  %see = arith.ori %inside, %causal : i1
  heddle.yield %see : i1
} : $TYPES
