// Written by generate.py: mean, first and last row of texts, and a text without rows
// RUN: heddle-run-ir %s
// RUN: heddle-run-ir --target interpreter:cpu %s
// RUN: heddle-run-ir --target cpu:x86-64-v3 %s
// RUN: %if cpu-avx_vnni %{ heddle-run-ir --target cpu:x86-64-v3-vnni %s %}
// RUN: %if cpu-avx512_vnni %{ heddle-run-ir --target cpu:x86-64-v4-vnni %s %}
// RUN: %if cpu-amx_bf16 %{ heddle-run-ir --target cpu:x86-64-v4-amx %s %}

module attributes {heddle.model = {name = "pool_rows", vocabulary = 7 : i64, max_context = 128 : i64, max_slots = 4 : i64, max_rows = 32 : i64}} {
  heddle.param @mean.x : tensor<7x8xf32> value dense<[[0.5625, 1.0, -0.25, -0.625, 0.0625, 0.75, 0.5625, 0.5625], [-0.75, 0.125, 0.0, 0.1875, 0.9375, -0.6875, -0.6875, -0.0625], [0.0625, -0.875, 0.25, -0.875, -0.0625, -0.5, 0.1875, 0.625], [0.75, 0.5, -0.0625, -1.0, 0.5625, 0.0, 0.125, 0.6875], [-0.75, -0.25, 0.25, -0.625, -1.0, 0.375, -0.6875, -0.6875], [0.6875, 0.9375, -0.875, 0.9375, -0.1875, 0.3125, -0.5625, -0.625], [0.6875, 0.3125, -0.375, 0.5625, -0.4375, 0.1875, 0.875, 0.8125]]> : tensor<7x8xf32>
  heddle.param @first.x : tensor<7x8xf32> value dense<[[0.9375, 0.8125, 0.25, 0.0625, 0.5, 0.5625, 0.8125, 0.1875], [-0.375, 0.1875, 0.5625, -0.8125, -0.4375, -0.25, 0.3125, 0.625], [0.0625, -0.6875, 0.6875, 0.9375, 0.625, 0.9375, -0.6875, 0.375], [-0.625, -0.4375, -0.1875, 0.375, 0.0, -0.9375, -0.875, -0.75], [0.6875, -0.3125, -0.9375, 0.6875, -0.9375, 0.375, 0.6875, -0.75], [0.6875, 0.5625, 1.0, 0.8125, 0.1875, 0.5, 0.8125, 0.75], [-0.6875, -0.25, -0.4375, -0.125, 0.0, -0.5, 0.5625, -0.0625]]> : tensor<7x8xf32>
  heddle.param @last.x : tensor<7x8xf32> value dense<[[-0.9375, 0.6875, -0.75, 0.625, -0.4375, -0.3125, 0.25, 0.875], [-0.625, 0.625, 0.75, -0.8125, -0.3125, 0.5, 1.0, -1.0], [-0.1875, 0.4375, 0.0625, 0.0, -0.9375, 0.0625, 0.125, 0.75], [0.1875, 0.6875, 1.0, -0.625, 0.375, -0.0625, -0.75, -0.75], [-0.1875, -0.375, 0.875, -0.8125, 0.5625, 0.5625, 0.25, 0.0625], [0.1875, -0.6875, 0.5625, 0.3125, -0.4375, -0.4375, -0.625, -0.25], [-0.125, -1.0, -0.1875, 1.0, -0.75, -0.1875, 0.0625, -0.8125]]> : tensor<7x8xf32>

