// Packed documents: a token sees those of its own document. @documents numbers them by sequence and position.
%documents = heddle.get_param @documents : tensor<4x640xf32>
%o = heddle.attention %q $KEYS at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %mine = heddle.element %documents[%slot, %qp] : tensor<4x640xf32>
  %other = heddle.element %documents[%slot, %kp] : tensor<4x640xf32>
  %same = arith.cmpf oeq, %mine, %other : f32
  %causal = arith.cmpi sle, %kp, %qp : i32
  %see = arith.andi %causal, %same : i1
  heddle.yield %see : i1
} : $TYPES
