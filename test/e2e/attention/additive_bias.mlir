// Additive bias, as T5's relative positions: @bias by head and distance, the last one for all that is farther.
%bias = heddle.get_param @bias : tensor<6x100xf32>
%o = heddle.attention %q $KEYS at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %distance = arith.subi %qp, %kp : i32
  %b = heddle.element %bias[%qh, %distance] : tensor<6x100xf32>
  %y = arith.addf %s, %b : f32
  heddle.yield %y : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $TYPES