  func.func @mean(%tokens: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %slots: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %positions: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32> {heddle.dims = [#heddle.dim<"s", 1 to 32>]}) attributes {heddle.entry = "encode", heddle.example = [
      {inputs = [dense<[0, 1, 2, 3, 4, 5, 6]> : tensor<7xi32>,
                  dense<[0, 0, 0, 1, 2, 2, 2]> : tensor<7xi32>,
                  dense<[0, 1, 2, 0, 0, 1, 2]> : tensor<7xi32>],
       expected = [dense<[[-0.041666668, 0.083333336, 0.0, -0.4375, 0.3125, -0.14583333, 0.020833334, 0.375], [0.75, 0.5, -0.0625, -1.0, 0.5625, 0.0, 0.125, 0.6875], [0.20833333, 0.33333334, -0.33333334, 0.29166666, -0.5416667, 0.29166666, -0.125, -0.16666667]]> : tensor<3x8xf32>]}]} {
    %xt = heddle.get_param @mean.x : tensor<7x8xf32>
    %xf = heddle.embedding %xt, %tokens : tensor<7x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    %x = heddle.reshape %xf : tensor<?x8xf32> -> tensor<?x1x8xf32>
    %y = heddle.pool_rows <mean> %xf, %slots : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }

  func.func @first(%tokens: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %slots: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %positions: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32> {heddle.dims = [#heddle.dim<"s", 1 to 32>]}) attributes {heddle.entry = "encode", heddle.example = [
      {inputs = [dense<[0, 1, 2, 3, 4, 5, 6]> : tensor<7xi32>,
                  dense<[0, 0, 0, 1, 2, 2, 2]> : tensor<7xi32>,
                  dense<[0, 1, 2, 0, 0, 1, 2]> : tensor<7xi32>],
       expected = [dense<[[0.9375, 0.8125, 0.25, 0.0625, 0.5, 0.5625, 0.8125, 0.1875], [-0.625, -0.4375, -0.1875, 0.375, 0.0, -0.9375, -0.875, -0.75], [0.6875, -0.3125, -0.9375, 0.6875, -0.9375, 0.375, 0.6875, -0.75]]> : tensor<3x8xf32>]}]} {
    %xt = heddle.get_param @first.x : tensor<7x8xf32>
    %xf = heddle.embedding %xt, %tokens : tensor<7x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    %x = heddle.reshape %xf : tensor<?x8xf32> -> tensor<?x1x8xf32>
    %y = heddle.pool_rows <first> %xf, %slots : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }

  func.func @last(%tokens: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %slots: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %positions: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32> {heddle.dims = [#heddle.dim<"s", 1 to 32>]}) attributes {heddle.entry = "encode", heddle.example = [
      {inputs = [dense<[0, 1, 2, 3, 4, 5, 6]> : tensor<7xi32>,
                  dense<[0, 0, 0, 1, 2, 2, 2]> : tensor<7xi32>,
                  dense<[0, 1, 2, 0, 0, 1, 2]> : tensor<7xi32>],
       expected = [dense<[[-0.1875, 0.4375, 0.0625, 0.0, -0.9375, 0.0625, 0.125, 0.75], [0.1875, 0.6875, 1.0, -0.625, 0.375, -0.0625, -0.75, -0.75], [-0.125, -1.0, -0.1875, 1.0, -0.75, -0.1875, 0.0625, -0.8125]]> : tensor<3x8xf32>]}]} {
    %xt = heddle.get_param @last.x : tensor<7x8xf32>
    %xf = heddle.embedding %xt, %tokens : tensor<7x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    %x = heddle.reshape %xf : tensor<?x8xf32> -> tensor<?x1x8xf32>
    %y = heddle.pool_rows <last> %xf, %slots : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }

  func.func @text_without_rows(%x: tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}, %sequences: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32> {heddle.dims = [#heddle.dim<"s", 1 to 32>]}) attributes {heddle.skip_compiled = "entries number their texts without gaps", heddle.example = [
      {inputs = [dense<[[0.734375, -0.265625, 1.65625, 1.375, 1.515625, 0.328125, -1.140625, 1.609375], [1.328125, -1.171875, -1.390625, -0.625, 1.890625, -1.375, -0.546875, 1.125], [1.828125, 0.21875, 0.140625, -0.875, 0.484375, 1.796875, 0.375, -0.40625]]> : tensor<3x8xf32>,
                  dense<[0, 2, 2]> : tensor<3xi32>],
       expected = [dense<[[0.734375, -0.265625, 1.65625, 1.375, 1.515625, 0.328125, -1.140625, 1.609375], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.578125, -0.4765625, -0.625, -0.75, 1.1875, 0.2109375, -0.0859375, 0.359375]]> : tensor<3x8xf32>]}]} {
    %y = heddle.pool_rows <mean> %x, %sequences : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }
}
