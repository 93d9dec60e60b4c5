// Heads that a gate turns off for a row yield the head's mean output and are not computed.
%gate = heddle.get_param @gate : tensor<6x32xf32>
%mean = heddle.get_param @mean : tensor<6x$DVxf32>
%features = heddle.get_param @features : tensor<72x32xf32>
%x = heddle.embedding %features, %tokens : tensor<72x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
%heads = heddle.head_gate %x, %gate : tensor<?x32xf32>, tensor<6x32xf32> -> !heddle.selection<heads, ?x6>
%o = heddle.attention %q $KEYS at %slots, %positions select(%heads : !heddle.selection<heads, ?x6>) skip %mean : tensor<6x$DVxf32> {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $TYPES
