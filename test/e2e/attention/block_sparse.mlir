// Block-sparse attention: @layout says which blocks of 32 keys each block of 32 queries reads. Other blocks cost nothing.
%layout = heddle.get_param @layout : tensor<20x20xf32>
%blocks = heddle.select_blocks %layout at %positions : tensor<20x20xf32>, tensor<?xi32> -> !heddle.selection<blocks, ?x20, 32>
%o = heddle.attention %q $KEYS at %slots, %positions select(%blocks : !heddle.selection<blocks, ?x20, 32>) {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $TYPES
