// Soft cap: scores stay inside (-2, 2), as Gemma 2 does with 50.
%o = heddle.attention %q $KEYS at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %cap = arith.constant 2.0 : f32
  %0 = arith.divf %s, %cap : f32
  %1 = math.tanh %0 : f32
  %2 = arith.mulf %1, %cap : f32
  heddle.yield %2 : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $TYPES
