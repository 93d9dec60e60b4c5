// RUN: heddle-opt %s -heddle-infer-shapes -split-input-file -verify-diagnostics -allow-unregistered-dialect

#n = #heddle.dim<"n", 1 to 512>
#m = #heddle.dim<"m", 0 to 512>
func.func @mixed(%h: tensor<?x8xf32> {heddle.dims = [#n]}, %w: tensor<?xi32> {heddle.dims = [#m]}) -> tensor<?x8xf32>
    attributes {heddle.entry = "step"} {
  // expected-note @below {{rows 'm' come from here}}
  %0 = heddle.gather_rows %h, %w : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // expected-note @below {{rows 'n' come from here}}
  %1 = heddle.unary <silu> %h : tensor<?x8xf32>
  // expected-error @below {{expected operands with the same rows, but 'heddle.gather_rows' has rows 'm' and 'heddle.unary' has rows 'n'}}
  %2 = heddle.binary <add> %0, %1 : tensor<?x8xf32>
  return %2 : tensor<?x8xf32>
}

// -----

// expected-error @below {{expected 'heddle.dims' of argument 0 to name its 1 dynamic dimensions, but found 0}}
func.func @nameless(%h: tensor<?x8xf32>) -> tensor<?x8xf32> attributes {heddle.entry = "step"} {
  return %h : tensor<?x8xf32>
}

// -----

// expected-error @below {{expected 'heddle.dims' of argument 0 to hold #heddle.dim, but found 3 : i64}}
func.func @not_a_dim(%h: tensor<?x8xf32> {heddle.dims = [3]}) -> tensor<?x8xf32> attributes {heddle.entry = "step"} {
  return %h : tensor<?x8xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
// expected-error @below {{expected only the first dimension of argument 0 to be dynamic, but found 'tensor<8x?xf32>'}}
func.func @inner(%h: tensor<8x?xf32> {heddle.dims = [#n]}) -> tensor<8x?xf32> attributes {heddle.entry = "step"} {
  return %h : tensor<8x?xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
#other = #heddle.dim<"n", 1 to 256>
// expected-error @below {{expected one range for dimension 'n', but found 1 to 512 and 1 to 256}}
func.func @two_ranges(%h: tensor<?x8xf32> {heddle.dims = [#n]}, %g: tensor<?x8xf32> {heddle.dims = [#other]}) -> tensor<?x8xf32>
    attributes {heddle.entry = "step"} {
  %0 = heddle.binary <add> %h, %g : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
// expected-error @below {{expected 'heddle.dims' of result 0 to be #heddle.dim<"n", 1 to 512>, which its rows follow from, but found [#heddle.dim<"k", 1 to 512>]}}
func.func @wrong_result(%h: tensor<?x8xf32> {heddle.dims = [#n]}) -> (tensor<?x8xf32> {heddle.dims = [#heddle.dim<"k", 1 to 512>]})
    attributes {heddle.entry = "step"} {
  %0 = heddle.unary <silu> %h : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

#n = #heddle.dim<"n", 1 to 512>
// expected-error @below {{expected only the first dimension of result 0 to be dynamic, and to follow from the arguments, but found 'tensor<?x8xf32>'}}
func.func @unknown_rows(%h: tensor<?xi32> {heddle.dims = [#n]}) -> tensor<?x8xf32> attributes {heddle.entry = "step"} {
  %0 = "test.make"() : () -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
