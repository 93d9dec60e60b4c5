// RUN: heddle-opt %s -split-input-file -verify-diagnostics

func.func @f(%t: tensor<4x2x8xf32>, %i: tensor<?xi32>) {
  // expected-error @below {{expected 'table' and 'result' to have rank 2, but found rank 3 and 2}}
  %0 = heddle.embedding %t, %i : tensor<4x2x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%t: tensor<4x8xf32>, %i: tensor<3xi32>) {
  // expected-error @below {{expected the number of rows of 'result' to be 3, but found 2}}
  %0 = heddle.embedding %t, %i : tensor<4x8xf32>, tensor<3xi32> -> tensor<2x8xf32>
  return
}

// -----

func.func @f(%t: tensor<4x8xf32>, %i: tensor<?xi32>) {
  // expected-error @below {{expected the width of 'result' to be 8, but found 6}}
  %0 = heddle.embedding %t, %i : tensor<4x8xf32>, tensor<?xi32> -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<4x8xf32>, %i: tensor<?xi32>) {
  // expected-error @below {{expected rows of 'result' to be those of 'input', 'tensor<4x8xf32>', but found 'tensor<?x6xf32>'}}
  %0 = heddle.gather_rows %x, %i : tensor<4x8xf32>, tensor<?xi32> -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<4x8xf32>, %i: tensor<3xi32>) {
  // expected-error @below {{expected the number of rows of 'result' to be 3, but found 2}}
  %0 = heddle.gather_rows %x, %i : tensor<4x8xf32>, tensor<3xi32> -> tensor<2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x2x32xf32>, %w: !heddle.stored<64x32xf32, #heddle.enc<q8_0>>) {
  // expected-error @below {{expected 'input', 'weight' and 'result' to have rank 2}}
  %0 = heddle.linear %x, %w : tensor<?x2x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>, %w: !heddle.stored<64x32xf32, #heddle.enc<q8_0>>) {
  // expected-error @below {{expected 'input' to have 32 columns to match 'weight', but found 64}}
  %0 = heddle.linear %x, %w : tensor<?x64xf32>, !heddle.stored<64x32xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %w: !heddle.stored<64x32xf32, #heddle.enc<act_i8>>) {
  // expected-error @below {{expected 'weight' to be in a weight format, but found '!heddle.stored<64x32xf32, #heddle.enc<act_i8>>'}}
  %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<act_i8>> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: !heddle.stored<4x32xf32, #heddle.enc<q4_0>>, %w: !heddle.stored<64x32xf32, #heddle.enc<q8_0>>) {
  // expected-error @below {{expected 'input' to be f32 or quantized activations, but found '!heddle.stored<4x32xf32, #heddle.enc<q4_0>>'}}
  %0 = heddle.linear %x, %w : !heddle.stored<4x32xf32, #heddle.enc<q4_0>>, !heddle.stored<64x32xf32, #heddle.enc<q8_0>> -> tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<3x32xf32>, %w: !heddle.stored<64x32xf32, #heddle.enc<q8_0>>) {
  // expected-error @below {{expected the number of rows of 'result' to be 3, but found 2}}
  %0 = heddle.linear %x, %w : tensor<3x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q8_0>> -> tensor<2x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %w: !heddle.stored<64x32xf32, #heddle.enc<q8_0>>) {
  // expected-error @below {{expected the width of 'result' to be 64, but found 32}}
  %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q8_0>> -> tensor<?x32xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %w: !heddle.stored<64x32xf32, #heddle.enc<q8_0>>, %b: tensor<32xf32>) {
  // expected-error @below {{expected the length of 'bias' to be 64, but found 32}}
  %0 = heddle.linear %x, %w bias %b : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<q8_0>>, tensor<32xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>, %w: tensor<6xf32>) {
  // expected-error @below {{expected 'weight' to have 8 elements to match the innermost axis of 'input', but found 6}}
  %0 = heddle.rms_norm %x, %w : tensor<?x8xf32>, tensor<6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>, %w: tensor<6xf32>, %b: tensor<8xf32>) {
  // expected-error @below {{expected 'weight' to have 8 elements to match the innermost axis of 'input', but found 6}}
  %0 = heddle.layer_norm %x, %w, %b : tensor<?x8xf32>, tensor<6xf32>, tensor<8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %b: tensor<6xf32>) {
  // expected-error @below {{expected 'bias' to have 8 elements to match the innermost axis of 'input', but found 6}}
  %0 = heddle.layer_norm %x, %w, %b : tensor<?x8xf32>, tensor<8xf32>, tensor<6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x2x16xf32>, %t: tensor<64x18xf32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected 'table' to have an even number of columns, at most the 16 of a head, but found 18}}
  %0 = heddle.rope <half> %x, %t, %p : tensor<?x2x16xf32>, tensor<64x18xf32>, tensor<?xi32>
  return
}

