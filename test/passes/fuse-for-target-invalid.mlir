// RUN: heddle-opt %s -heddle-fuse-for-target -split-input-file -verify-diagnostics -allow-unregistered-dialect
// RUN: not heddle-opt %s -heddle-fuse-for-target=target=cdua -split-input-file -allow-unregistered-dialect 2>&1 | FileCheck %s

// CHECK: error: unknown target 'cdua'; known targets: cpu

#n = #heddle.dim<"n", 1 to 512>
func.func @foreign(%a: tensor<?x8xf32> {heddle.dims = [#n]}) -> tensor<?x8xf32> {
  // expected-error @below {{cannot be part of a kernel of target 'cpu'}}
  %0 = "test.op"(%a) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
// expected-error @below {{expected result 0 to be computed, but found an argument, parameter or constant}}
func.func @nothing_to_do(%a: tensor<?x8xf32> {heddle.dims = [#n]}) -> tensor<?x8xf32> {
  return %a : tensor<?x8xf32>
}

// -----

heddle.param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>> file 0 at 0
func.func @parameters_alone() -> tensor<64x64xf32> {
  %w = heddle.get_param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>>
  // expected-error @below {{expected rows that follow from the arguments, but it reads parameters alone; make it a derived parameter}}
  %0 = heddle.dequantize %w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>> -> tensor<64x64xf32>
  return %0 : tensor<64x64xf32>
}
