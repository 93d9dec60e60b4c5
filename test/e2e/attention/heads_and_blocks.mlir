// Two selections at once: heads that a gate turns on, and of their keys the blocks of 64 that each token names.
%gate = heddle.get_param @gate : tensor<6x32xf32>
%features = heddle.get_param @features : tensor<72x32xf32>
%x = heddle.embedding %features, %tokens : tensor<72x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
%heads = heddle.head_gate %x, %gate : tensor<?x32xf32>, tensor<6x32xf32> -> !heddle.selection<heads, ?x6>
%wishes = heddle.get_param @wishes : tensor<72x10xf32>
%wish = heddle.embedding %wishes, %tokens : tensor<72x10xf32>, tensor<?xi32> -> tensor<?x10xf32>
%blocks = heddle.select_blocks %wish : tensor<?x10xf32> -> !heddle.selection<blocks, ?x10, 64>
%o = heddle.attention %q $KEYS at %slots, %positions select(%heads, %blocks : !heddle.selection<heads, ?x6>, !heddle.selection<blocks, ?x10, 64>) {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $TYPES
