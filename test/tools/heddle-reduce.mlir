// A script says what must stay; all else goes, unused parameters and their bytes too.
// RUN: heddle-reduce %s --test grep --test-arg=-q --test-arg="heddle.unary <exp>" | FileCheck %s --implicit-check-not=@
// CHECK:      module {
// CHECK-NEXT:   func.func @keep(%[[X:.*]]: tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %[[Y:.*]] = heddle.unary <exp> %[[X]]
// CHECK-NEXT:     return %[[Y]]

// What is not interesting at first is left alone, and said.
// RUN: not heddle-reduce %s --test false 2>&1 | FileCheck %s --check-prefix=BORING
// BORING: expected 'false' to exit with 0

module attributes {heddle.files = [dense<7> : tensor<128xi8>]} {
  heddle.param @w : !heddle.stored<4x8xf32, #heddle.enc<f32>> file 0 at 0
  func.func @other(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %0 = heddle.unary <relu> %x : tensor<4x8xf32>
    return %0 : tensor<4x8xf32>
  }
  func.func @keep(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x4xf32>) {
    %w = heddle.get_param @w : !heddle.stored<4x8xf32, #heddle.enc<f32>>
    %0 = heddle.unary <relu> %x : tensor<4x8xf32>
    %1 = heddle.binary <add> %0, %x : tensor<4x8xf32>
    %2 = heddle.unary <exp> %1 : tensor<4x8xf32>
    %3 = heddle.scale %2 by 2.0 : tensor<4x8xf32>
    %4 = heddle.linear %3, %w : tensor<4x8xf32>, !heddle.stored<4x8xf32, #heddle.enc<f32>> -> tensor<4x4xf32>
    return %3, %4 : tensor<4x8xf32>, tensor<4x4xf32>
  }
}
