// RUN: heddle-opt %s -heddle-specialize-rows='bounds=4,64' | FileCheck %s
// RUN: heddle-opt %s -heddle-specialize-rows | FileCheck %s --check-prefix=ONE
// RUN: not heddle-opt %s -heddle-specialize-rows='bounds=64,4' 2>&1 | FileCheck %s --check-prefix=ORDER

// ORDER: error: expected 'bounds' of 'heddle-specialize-rows' to be positive and ascending, but found 4 after 64

#n = #heddle.dim<"n", 1 to 512>
#m = #heddle.dim<"m", 0 to 512>

// The range of 'n' changes wherever it stands; wanted rows 'm' keep theirs.
// CHECK-LABEL: func.func @step.rows_1_4(
// CHECK-SAME:    tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 4>]}
// CHECK-SAME:    tensor<?xi32> {heddle.dims = [#heddle.dim<"m", 0 to 512>]}
// CHECK-SAME:    heddle.entry = "step", heddle.rows = array<i64: 1, 4>
// CHECK:         heddle.gather_rows
// CHECK-LABEL: func.func @step.rows_5_64(
// CHECK-SAME:    #heddle.dim<"n", 5 to 64>
// CHECK-SAME:    heddle.rows = array<i64: 5, 64>
// CHECK-LABEL: func.func @step.rows_65_512(
// CHECK-SAME:    heddle.rows = array<i64: 65, 512>
// CHECK-NOT:   func.func @step(

// ONE:     func.func @step.rows_1_512(
// ONE-NOT: func.func @step.
func.func @step(%h: tensor<?x8xf32> {heddle.dims = [#n]}, %w: tensor<?xi32> {heddle.dims = [#m]}) -> tensor<?x8xf32>
    attributes {heddle.entry = "step"} {
  %0 = heddle.gather_rows %h, %w : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// A bound outside of the range makes no variant.
// CHECK-LABEL: func.func @short.rows_1_4(
// CHECK-LABEL: func.func @short.rows_5_8(
// CHECK-NOT:   func.func @short.
func.func @short(%h: tensor<?x8xf32> {heddle.dims = [#heddle.dim<"n", 1 to 8>]}) -> tensor<?x8xf32> attributes {heddle.entry = "short"} {
  %0 = heddle.unary <silu> %h : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// Neither entries without rows nor other functions have variants.
// CHECK-LABEL: func.func @fixed(
// CHECK-NOT:     heddle.rows
func.func @fixed(%h: tensor<4x8xf32>) -> tensor<4x8xf32> attributes {heddle.entry = "fixed"} {
  return %h : tensor<4x8xf32>
}
// CHECK-LABEL: func.func @helper(
// CHECK-NOT:     heddle.rows
func.func @helper(%h: tensor<?x8xf32> {heddle.dims = [#n]}) -> tensor<?x8xf32> {
  return %h : tensor<?x8xf32>
}