// -----

func.func @f(%x: tensor<3x2x16xf32>, %t: tensor<64x16xf32>, %p: tensor<2xi32>) {
  // expected-error @below {{expected the number of 'positions' to be 3, but found 2}}
  %0 = heddle.rope <half> %x, %t, %p : tensor<3x2x16xf32>, tensor<64x16xf32>, tensor<2xi32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>) {
  // expected-error @below {{expected the first dimension to stay, but found 'tensor<?x32xf32>' and 'tensor<2x?x16xf32>'}}
  %0 = heddle.reshape %x : tensor<?x32xf32> -> tensor<2x?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>) {
  // expected-error @below {{expected the product of the inner dimensions of 'result' to be 32, but found 30}}
  %0 = heddle.reshape %x : tensor<?x32xf32> -> tensor<?x2x15xf32>
  return
}

// -----

func.func @f(%x: tensor<3x8xf32>, %s: tensor<2xi32>) {
  // expected-error @below {{expected the number of 'sequences' to be 3, but found 2}}
  %0 = heddle.pool_rows <mean> %x, %s : tensor<3x8xf32>, tensor<2xi32> -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>, %s: tensor<?xi32>) {
  // expected-error @below {{expected the width of 'result' to be 8, but found 6}}
  %0 = heddle.pool_rows <mean> %x, %s : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<4x32xf32>) {
  // expected-error @below {{expected 'result' to be quantized activations, but found '!heddle.stored<4x32xf32, #heddle.enc<q8_0>>'}}
  %0 = heddle.quantize %x : tensor<4x32xf32> -> !heddle.stored<4x32xf32, #heddle.enc<q8_0>>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @below {{expected 'result' to have the shape of 'input', 'tensor<?x64xf32>', but found '!heddle.stored<?x32xf32, #heddle.enc<act_i8>>'}}
  %0 = heddle.quantize %x : tensor<?x64xf32> -> !heddle.stored<?x32xf32, #heddle.enc<act_i8>>
  return
}

// -----

func.func @f(%x: !heddle.stored<4x32xf32, #heddle.enc<q8_0>>) {
  // expected-error @below {{expected 'result' to have the shape of 'input', '!heddle.stored<4x32xf32, #heddle.enc<q8_0>>', but found 'tensor<2x64xf32>'}}
  %0 = heddle.dequantize %x : !heddle.stored<4x32xf32, #heddle.enc<q8_0>> -> tensor<2x64xf32>
  return
}

// -----

func.func @f(%x: tensor<?x9223372036854775807x4xf32>) {
  // expected-error @below {{expected rows of fewer than 2^63 elements, but found 'tensor<?x9223372036854775807x4xf32>' and 'tensor<?x4xf32>'}}
  %0 = heddle.reshape %x : tensor<?x9223372036854775807x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<f32>, %w: tensor<4xf32>) {
  // expected-error @below {{operand #0 must be tensor of f32 with at least one dimension, but got 'tensor<f32>'}}
  %0 = heddle.rms_norm %x, %w : tensor<f32>, tensor<4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @below {{'heddle.unary' op requires the same type for all operands and results}}
  %0 = "heddle.unary"(%x) <{kind = #heddle.unary_kind<silu>}> : (tensor<?x8xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @below {{'heddle.binary' op requires the same type for all operands and results}}
  %0 = "heddle.binary"(%x, %x) <{kind = #heddle.binary_kind<add>}> : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @below {{'heddle.l2_normalize' op requires the same type for all operands and results}}
  %0 = "heddle.l2_normalize"(%x) : (tensor<?x8xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @below {{'heddle.scale' op requires the same type for all operands and results}}
  %0 = "heddle.scale"(%x) <{factor = 2.0 : f32}> : (tensor<?x8xf32>) -> tensor<?x4xf32>
  return
}
