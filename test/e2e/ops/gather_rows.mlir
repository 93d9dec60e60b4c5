// Written by generate.py: rows by index, repeated, and clamped where outside
// RUN: heddle-run-ir %s
// RUN: heddle-run-ir --target interpreter:cpu %s
// RUN: heddle-run-ir --target cpu:x86-64-v3 %s
// RUN: %if cpu-avx_vnni %{ heddle-run-ir --target cpu:x86-64-v3-vnni %s %}
// RUN: %if cpu-avx512_vnni %{ heddle-run-ir --target cpu:x86-64-v4-vnni %s %}
// RUN: %if cpu-amx_bf16 %{ heddle-run-ir --target cpu:x86-64-v4-amx %s %}

module {
  func.func @rows(%x: tensor<5x8xf32>, %indices: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 32>]}) -> (tensor<?x8xf32>) attributes {heddle.example = [
      {inputs = [dense<[[0.25, 0.078125, 0.015625, 1.28125, -1.234375, -0.859375, 0.53125, 1.359375], [-0.890625, -0.390625, 0x7FC00000, 0.703125, -0.265625, 1.796875, 0.65625, 0.328125], [-1.359375, -1.921875, 1.078125, 1.609375, 0.421875, 0.890625, 0.203125, 1.703125], [-0.953125, 0.3125, -0.296875, 1.546875, 0.234375, -1.765625, -1.046875, 1.375], [1.9375, -0.09375, -1.96875, -0.3125, -0.984375, 0.828125, 0.9375, 1.46875]]> : tensor<5x8xf32>,
                  dense<[4, 1, 1, -3, 5]> : tensor<5xi32>],
       expected = [dense<[[1.9375, -0.09375, -1.96875, -0.3125, -0.984375, 0.828125, 0.9375, 1.46875], [-0.890625, -0.390625, 0x7FC00000, 0.703125, -0.265625, 1.796875, 0.65625, 0.328125], [-0.890625, -0.390625, 0x7FC00000, 0.703125, -0.265625, 1.796875, 0.65625, 0.328125], [0.25, 0.078125, 0.015625, 1.28125, -1.234375, -0.859375, 0.53125, 1.359375], [1.9375, -0.09375, -1.96875, -0.3125, -0.984375, 0.828125, 0.9375, 1.46875]]> : tensor<5x8xf32>]}]} {
    %y = heddle.gather_rows %x, %indices : tensor<5x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }
}
