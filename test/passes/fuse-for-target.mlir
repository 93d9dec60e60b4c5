// RUN: heddle-opt %s -heddle-fuse-for-target -split-input-file | FileCheck %s

#n = #heddle.dim<"n", 1 to 512>
#q8 = #heddle.enc<q8_0, w16>
#i8 = #heddle.enc<act_i8>

// A residual joins its product, whichever side it stands on; the bias already is in it. Bytes between kernels: none.
// CHECK-LABEL: func.func @residual(
// CHECK-SAME:    %[[H:.*]]: tensor<?x64xf32> {{.*}}, %[[X:.*]]: !heddle.stored<?x64xf32, #heddle.enc<act_i8>>
// CHECK-NEXT:    %[[W:.*]] = heddle.get_param @w
// CHECK-NEXT:    %[[B:.*]] = heddle.get_param @b
// CHECK-NEXT:    %[[R:.*]] = heddle.launch @linear_q8_0_i8_64x64_bias_add(%[[X]], %[[W]], %[[B]], %[[H]]) over "n"
// CHECK-NEXT:    return %[[R]]
// CHECK:       heddle.kernel @linear_q8_0_i8_64x64_bias_add family <contraction> target "cpu" {
// CHECK-NEXT:  ^bb0(%[[KX:.*]]: {{.*}}, %[[KW:.*]]: {{.*}}, %[[KB:.*]]: tensor<64xf32>, %[[KH:.*]]: tensor<?x64xf32>):
// CHECK-NEXT:    %[[P:.*]] = heddle.linear %[[KX]], %[[KW]] bias %[[KB]]
// CHECK-NEXT:    %[[S:.*]] = heddle.binary <add> %[[KH]], %[[P]]
// CHECK-NEXT:    heddle.yield %[[S]]
heddle.param @w : !heddle.stored<64x64xf32, #q8> file 0 at 0
heddle.param @b : tensor<64xf32> file 0 at 0
func.func @residual(%h: tensor<?x64xf32> {heddle.dims = [#n]}, %x: !heddle.stored<?x64xf32, #i8> {heddle.dims = [#n]}) -> tensor<?x64xf32> {
  %w = heddle.get_param @w : !heddle.stored<64x64xf32, #q8>
  %b = heddle.get_param @b : tensor<64xf32>
  %0 = heddle.linear %x, %w bias %b : !heddle.stored<?x64xf32, #i8>, !heddle.stored<64x64xf32, #q8>, tensor<64xf32> -> tensor<?x64xf32>
  %1 = heddle.binary <add> %h, %0 : tensor<?x64xf32>
  return %1 : tensor<?x64xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#q8 = #heddle.enc<q8_0, w16>
#i8 = #heddle.enc<act_i8>

// Gate and up: two products of one input in one kernel.
// CHECK-LABEL: func.func @gated(
// CHECK:         heddle.launch @linear_q8_0_i8_128x64_silu_mul
// CHECK-NOT:     heddle.launch
// CHECK:       heddle.kernel @linear_q8_0_i8_128x64_silu_mul family <contraction>
// CHECK:         %[[G:.*]] = heddle.linear
// CHECK-NEXT:    %[[U:.*]] = heddle.linear
// CHECK-NEXT:    %[[S:.*]] = heddle.unary <silu> %[[G]]
// CHECK-NEXT:    %[[M:.*]] = heddle.binary <mul> %[[S]], %[[U]]
// CHECK-NEXT:    heddle.yield %[[M]]
heddle.param @g : !heddle.stored<128x64xf32, #q8> file 0 at 0
heddle.param @u : !heddle.stored<128x64xf32, #q8> file 0 at 0
func.func @gated(%x: !heddle.stored<?x64xf32, #i8> {heddle.dims = [#n]}) -> tensor<?x128xf32> {
  %g = heddle.get_param @g : !heddle.stored<128x64xf32, #q8>
  %u = heddle.get_param @u : !heddle.stored<128x64xf32, #q8>
  %0 = heddle.linear %x, %g : !heddle.stored<?x64xf32, #i8>, !heddle.stored<128x64xf32, #q8> -> tensor<?x128xf32>
  %1 = heddle.unary <silu> %0 : tensor<?x128xf32>
  %2 = heddle.linear %x, %u : !heddle.stored<?x64xf32, #i8>, !heddle.stored<128x64xf32, #q8> -> tensor<?x128xf32>
  %3 = heddle.binary <mul> %1, %2 : tensor<?x128xf32>
  return %3 : tensor<?x128xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#q8 = #heddle.enc<q8_0, w16>
#q4 = #heddle.enc<q4_1, w16>
#i8 = #heddle.enc<act_i8>

// Products of two formats are two kernels: the first is an operand of the second's epilogue.
// CHECK-LABEL: func.func @two_formats(
// CHECK:         %[[U:.*]] = heddle.launch @linear_q4_1_i8_128x64(
// CHECK:         heddle.launch @linear_q8_0_i8_128x64_silu_mul({{.*}}, %[[U]])
heddle.param @g : !heddle.stored<128x64xf32, #q8> file 0 at 0
heddle.param @u : !heddle.stored<128x64xf32, #q4> file 0 at 0
func.func @two_formats(%x: !heddle.stored<?x64xf32, #i8> {heddle.dims = [#n]}) -> tensor<?x128xf32> {
  %g = heddle.get_param @g : !heddle.stored<128x64xf32, #q8>
  %u = heddle.get_param @u : !heddle.stored<128x64xf32, #q4>
  %0 = heddle.linear %x, %g : !heddle.stored<?x64xf32, #i8>, !heddle.stored<128x64xf32, #q8> -> tensor<?x128xf32>
  %1 = heddle.unary <silu> %0 : tensor<?x128xf32>
  %2 = heddle.linear %x, %u : !heddle.stored<?x64xf32, #i8>, !heddle.stored<128x64xf32, #q4> -> tensor<?x128xf32>
  %3 = heddle.binary <mul> %1, %2 : tensor<?x128xf32>
  return %3 : tensor<?x128xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#q8 = #heddle.enc<q8_0, w16>
#i8 = #heddle.enc<act_i8>

// What a product's kernel cannot hold stays outside: an op that reads a reshape.
// CHECK-LABEL: func.func @reads_reshape(
// CHECK:         %[[P:.*]] = heddle.launch @linear_q8_0_i8_64x64(
// CHECK:         heddle.launch @{{.*}}add{{.*}}%[[P]]
heddle.param @w : !heddle.stored<64x64xf32, #q8> file 0 at 0
func.func @reads_reshape(%x: !heddle.stored<?x64xf32, #i8> {heddle.dims = [#n]}, %h: tensor<?x4x16xf32> {heddle.dims = [#n]}) -> tensor<?x64xf32> {
  %w = heddle.get_param @w : !heddle.stored<64x64xf32, #q8>
  %0 = heddle.linear %x, %w : !heddle.stored<?x64xf32, #i8>, !heddle.stored<64x64xf32, #q8> -> tensor<?x64xf32>
  %1 = heddle.reshape %h : tensor<?x4x16xf32> -> tensor<?x64xf32>
  %2 = heddle.binary <add> %0, %1 : tensor<?x64xf32>
  return %2 : tensor<?x64xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 4>
heddle.param @w : !heddle.stored<64x64xf32, #heddle.enc<f32>> file 0 at 0

// An op that reads the product's own input stays outside: a kernel reads its input as products want it.
// CHECK-LABEL: func.func @reads_input(
// CHECK-SAME:    %[[X:.*]]: tensor<?x64xf32>
// CHECK:         %[[P:.*]] = heddle.launch @linear_f32_64x64(%[[X]], %{{.*}})
// CHECK:         heddle.launch @add_64(%[[P]], %[[X]])
func.func @reads_input(%x: tensor<?x64xf32> {heddle.dims = [#n]}) -> tensor<?x64xf32> attributes {heddle.entry = "reads_input"} {
  %w = heddle.get_param @w : !heddle.stored<64x64xf32, #heddle.enc<f32>>
  %p = heddle.linear %x, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<f32>> -> tensor<?x64xf32>
  %s = heddle.binary <add> %p, %x : tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#q8 = #heddle.enc<q8_0, w16>
#i8 = #heddle.enc<act_i8>

// A result with two readers stays a result; what reads it does not join.
// CHECK-LABEL: func.func @two_readers(
// CHECK:         %[[P:.*]] = heddle.launch @linear_q8_0_i8_64x64(
// CHECK:         %[[S:.*]] = heddle.launch @silu_64(%[[P]])
// CHECK-NEXT:    return %[[P]], %[[S]]
heddle.param @w : !heddle.stored<64x64xf32, #q8> file 0 at 0
func.func @two_readers(%x: !heddle.stored<?x64xf32, #i8> {heddle.dims = [#n]}) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = heddle.get_param @w : !heddle.stored<64x64xf32, #q8>
  %0 = heddle.linear %x, %w : !heddle.stored<?x64xf32, #i8>, !heddle.stored<64x64xf32, #q8> -> tensor<?x64xf32>
  %1 = heddle.unary <silu> %0 : tensor<?x64xf32>
  return %0, %1 : tensor<?x64xf32>, tensor<?x64xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#i16 = #heddle.enc<act_i16>

// Row-wise ops of the same rows are one kernel with several results.
// CHECK-LABEL: func.func @rows(
// CHECK:         %[[R:.*]]:2 = heddle.launch @add_rms_norm_quantize_act_i16_64(%{{.*}}, %{{.*}}, %{{.*}}) over "n" :
// CHECK-NEXT:    return %[[R]]#0, %[[R]]#1
// CHECK:       heddle.kernel @add_rms_norm_quantize_act_i16_64 family <rows>
func.func @rows(%a: tensor<?x64xf32> {heddle.dims = [#n]}, %b: tensor<?x64xf32> {heddle.dims = [#n]}, %w: tensor<64xf32>)
    -> (tensor<?x64xf32>, !heddle.stored<?x64xf32, #i16>) {
  %0 = heddle.binary <add> %a, %b : tensor<?x64xf32>
  %1 = heddle.rms_norm %0, %w : tensor<?x64xf32>, tensor<64xf32>
  %2 = heddle.quantize %1 : tensor<?x64xf32> -> !heddle.stored<?x64xf32, #i16>
  return %0, %2 : tensor<?x64xf32>, !heddle.stored<?x64xf32, #i16>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#m = #heddle.dim<"m", 0 to 512>

// Other rows of a tensor exist only when the kernel that makes it is done: also when both have the same name.
// CHECK-LABEL: func.func @other_rows(
// CHECK:         %[[S:.*]] = heddle.launch @silu_64(%{{.*}}) over "n"
// CHECK-NEXT:    %[[G:.*]] = heddle.launch @gather_rows_tanh_64(%[[S]], %{{.*}}) over "n"
// CHECK-NEXT:    %[[M:.*]] = heddle.launch @gather_rows_64(%[[G]], %{{.*}}) over "m"
// CHECK-NEXT:    %[[P:.*]] = heddle.launch @pool_mean_l2_normalize_64(%[[G]], %{{.*}}) over "s"
func.func @other_rows(%a: tensor<?x64xf32> {heddle.dims = [#n]}, %i: tensor<?xi32> {heddle.dims = [#n]}, %w: tensor<?xi32> {heddle.dims = [#m]})
    -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %0 = heddle.unary <silu> %a : tensor<?x64xf32>
  %1 = heddle.gather_rows %0, %i : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %2 = heddle.unary <tanh> %1 : tensor<?x64xf32>
  %3 = heddle.gather_rows %2, %w : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %4 = heddle.pool_rows <mean> %2, %i : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %5 = heddle.l2_normalize %4 : tensor<?x64xf32>
  return %3, %5 : tensor<?x64xf32>, tensor<?x64xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#q8 = #heddle.enc<q8_0, w16>
#i8 = #heddle.enc<act_i8>

// Products come first, so that queries, keys and values stand together and what follows them is one kernel. The cache is written before it is read.
// Reshapes go into the kernels around them; a captured value becomes an operand, a constant stays inside.
// CHECK-LABEL: func.func @attend(
// CHECK-SAME:    %[[WINDOW:[a-z0-9]+]]: i32
// CHECK:         %[[C:.*]] = heddle.get_cache @kv
// CHECK-NEXT:    %[[Q:.*]] = heddle.launch @linear_q8_0_i8_64x64(
// CHECK-NEXT:    %[[K:.*]] = heddle.launch @linear_q8_0_i8_32x64(
// CHECK-NEXT:    %[[R:.*]] = heddle.launch @rope_rope_cache_append_64(%[[Q]], %{{.*}}, %{{.*}}, %[[K]], %[[C]], %{{.*}})
// CHECK-SAME:      -> tensor<?x4x16xf32>
// CHECK-NEXT:    %[[A:.*]] = heddle.launch @attention_4x2x16(%[[R]], %[[C]], %{{.*}}, %{{.*}}, %[[WINDOW]]) over "n" {{.*}} -> tensor<?x64xf32>
// CHECK-NEXT:    return %[[A]]
// CHECK:       heddle.kernel @attention_4x2x16 family <attention>
// CHECK-NEXT:  ^bb0({{.*}}, %[[W:.*]]: i32):
// CHECK:         %[[O:.*]] = heddle.attention
// CHECK:         mask
// CHECK:           %[[ONE:.*]] = arith.constant 1 : i32
// CHECK:           arith.subi %[[W]], %[[ONE]]
// CHECK:         heddle.reshape %[[O]] : tensor<?x4x16xf32> -> tensor<?x64xf32>
heddle.param @q : !heddle.stored<64x64xf32, #q8> file 0 at 0
heddle.param @k : !heddle.stored<32x64xf32, #q8> file 0 at 0
heddle.cache @kv : !heddle.kv_cache<2x16x16xf16>
func.func @attend(%window: i32, %x: !heddle.stored<?x64xf32, #i8> {heddle.dims = [#n]}, %s: tensor<?xi32> {heddle.dims = [#n]},
                  %p: tensor<?xi32> {heddle.dims = [#n]}, %rope: tensor<256x16xf32>) -> tensor<?x64xf32> {
  %one = arith.constant 1 : i32
  %wq = heddle.get_param @q : !heddle.stored<64x64xf32, #q8>
  %0 = heddle.linear %x, %wq : !heddle.stored<?x64xf32, #i8>, !heddle.stored<64x64xf32, #q8> -> tensor<?x64xf32>
  %1 = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %2 = heddle.rope <half> %1, %rope, %p : tensor<?x4x16xf32>, tensor<256x16xf32>, tensor<?xi32>
  %wk = heddle.get_param @k : !heddle.stored<32x64xf32, #q8>
  %3 = heddle.linear %x, %wk : !heddle.stored<?x64xf32, #i8>, !heddle.stored<32x64xf32, #q8> -> tensor<?x32xf32>
  %4 = heddle.reshape %3 : tensor<?x32xf32> -> tensor<?x2x16xf32>
  %5 = heddle.rope <half> %4, %rope, %p : tensor<?x2x16xf32>, tensor<256x16xf32>, tensor<?xi32>
  %c = heddle.get_cache @kv : !heddle.kv_cache<2x16x16xf16>
  heddle.cache_append %c, %5, %4 at %s, %p : !heddle.kv_cache<2x16x16xf16>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32>
  %6 = heddle.attention %2 cache %c at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    %d = arith.subi %qp, %kp : i32
    %w = arith.subi %window, %one : i32
    %m = arith.cmpi sle, %d, %w : i32
    heddle.yield %m : i1
  } : tensor<?x4x16xf32> cache !heddle.kv_cache<2x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  %7 = heddle.reshape %6 : tensor<?x4x16xf32> -> tensor<?x64xf32>
  return %7 : tensor<?x64xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#f32 = #heddle.enc<f32, w16>

// Without a cache: heads are split inside the attention's kernel, and joined there, as a product cannot hold a reshape.
// CHECK-LABEL: func.func @encoder(
// CHECK:         %[[Q:.*]] = heddle.launch @linear_f32_64x64(
// CHECK-NEXT:    %[[A:.*]] = heddle.launch @attention_4x4x16(%[[Q]], %{{.*}}, %{{.*}}) over "n" : (tensor<?x64xf32>, {{.*}} -> tensor<?x64xf32>
// CHECK-NEXT:    heddle.launch @linear_f32_64x64_add(%[[A]]
heddle.param @w : !heddle.stored<64x64xf32, #f32> file 0 at 0
func.func @encoder(%h: tensor<?x64xf32> {heddle.dims = [#n]}, %s: tensor<?xi32> {heddle.dims = [#n]}, %p: tensor<?xi32> {heddle.dims = [#n]})
    -> tensor<?x64xf32> {
  %w = heddle.get_param @w : !heddle.stored<64x64xf32, #f32>
  %0 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #f32> -> tensor<?x64xf32>
  %1 = heddle.reshape %0 : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %2 = heddle.attention %1 keys %1 values %1 at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x4x16xf32>, tensor<?x4x16xf32>, tensor<?x4x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x4x16xf32>
  %3 = heddle.reshape %2 : tensor<?x4x16xf32> -> tensor<?x64xf32>
  %4 = heddle.linear %3, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #f32> -> tensor<?x64xf32>
  %5 = heddle.binary <add> %4, %h : tensor<?x64xf32>
  return %5 : tensor<?x64xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>

// A row of 40000 numbers and its copies would fall out of the core's own cache: the kernels stay apart. Equal names get numbers.
// CHECK-LABEL: func.func @wide(
// CHECK:         heddle.launch @silu_40000(
// CHECK:         heddle.launch @silu_40000_1(
func.func @wide(%a: tensor<?x40000xf32> {heddle.dims = [#n]}) -> tensor<?x40000xf32> {
  %0 = heddle.unary <silu> %a : tensor<?x40000xf32>
  %1 = heddle.unary <silu> %0 : tensor<?x40000xf32>
  return %1 : tensor<?x40000xf32>
}

// -----

// Static rows are named by their number.
// CHECK-LABEL: func.func @static(
// CHECK:         heddle.launch @silu_8(%{{.*}}) over "4"
func.func @static(%a: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = heddle.unary <silu> %a : tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>

// Every result is written by a kernel: an argument, and a value that is returned twice, are copied.
// CHECK-LABEL: func.func @copies(
// CHECK-SAME:    %[[A:.*]]: tensor<?x8xf32>
// CHECK:         %[[R:.*]]:3 = heddle.launch @silu_8(%[[A]]) over "n"
// CHECK-NEXT:    return %[[R]]#0, %[[R]]#1, %[[R]]#2
// CHECK:       heddle.kernel @silu_8 family <rows>
// CHECK-NEXT:  ^bb0(%[[X:.*]]: tensor<?x8xf32>):
// CHECK-DAG:     %[[S:.*]] = heddle.unary <silu> %[[X]]
// CHECK-DAG:     heddle.reshape %[[S]] : tensor<?x8xf32> -> tensor<?x8xf32>
// CHECK-DAG:     heddle.reshape %[[X]] : tensor<?x8xf32> -> tensor<?x8xf32>
func.func @copies(%a: tensor<?x8xf32> {heddle.dims = [#n]}) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  %0 = heddle.unary <silu> %a : tensor<?x8xf32>
  return %0, %0, %a : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// What reads parameters alone has their rows.
// CHECK-LABEL: func.func @parameters_alone(
// CHECK:         heddle.launch @dequantize_64(%{{.*}}) over "32"
heddle.param @w : !heddle.stored<32x64xf32, #heddle.enc<q8_0>> file 0 at 0
func.func @parameters_alone() -> tensor<32x64xf32> {
  %w = heddle.get_param @w : !heddle.stored<32x64xf32, #heddle.enc<q8_0>>
  %0 = heddle.dequantize %w : !heddle.stored<32x64xf32, #heddle.enc<q8_0>> -> tensor<32x64xf32>
  return %0 : tensor<32x64xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#m = #heddle.dim<"m", 0 to 512>

// Other rows are read from memory, so a reshape before that is one kernel's result.
// CHECK-LABEL: func.func @reshape_then_gather(
// CHECK:         %[[R:.*]] = heddle.launch @reshape_64(%{{.*}}) over "n" : (tensor<?x64xf32>) -> tensor<?x4x16xf32>
// CHECK-NEXT:    heddle.launch @gather_rows_64(%[[R]], %{{.*}}) over "m"
func.func @reshape_then_gather(%a: tensor<?x64xf32> {heddle.dims = [#n]}, %w: tensor<?xi32> {heddle.dims = [#m]}) -> tensor<?x4x16xf32> {
  %0 = heddle.reshape %a : tensor<?x64xf32> -> tensor<?x4x16xf32>
  %1 = heddle.gather_rows %0, %w : tensor<?x4x16xf32>, tensor<?xi32> -> tensor<?x4x16xf32>
  return %1 : tensor<?x4x16xf32>
}
