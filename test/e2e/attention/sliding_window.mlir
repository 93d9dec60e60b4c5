// Sliding window: the last 50 tokens. Keys outside of it cost nothing.
%o = heddle.attention %q $KEYS at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %window = arith.constant 50 : i32
  %distance = arith.subi %qp, %kp : i32
  %causal = arith.cmpi sle, %kp, %qp : i32
  %near = arith.cmpi slt, %distance, %window : i32
  %see = arith.andi %causal, %near : i1
  heddle.yield %see : i1
} : $TYPES
