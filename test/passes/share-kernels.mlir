// RUN: heddle-opt %s -heddle-share-kernels | FileCheck %s
// RUN: heddle-opt %s -heddle-share-kernels -heddle-report-decisions 2>&1 | FileCheck %s --check-prefix=WHY --implicit-check-not='stands for 1 '

// WHY: remark: {{.*}}share: 'norm' stands for 3 equal kernels

// Equal but for names and locations: one symbol, also across variants.
// CHECK-LABEL: func.func @step.rows_1_4(
// CHECK:         heddle.launch @norm(
// CHECK-NEXT:    heddle.launch @norm(
// CHECK-NEXT:    heddle.launch @other_epsilon(
// CHECK-NEXT:    heddle.launch @swapped(
// CHECK-LABEL: func.func @step.rows_5_512(
// CHECK:         heddle.launch @norm(
// CHECK-NEXT:    heddle.launch @wanted(
// CHECK-SAME:      over "m"
func.func @step.rows_1_4(%h: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %0 = heddle.launch @norm(%h, %w) over "n" : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %1 = heddle.launch @norm_1(%0, %w) over "n" : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %2 = heddle.launch @other_epsilon(%1, %w) over "n" : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %3 = heddle.launch @swapped(%2, %0) over "n" : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %4 = heddle.launch @straight(%3, %0) over "n" : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %4 : tensor<?x8xf32>
}
func.func @step.rows_5_512(%h: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %0 = heddle.launch @norm_2(%h, %w) over "n" : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  // Items of one kernel run over one dimension.
  %1 = heddle.launch @wanted(%0, %w) over "m" : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}

// CHECK:       heddle.kernel @norm family
// CHECK-NOT:   heddle.kernel @norm_
heddle.kernel @norm family <rows> target "cpu" {
^bb0(%x: tensor<?x8xf32>, %w: tensor<8xf32>):
  %0 = heddle.rms_norm %x, %w : tensor<?x8xf32>, tensor<8xf32> loc("blk.0")
  heddle.yield %0 : tensor<?x8xf32>
}
heddle.kernel @norm_1 family <rows> target "cpu" {
^bb0(%x: tensor<?x8xf32>, %w: tensor<8xf32>):
  %0 = heddle.rms_norm %x, %w : tensor<?x8xf32>, tensor<8xf32> loc("blk.1")
  heddle.yield %0 : tensor<?x8xf32>
}
heddle.kernel @norm_2 family <rows> target "cpu" {
^bb0(%x: tensor<?x8xf32>, %w: tensor<8xf32>):
  %0 = heddle.rms_norm %x, %w : tensor<?x8xf32>, tensor<8xf32>
  heddle.yield %0 : tensor<?x8xf32>
}
// CHECK:       heddle.kernel @wanted family
heddle.kernel @wanted family <rows> target "cpu" {
^bb0(%x: tensor<?x8xf32>, %w: tensor<8xf32>):
  %0 = heddle.rms_norm %x, %w : tensor<?x8xf32>, tensor<8xf32>
  heddle.yield %0 : tensor<?x8xf32>
}
// An attribute makes a difference, and so does which operand is which.
// CHECK:       heddle.kernel @other_epsilon family
heddle.kernel @other_epsilon family <rows> target "cpu" {
^bb0(%x: tensor<?x8xf32>, %w: tensor<8xf32>):
  %0 = heddle.rms_norm %x, %w {epsilon = 1.0e-6 : f32} : tensor<?x8xf32>, tensor<8xf32>
  heddle.yield %0 : tensor<?x8xf32>
}
// CHECK:       heddle.kernel @straight family
heddle.kernel @straight family <rows> target "cpu" {
^bb0(%a: tensor<?x8xf32>, %b: tensor<?x8xf32>):
  %0 = heddle.binary <sub> %a, %b : tensor<?x8xf32>
  heddle.yield %0 : tensor<?x8xf32>
}
// CHECK:       heddle.kernel @swapped family
heddle.kernel @swapped family <rows> target "cpu" {
^bb0(%a: tensor<?x8xf32>, %b: tensor<?x8xf32>):
  %0 = heddle.binary <sub> %b, %a : tensor<?x8xf32>
  heddle.yield %0 : tensor<?x8xf32>
}
