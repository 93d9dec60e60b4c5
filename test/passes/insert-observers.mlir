// RUN: heddle-opt %s -heddle-insert-observers=observe=linear,attention -split-input-file | FileCheck %s
// RUN: heddle-opt %s -heddle-insert-observers=observe=linear -split-input-file | FileCheck %s --check-prefix=LINEAR
// RUN: not heddle-opt %s -heddle-insert-observers=observe=norms -split-input-file 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: unknown observation 'norms'; expected linear or attention

heddle.param @q : !heddle.stored<32x32xf32, #heddle.enc<f32>> file 0 at 0
heddle.param @norm : tensor<32xf32> file 0 at 0

// Readers of one value share a result; an argument is not returned.
// CHECK-LABEL: func.func @shared(
// CHECK-SAME:    -> (tensor<?x32xf32> {heddle.name = "y"}, tensor<?x32xf32> {heddle.name = "observe.input:first,second"})
// CHECK:         %[[N:.*]] = heddle.rms_norm
// CHECK:         %[[SUM:.*]] = heddle.binary <add>
// CHECK:         return %[[SUM]], %[[N]] : tensor<?x32xf32>, tensor<?x32xf32>
func.func @shared(%x: tensor<?x32xf32>) -> (tensor<?x32xf32> {heddle.name = "y"}) attributes {heddle.entry = "shared"} {
  %w = heddle.get_param @q : !heddle.stored<32x32xf32, #heddle.enc<f32>>
  %g = heddle.get_param @norm : tensor<32xf32>
  %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<32x32xf32, #heddle.enc<f32>> -> tensor<?x32xf32> loc("of_argument")
  %n = heddle.rms_norm %0, %g : tensor<?x32xf32>, tensor<32xf32>
  %1 = heddle.linear %n, %w : tensor<?x32xf32>, !heddle.stored<32x32xf32, #heddle.enc<f32>> -> tensor<?x32xf32> loc("first")
  %2 = heddle.linear %n, %w : tensor<?x32xf32>, !heddle.stored<32x32xf32, #heddle.enc<f32>> -> tensor<?x32xf32> loc("second")
  %3 = heddle.binary <add> %1, %2 : tensor<?x32xf32>
  return %3 : tensor<?x32xf32>
}

// Not an entry: nobody could ask for the results.
// CHECK-LABEL: func.func @helper(
// CHECK-SAME:    -> tensor<?x32xf32>
func.func @helper(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %w = heddle.get_param @q : !heddle.stored<32x32xf32, #heddle.enc<f32>>
  %g = heddle.get_param @norm : tensor<32xf32>
  %n = heddle.rms_norm %x, %g : tensor<?x32xf32>, tensor<32xf32>
  %1 = heddle.linear %n, %w : tensor<?x32xf32>, !heddle.stored<32x32xf32, #heddle.enc<f32>> -> tensor<?x32xf32>
  return %1 : tensor<?x32xf32>
}

// -----

heddle.param @o : !heddle.stored<32x32xf32, #heddle.enc<f32>> file 0 at 0

// Attention is seen with its heads joined, which is also what the product after it reads.
// CHECK-LABEL: func.func @attends(
// CHECK-SAME:    tensor<?x32xf32> {heddle.name = "observe.attention:attn;input:attn_output"})
// CHECK:         %[[J:.*]] = heddle.reshape
// CHECK:         return %{{.*}}, %[[J]] :
// LINEAR-LABEL: func.func @attends(
// LINEAR-SAME:    {heddle.name = "observe.input:attn_output"})
func.func @attends(%q: tensor<?x2x16xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x2x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>)
    -> tensor<?x32xf32> attributes {heddle.entry = "attends"} {
  %w = heddle.get_param @o : !heddle.stored<32x32xf32, #heddle.enc<f32>>
  %o = heddle.attention %q keys %k values %v at %s, %p {scale = 2.500000e-01 : f32} score {
  ^bb0(%score: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    heddle.yield %score : f32
  } mask {
  } : tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x2x16xf32> loc("attn")
  %j = heddle.reshape %o : tensor<?x2x16xf32> -> tensor<?x32xf32>
  %y = heddle.linear %j, %w : tensor<?x32xf32>, !heddle.stored<32x32xf32, #heddle.enc<f32>> -> tensor<?x32xf32> loc("attn_output")
  return %y : tensor<?x32xf32>
}
