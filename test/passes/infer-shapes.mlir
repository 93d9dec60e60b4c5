// RUN: heddle-opt %s -heddle-infer-shapes | FileCheck %s

#n = #heddle.dim<"n", 1 to 512>
#m = #heddle.dim<"m", 0 to 512>

// Rows of the result follow the index that gathers them.
// CHECK-LABEL: func.func @wanted_rows(
// CHECK-SAME:    -> (tensor<?x8xf32> {heddle.dims = [#heddle.dim<"m", 0 to 512>], heddle.name = "y"})
func.func @wanted_rows(%h: tensor<?x8xf32> {heddle.dims = [#n]}, %w: tensor<?xi32> {heddle.dims = [#m]})
    -> (tensor<?x8xf32> {heddle.name = "y"}) attributes {heddle.entry = "step"} {
  %0 = heddle.unary <silu> %h : tensor<?x8xf32>
  %1 = heddle.gather_rows %0, %w : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}

// Pooling makes a row for each sequence: at most one for each row.
// CHECK-LABEL: func.func @sequences(
// CHECK-SAME:    -> (tensor<?x8xf32> {heddle.dims = [#heddle.dim<"s", 0 to 512>]})
func.func @sequences(%h: tensor<?x8xf32> {heddle.dims = [#n]}, %s: tensor<?xi32> {heddle.dims = [#n]}) -> tensor<?x8xf32>
    attributes {heddle.entry = "encode"} {
  %0 = heddle.pool_rows <mean> %h, %s : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// A static first dimension needs no name.
// CHECK-LABEL: func.func @static(
// CHECK-SAME:    %{{.*}}: tensor<4x8xf32>) -> tensor<4x8xf32>
func.func @static(%h: tensor<4x8xf32>) -> tensor<4x8xf32> attributes {heddle.entry = "f"} {
  %0 = heddle.unary <tanh> %h : tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// Only entries promise anything about their arguments.
// CHECK-LABEL: func.func @not_an_entry(
func.func @not_an_entry(%h: tensor<?x8xf32>) -> tensor<?x8xf32> {
  return %h : tensor<?x8xf32>
}

// A result without a name of rows does not end the search.
// CHECK-LABEL: func.func @static_first(
// CHECK-SAME:    -> (tensor<4x8xf32>, tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 512>]})
func.func @static_first(%a: tensor<4x8xf32>, %h: tensor<?x8xf32> {heddle.dims = [#n]}) -> (tensor<4x8xf32>, tensor<?x8xf32>) attributes {heddle.entry = "g"} {
  %0 = heddle.unary <tanh> %a : tensor<4x8xf32>
  %1 = heddle.unary <tanh> %h : tensor<?x8xf32>
  return %0, %1 : tensor<4x8xf32>, tensor<?x8xf32>
}
