// Written by generate.py: two caches keep their own tokens; calls see what earlier ones stored
// RUN: heddle-run-ir %s
// RUN: heddle-run-ir --target interpreter:cpu %s
// RUN: heddle-run-ir --target cpu:x86-64-v3 %s
// RUN: %if cpu-avx_vnni %{ heddle-run-ir --target cpu:x86-64-v3-vnni %s %}
// RUN: %if cpu-avx512_vnni %{ heddle-run-ir --target cpu:x86-64-v4-vnni %s %}
// RUN: %if cpu-amx_bf16 %{ heddle-run-ir --target cpu:x86-64-v4-amx %s %}

module attributes {heddle.model = {name = "cache", vocabulary = 3 : i64, max_context = 128 : i64, max_slots = 4 : i64, max_rows = 32 : i64}} {
  heddle.cache @kv.0 : !heddle.kv_cache<1x16x16xf16>
  heddle.cache @kv.1 : !heddle.kv_cache<1x16x16xf16>
  heddle.param @rows.x : tensor<3x16xf32> value dense<[[0.25, -0.25, 0.875, 0.25, 0.6875, 0.9375, 0.375, -0.4375, -0.1875, -1.0, -0.375, -0.3125, -0.3125, -0.4375, 0.625, 0.8125], [-0.5, -0.375, 0.875, -0.3125, -0.125, -0.6875, 0.3125, -1.0, -0.4375, -0.75, 0.8125, -0.4375, 0.125, 0.125, -0.75, -0.1875], [-0.875, -0.4375, -0.75, 0.875, 0.375, -0.5, 0.5625, -0.4375, -0.8125, 0.1875, -0.125, -0.625, 1.0, 0.75, 0.625, 0.8125]]> : tensor<3x16xf32>

  func.func @two_caches(%tokens: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %slots: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %positions: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %wanted: tensor<?xi32> {heddle.dims = [#heddle.dim<"m", 0 to 32>]}) -> (tensor<?x16xf32> {heddle.dims = [#heddle.dim<"m", 0 to 32>]}) attributes {heddle.entry = "step", heddle.example = [
      {inputs = [dense<[0]> : tensor<1xi32>,
                  dense<[0]> : tensor<1xi32>,
                  dense<[0]> : tensor<1xi32>,
                  dense<[0]> : tensor<1xi32>],
       expected = [dense<[[0.5, -0.5, 1.75, 0.5, 1.375, 1.875, 0.75, -0.875, -0.375, -2.0, -0.75, -0.625, -0.625, -0.875, 1.25, 1.625]]> : tensor<1x16xf32>]},
      {inputs = [dense<[1]> : tensor<1xi32>,
                  dense<[0]> : tensor<1xi32>,
                  dense<[1]> : tensor<1xi32>,
                  dense<[0]> : tensor<1xi32>],
       expected = [dense<[[-0.75418216, -0.70903033, 1.75, -0.4406366, 0.016302684, -0.84239465, 0.6454848, -1.8156366, -0.7930607, -1.5819393, 1.2357883, -0.83403033, 0.106606245, 0.065636605, -1.0493339, -0.04724285]]> : tensor<1x16xf32>]},
      {inputs = [dense<[2]> : tensor<1xi32>,
                  dense<[0]> : tensor<1xi32>,
                  dense<[2]> : tensor<1xi32>,
                  dense<[0]> : tensor<1xi32>],
       expected = [dense<[[-1.488988, -0.831498, -0.9212159, 1.4226272, 0.70997953, -0.7906488, 1.0465769, -0.9797635, -1.4489523, -0.0013960704, -0.11787628, -1.1619761, 1.6140033, 1.1818058, 0.9939114, 1.4387537]]> : tensor<1x16xf32>]}]} {
    %xt = heddle.get_param @rows.x : tensor<3x16xf32>
    %xf = heddle.embedding %xt, %tokens : tensor<3x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
    %x = heddle.reshape %xf : tensor<?x16xf32> -> tensor<?x1x16xf32>
    %two = heddle.scale %x by 2.0 : tensor<?x1x16xf32>
    %c0 = heddle.get_cache @kv.0 : !heddle.kv_cache<1x16x16xf16>
    %o0 = heddle.attention %x keys %x values %x cache %c0 at %slots, %positions {scale = 0.25 : f32} score {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      heddle.yield %s : f32
    } mask {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      %see = arith.cmpi sle, %kp, %qp : i32
      heddle.yield %see : i1
    } : tensor<?x1x16xf32>, tensor<?x1x16xf32>, tensor<?x1x16xf32> cache !heddle.kv_cache<1x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x1x16xf32>
    %c1 = heddle.get_cache @kv.1 : !heddle.kv_cache<1x16x16xf16>
    %o1 = heddle.attention %x keys %two values %x cache %c1 at %slots, %positions {scale = 0.25 : f32} score {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      heddle.yield %s : f32
    } mask {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      %see = arith.cmpi sle, %kp, %qp : i32
      heddle.yield %see : i1
    } : tensor<?x1x16xf32>, tensor<?x1x16xf32>, tensor<?x1x16xf32> cache !heddle.kv_cache<1x16x16xf16>, tensor<?xi32>, tensor<?xi32> -> tensor<?x1x16xf32>
    %o = heddle.binary <add> %o0, %o1 : tensor<?x1x16xf32>
    %flat0 = heddle.reshape %o : tensor<?x1x16xf32> -> tensor<?x16xf32>
    %y0 = heddle.gather_rows %flat0, %wanted : tensor<?x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
    return %y0 : tensor<?x16xf32>
  }
}
