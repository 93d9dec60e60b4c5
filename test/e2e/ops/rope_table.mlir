// Written by generate.py: a recipe's table: base, scale, and factors for each frequency
// RUN: heddle-run-ir %s
// RUN: heddle-run-ir --target interpreter:cpu %s
// RUN: heddle-run-ir --target cpu:x86-64-v3 %s
// RUN: %if cpu-avx_vnni %{ heddle-run-ir --target cpu:x86-64-v3-vnni %s %}
// RUN: %if cpu-avx512_vnni %{ heddle-run-ir --target cpu:x86-64-v4-vnni %s %}
// RUN: %if cpu-amx_bf16 %{ heddle-run-ir --target cpu:x86-64-v4-amx %s %}

module {
  heddle.param @factors : tensor<4xf32> value dense<[1.0, 2.0, 4.0, 32.0]> : tensor<4xf32>
  heddle.param @plain : tensor<6x8xf32> derived [] {
    %0 = heddle.rope_table {base = 1.0e4 : f64} -> tensor<6x8xf32>
    heddle.yield %0 : tensor<6x8xf32>
  }
  heddle.param @scaled : tensor<6x8xf32> derived [] {
    %0 = heddle.rope_table {base = 5.0e5 : f64, scale = 2.5e-01 : f64} -> tensor<6x8xf32>
    heddle.yield %0 : tensor<6x8xf32>
  }
  heddle.param @with_factors : tensor<6x8xf32> derived [@factors] {
  ^bb0(%f: tensor<4xf32>):
    %0 = heddle.rope_table %f : tensor<4xf32> {base = 1.0e4 : f64} -> tensor<6x8xf32>
    heddle.yield %0 : tensor<6x8xf32>
  }

  func.func @read_plain(%rows: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32>) attributes {heddle.example = [
      {inputs = [dense<[0, 1, 5]> : tensor<3xi32>],
       expected = [dense<[[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.5403023, 0.9950042, 0.99995, 0.9999995, 0.84147096, 0.099833414, 0.009999833, 9.999998e-04], [0.2836622, 0.87758255, 0.99875027, 0.9999875, -0.9589243, 0.47942555, 0.04997917, 0.0049999794]]> : tensor<3x8xf32>]}]} {
    %t = heddle.get_param @plain : tensor<6x8xf32>
    %y = heddle.embedding %t, %rows : tensor<6x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }

  func.func @read_scaled(%rows: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32>) attributes {heddle.example = [
      {inputs = [dense<[0, 1, 5]> : tensor<3xi32>],
       expected = [dense<[[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.9689124, 0.99995583, 0.99999994, 1.0, 0.24740396, 0.009401369, 3.535534e-04, 1.3295739e-05], [0.31532237, 0.99889535, 0.99999845, 1.0, 0.9489846, 0.046990227, 0.0017677661, 6.64787e-05]]> : tensor<3x8xf32>]}]} {
    %t = heddle.get_param @scaled : tensor<6x8xf32>
    %y = heddle.embedding %t, %rows : tensor<6x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }

  func.func @read_with_factors(%rows: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32>) attributes {heddle.example = [
      {inputs = [dense<[0, 1, 5]> : tensor<3xi32>],
       expected = [dense<[[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.5403023, 0.99875027, 0.9999969, 1.0, 0.84147096, 0.04997917, 0.0024999974, 3.125e-05], [0.2836622, 0.9689124, 0.99992186, 1.0, -0.9589243, 0.24740396, 0.012499674, 1.5625e-04]]> : tensor<3x8xf32>]}]} {
    %t = heddle.get_param @with_factors : tensor<6x8xf32>
    %y = heddle.embedding %t, %rows : tensor<6x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }
}
