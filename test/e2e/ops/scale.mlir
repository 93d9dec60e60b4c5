// Written by generate.py: by a constant that is not a power of two, by one, by zero
// RUN: heddle-run-ir %s
// RUN: heddle-run-ir --target interpreter:cpu %s
// RUN: heddle-run-ir --target cpu:x86-64-v3 %s
// RUN: %if cpu-avx_vnni %{ heddle-run-ir --target cpu:x86-64-v3-vnni %s %}
// RUN: %if cpu-avx512_vnni %{ heddle-run-ir --target cpu:x86-64-v4-vnni %s %}
// RUN: %if cpu-amx_bf16 %{ heddle-run-ir --target cpu:x86-64-v4-amx %s %}

module {
  func.func @third(%x: tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32>) attributes {heddle.example = [
      {inputs = [dense<[[-0.625, 0.015625, 0.21875, 0.25, -0.796875, 1.953125, -1.78125, 0.8125], [0.890625, -0.46875, -0.25, 1.03125, 1.828125, -0.078125, -0.203125, -1.75]]> : tensor<2x8xf32>],
       expected = [dense<[[-0.20833334, 0.0052083335, 0.07291667, 0.083333336, -0.265625, 0.6510417, -0.59375, 0.27083334], [0.296875, -0.15625, -0.083333336, 0.34375, 0.609375, -0.026041668, -0.067708336, -0.5833334]]> : tensor<2x8xf32>]}]} {
    %y = heddle.scale %x by 0.33333334 : tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }

  func.func @one(%x: tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32>) attributes {heddle.example = [
      {inputs = [dense<[[-0.625, 0.015625, 0.21875, 0.25, -0.796875, 1.953125, -1.78125, 0.8125], [0.890625, -0.46875, -0.25, 1.03125, 1.828125, -0.078125, -0.203125, -1.75]]> : tensor<2x8xf32>],
       expected = [dense<[[-0.625, 0.015625, 0.21875, 0.25, -0.796875, 1.953125, -1.78125, 0.8125], [0.890625, -0.46875, -0.25, 1.03125, 1.828125, -0.078125, -0.203125, -1.75]]> : tensor<2x8xf32>]}]} {
    %y = heddle.scale %x by 1.0 : tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }

  func.func @zero(%x: tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32>) attributes {heddle.example = [
      {inputs = [dense<[[-0.625, 0.015625, 0.21875, 0.25, -0.796875, 1.953125, -1.78125, 0.8125], [0.890625, -0.46875, -0.25, 1.03125, 1.828125, -0.078125, -0.203125, -1.75]]> : tensor<2x8xf32>],
       expected = [dense<[[-0.0, 0.0, 0.0, 0.0, -0.0, 0.0, -0.0, 0.0], [0.0, -0.0, -0.0, 0.0, 0.0, -0.0, -0.0, -0.0]]> : tensor<2x8xf32>]}]} {
    %y = heddle.scale %x by 0.0 : tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }
}
