// RUN: heddle-opt %s -heddle-specialize-rows='bounds=4,64' | FileCheck %s
// RUN: heddle-opt %s -heddle-specialize-rows | FileCheck %s --check-prefix=ONE
// RUN: heddle-opt %s -heddle-specialize-rows='bounds=4 tiles-from=32' | FileCheck %s --check-prefix=TILES
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

// With 'tiles-from' products of weights stored in blocks have an alternative for processors with tiles; others have none.
// TILES-LABEL: func.func @product.rows_1_4(
// TILES-LABEL: func.func @product.rows_5_31(
// TILES-LABEL: func.func @product.rows_32_64(
// TILES-NOT:     heddle.tiles
// TILES-LABEL: func.func @product.rows_32_64.tiles(
// TILES-SAME:    #heddle.dim<"n", 32 to 64>
// TILES-SAME:    heddle.rows = array<i64: 32, 64>, heddle.tiles
// TILES-LABEL: func.func @dense.rows_1_4(
// TILES-LABEL: func.func @dense.rows_5_64(
// TILES-NOT:   func.func @dense.
heddle.param @q4 : !heddle.stored<8x32xf32, #heddle.enc<q4_1>> file 0 at 0
heddle.param @f16 : !heddle.stored<8x32xf32, #heddle.enc<f16>> file 0 at 0
func.func @product(%h: tensor<?x32xf32> {heddle.dims = [#heddle.dim<"n", 1 to 64>]}) -> tensor<?x8xf32> attributes {heddle.entry = "product"} {
  %w = heddle.get_param @q4 : !heddle.stored<8x32xf32, #heddle.enc<q4_1>>
  %0 = heddle.linear %h, %w : tensor<?x32xf32>, !heddle.stored<8x32xf32, #heddle.enc<q4_1>> -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
func.func @dense(%h: tensor<?x32xf32> {heddle.dims = [#heddle.dim<"n", 1 to 64>]}) -> tensor<?x8xf32> attributes {heddle.entry = "dense"} {
  %w = heddle.get_param @f16 : !heddle.stored<8x32xf32, #heddle.enc<f16>>
  %0 = heddle.linear %h, %w : tensor<?x32xf32>, !heddle.stored<8x32xf32, #heddle.enc<f16>> -> tensor<?x8xf32>
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
