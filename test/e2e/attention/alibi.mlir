// ALiBi (arXiv 2108.12409): scores fall with the distance, by a slope of each head.
%slopes = arith.constant dense<[0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625]> : tensor<6xf32>
%o = heddle.attention %q $KEYS at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %slope = heddle.element %slopes[%qh] : tensor<6xf32>
  %distance = arith.subi %kp, %qp : i32
  %x = arith.sitofp %distance : i32 to f32
  %bias = arith.mulf %slope, %x : f32
  %y = arith.addf %s, %bias : f32
  heddle.yield %y : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $TYPES
