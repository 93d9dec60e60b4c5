// Written by generate.py: two caches keep their own tokens; calls see what earlier ones stored
// RUN: heddle-run-ir %s

module {
  heddle.cache @kv.0 : !heddle.kv_cache<1x16x16xf32>
  heddle.cache @kv.1 : !heddle.kv_cache<1x16x16xf32>

  func.func @two_caches(%x: tensor<?x1x16xf32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %slots: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %positions: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x1x16xf32>, tensor<?x1x16xf32>) attributes {heddle.example = [
      {inputs = [dense<[[[0.25, -0.25, 0.875, 0.25, 0.6875, 0.9375, 0.375, -0.4375, -0.1875, -1.0, -0.375, -0.3125, -0.3125, -0.4375, 0.625, 0.8125]]]> : tensor<1x1x16xf32>,
                  dense<[0]> : tensor<1xi32>,
                  dense<[0]> : tensor<1xi32>],
       expected = [dense<[[[0.25, -0.25, 0.875, 0.25, 0.6875, 0.9375, 0.375, -0.4375, -0.1875, -1.0, -0.375, -0.3125, -0.3125, -0.4375, 0.625, 0.8125]]]> : tensor<1x1x16xf32>,
                  dense<[[[0.25, -0.25, 0.875, 0.25, 0.6875, 0.9375, 0.375, -0.4375, -0.1875, -1.0, -0.375, -0.3125, -0.3125, -0.4375, 0.625, 0.8125]]]> : tensor<1x1x16xf32>]},
      {inputs = [dense<[[[-0.5, -0.375, 0.875, -0.3125, -0.125, -0.6875, 0.3125, -1.0, -0.4375, -0.75, 0.8125, -0.4375, 0.125, 0.125, -0.75, -0.1875]]]> : tensor<1x1x16xf32>,
                  dense<[0]> : tensor<1xi32>,
                  dense<[1]> : tensor<1xi32>],
       expected = [dense<[[[-0.32115388, -0.3451923, 0.875, -0.1783654, 0.06874997, -0.30000004, 0.32740384, -0.8658654, -0.37788463, -0.8096154, 0.529327, -0.4076923, 0.02067309, -0.009134598, -0.42211542, 0.05096151]]]> : tensor<1x1x16xf32>,
                  dense<[[[-0.43302828, -0.36383805, 0.875, -0.2622712, -0.05244729, -0.5423946, 0.318081, -0.9497712, -0.4151761, -0.7723239, 0.7064614, -0.42633805, 0.08593316, 0.0747712, -0.6272185, -0.09820436]]]> : tensor<1x1x16xf32>]},
      {inputs = [dense<[[[-0.875, -0.4375, -0.75, 0.875, 0.375, -0.5, 0.5625, -0.4375, -0.8125, 0.1875, -0.125, -0.625, 1.0, 0.75, 0.625, 0.8125]]]> : tensor<1x1x16xf32>,
                  dense<[0]> : tensor<1xi32>,
                  dense<[2]> : tensor<1xi32>],
       expected = [dense<[[[-0.66643035, -0.4027384, -0.28933078, 0.6150531, 0.34403878, -0.3315878, 0.5001496, -0.52026635, -0.6721046, -0.11235784, -0.021143157, -0.5548023, 0.69229484, 0.4961235, 0.42268217, 0.66535974]]]> : tensor<1x1x16xf32>,
                  dense<[[[-0.8225577, -0.4287596, -0.6318851, 0.80757403, 0.36594075, -0.45906103, 0.54642725, -0.45949712, -0.7768477, 0.11096177, -0.09673312, -0.60717386, 0.9217084, 0.6856824, 0.5712292, 0.773394]]]> : tensor<1x1x16xf32>]}]} {
    %two = heddle.scale %x by 2.0 : tensor<?x1x16xf32>
    %c0 = heddle.get_cache @kv.0 : !heddle.kv_cache<1x16x16xf32>
    %o0 = heddle.attention %x keys %x values %x cache %c0 at %slots, %positions {scale = 0.25 : f32} score {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      heddle.yield %s : f32
    } mask {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      %see = arith.cmpi sle, %kp, %qp : i32
      heddle.yield %see : i1
    } : tensor<?x1x16xf32>, tensor<?x1x16xf32>, tensor<?x1x16xf32> cache !heddle.kv_cache<1x16x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x1x16xf32>
    %c1 = heddle.get_cache @kv.1 : !heddle.kv_cache<1x16x16xf32>
    %o1 = heddle.attention %x keys %two values %x cache %c1 at %slots, %positions {scale = 0.25 : f32} score {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      heddle.yield %s : f32
    } mask {
    ^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
      %see = arith.cmpi sle, %kp, %qp : i32
      heddle.yield %see : i1
    } : tensor<?x1x16xf32>, tensor<?x1x16xf32>, tensor<?x1x16xf32> cache !heddle.kv_cache<1x16x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x1x16xf32>
    return %o0, %o1 : tensor<?x1x16xf32>, tensor<?x1x16xf32>
  }
}
