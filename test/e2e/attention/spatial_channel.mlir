// SpatialChannelAttention: the element-wise product of two projections, here made a gate on causal attention by a sigmoid.
%features = heddle.get_param @features : tensor<72x32xf32>
%x = heddle.embedding %features, %tokens : tensor<72x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
%spatial = heddle.get_param @spatial : !heddle.stored<$OROWx32xf32, #heddle.enc<f32>>
%channel = heddle.get_param @channel : !heddle.stored<$OROWx32xf32, #heddle.enc<f32>>
%a = heddle.linear %x, %spatial : tensor<?x32xf32>, !heddle.stored<$OROWx32xf32, #heddle.enc<f32>> -> tensor<?x$OROWxf32>
%b = heddle.linear %x, %channel : tensor<?x32xf32>, !heddle.stored<$OROWx32xf32, #heddle.enc<f32>> -> tensor<?x$OROWxf32>
%product = heddle.binary <mul> %a, %b : tensor<?x$OROWxf32>
%gates = heddle.unary <sigmoid> %product : tensor<?x$OROWxf32>
%gate = heddle.reshape %gates : tensor<?x$OROWxf32> -> tensor<?x6x$DVxf32>
%attended = heddle.attention %q $KEYS at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $TYPES
%o = heddle.binary <mul> %attended, %gate : tensor<?x6x$DVxf32>
