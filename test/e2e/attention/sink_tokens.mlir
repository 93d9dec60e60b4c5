// Attention sinks (arXiv 2309.17453): the first 4 tokens stay visible beside a window of 40. The gap costs nothing.
%o = heddle.attention %q $KEYS at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %window = arith.constant 40 : i32
  %sinks = arith.constant 4 : i32
  %distance = arith.subi %qp, %kp : i32
  %causal = arith.cmpi sle, %kp, %qp : i32
  %near = arith.cmpi slt, %distance, %window : i32
  %sink = arith.cmpi slt, %kp, %sinks : i32
  %either = arith.ori %near, %sink : i1
  %see = arith.andi %causal, %either : i1
  heddle.yield %see : i1
} : $TYPES
