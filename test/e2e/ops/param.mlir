// Written by generate.py: parameters from a file, written out, and derived from others
// RUN: heddle-run-ir %s
// RUN: heddle-run-ir --target interpreter:cpu %s
// RUN: heddle-run-ir --target cpu:x86-64-v3 %s
// RUN: %if cpu-avx_vnni %{ heddle-run-ir --target cpu:x86-64-v3-vnni %s %}
// RUN: %if cpu-avx512_vnni %{ heddle-run-ir --target cpu:x86-64-v4-vnni %s %}
// RUN: %if cpu-amx_bf16 %{ heddle-run-ir --target cpu:x86-64-v4-amx %s %}

module attributes {heddle.files = [dense<"0x0000A0BF0000B43F0000BCBF0000FE3F0000BC3F0000583F0038003FE03A"> : tensor<30xi8>]} {
  heddle.param @file : tensor<2x3xf32> file 0 at 0
  heddle.param @half : tensor<3xf16> file 0 at 24
  heddle.param @value : tensor<3xf32> value dense<[0.5, 1.75, 0.859375]> : tensor<3xf32>
  heddle.param @derived : tensor<3xf32> derived [@value, @doubled] {
  ^bb0(%a: tensor<3xf32>, %b: tensor<3xf32>):
    %0 = heddle.binary <add> %a, %b : tensor<3xf32>
    heddle.yield %0 : tensor<3xf32>
  }
  heddle.param @doubled : tensor<3xf32> derived [@value] {
  ^bb0(%a: tensor<3xf32>):
    %0 = heddle.scale %a by 2.0 : tensor<3xf32>
    heddle.yield %0 : tensor<3xf32>
  }

  func.func @from_file(%x: tensor<2x3xf32>) -> (tensor<2x3xf32>) attributes {heddle.example = [
      {inputs = [dense<[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]> : tensor<2x3xf32>],
       expected = [dense<[[-0.25, 2.40625, -0.46875], [2.984375, 2.46875, 1.84375]]> : tensor<2x3xf32>]}]} {
    %p = heddle.get_param @file : tensor<2x3xf32>
    %y = heddle.binary <add> %x, %p : tensor<2x3xf32>
    return %y : tensor<2x3xf32>
  }

  func.func @written_out_and_derived(%x: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>) attributes {heddle.example = [
      {inputs = [dense<[1.546875, -1.234375, -0.015625]> : tensor<3xf32>],
       expected = [dense<[0.7734375, -2.1601562, -0.013427734]> : tensor<3xf32>,
                  dense<[2.3203125, -6.4804688, -0.040283203]> : tensor<3xf32>]}]} {
    %v = heddle.get_param @value : tensor<3xf32>
    %d = heddle.get_param @derived : tensor<3xf32>
    %y = heddle.binary <mul> %x, %v : tensor<3xf32>
    %z = heddle.binary <mul> %x, %d : tensor<3xf32>
    return %y, %z : tensor<3xf32>, tensor<3xf32>
  }
}
