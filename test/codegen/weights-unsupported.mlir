// A recipe that weights cannot be packed from is named; it is no internal error.
// RUN: not heddle-run-ir --target cpu:x86-64-v3 %s 2>&1 | FileCheck %s

module attributes {heddle.files = [dense<0> : tensor<4096xi8>]} {
  heddle.param @w : !heddle.stored<8x64xf32, #heddle.enc<f32>> file 0 at 0
  heddle.param @two_steps : !heddle.stored<4x64xf32, #heddle.enc<q8_0>> derived [@w] {
  ^bb0(%w: !heddle.stored<8x64xf32, #heddle.enc<f32>>):
    %0 = heddle.quantize_weights %w {scheme = "int8-g32"} : !heddle.stored<8x64xf32, #heddle.enc<f32>> -> !heddle.stored<8x64xf32, #heddle.enc<q8_0>>
    %1 = heddle.keep_parts %0 axis 0 keep [true, false] : !heddle.stored<8x64xf32, #heddle.enc<q8_0>> -> !heddle.stored<4x64xf32, #heddle.enc<q8_0>>
    heddle.yield %1 : !heddle.stored<4x64xf32, #heddle.enc<q8_0>>
  }
  // CHECK: @f: {{.*}}parameter 'two_steps': expected weights of a file, or a recipe of one 'heddle.quantize_weights' or 'heddle.keep_parts'
  func.func @f(%x: tensor<?x64xf32> {heddle.dims = [#heddle.dim<"n", 1 to 4>]}) -> tensor<?x4xf32>
      attributes {heddle.example = [{inputs = [dense<1.0> : tensor<1x64xf32>], expected = [dense<0.0> : tensor<1x4xf32>]}]} {
    %w = heddle.get_param @two_steps : !heddle.stored<4x64xf32, #heddle.enc<q8_0>>
    %0 = heddle.linear %x, %w : tensor<?x64xf32>, !heddle.stored<4x64xf32, #heddle.enc<q8_0>> -> tensor<?x4xf32>
    return %0 : tensor<?x4xf32>
  }
}
