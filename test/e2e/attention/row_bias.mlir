// A bias that each token brings for every key position: @row_bias by token, read by the row of the call.
%table = heddle.get_param @row_bias : tensor<72x640xf32>
%biases = heddle.embedding %table, %tokens : tensor<72x640xf32>, tensor<?xi32> -> tensor<?x640xf32>
%o = heddle.attention %q $KEYS at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32, %row: i32):
  %b = heddle.element %biases[%row, %kp] : tensor<?x640xf32>
  %y = arith.addf %s, %b : f32
  heddle.yield %y : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $TYPES
