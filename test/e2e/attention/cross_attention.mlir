// Cross attention: each text reads the @memory rows of its own sequence, all of them; %memory_sequences numbers these.
%memory = heddle.get_param @memory : tensor<90x$KROWxf32>
%memory_keys = heddle.reshape %memory : tensor<90x$KROWxf32> -> tensor<90x$HKx$DKxf32>
%memory_v = heddle.get_param @memory_v : tensor<90x$VROWxf32>
%memory_values = heddle.reshape %memory_v : tensor<90x$VROWxf32> -> tensor<90x$HKx$DVxf32>
%o = heddle.attention %q keys %memory_keys values %memory_values from %memory_sequences at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
} : tensor<?x6x$DKxf32>, tensor<90x$HKx$DKxf32>, tensor<90x$HKx$DVxf32> from tensor<90xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x6x$DVxf32>
