// RUN: heddle-opt %s -heddle-expand-math | FileCheck %s

// CHECK-LABEL: func.func @exp_of_vector(
// CHECK-SAME:    %[[X:.*]]: vector<16xf32>
// CHECK-NOT:     math.exp
// CHECK:         %[[ABOVE:.*]] = arith.cmpf olt, %{{.*}}, %[[X]] : vector<16xf32>
// CHECK:         arith.select %[[ABOVE]], %{{.*}}, %[[X]]
// CHECK:         math.fma %{{.*}} : vector<16xf32>
// CHECK:         %[[P:.*]] = arith.mulf
// CHECK:         %[[R:.*]] = arith.mulf %[[P]]
// CHECK:         return %[[R]]
func.func @exp_of_vector(%x: vector<16xf32>) -> vector<16xf32> {
  %0 = math.exp %x : vector<16xf32>
  return %0 : vector<16xf32>
}

// CHECK-LABEL: func.func @tanh_of_scalar(
// CHECK-NOT:     math.tanh
// CHECK:         %[[Q:.*]] = arith.divf %{{.*}} : f32
// CHECK:         arith.ori
func.func @tanh_of_scalar(%x: f32) -> f32 {
  %0 = math.tanh %x : f32
  return %0 : f32
}

// CHECK-LABEL: func.func @erf_of_vector(
// CHECK-NOT:     math.erf
// CHECK:         arith.select %{{.*}} : vector<8xi1>, vector<8xf32>
func.func @erf_of_vector(%x: vector<8xf32>) -> vector<8xf32> {
  %0 = math.erf %x : vector<8xf32>
  return %0 : vector<8xf32>
}

// Other element types, tensors and functions that are one instruction are not this pass's.
// CHECK-LABEL: func.func @left_alone(
// CHECK:         math.exp %{{.*}} : f64
// CHECK:         math.exp %{{.*}} : tensor<4xf32>
// CHECK:         math.sqrt %{{.*}} : f32
func.func @left_alone(%a: f64, %b: tensor<4xf32>, %c: f32) -> (f64, tensor<4xf32>, f32) {
  %0 = math.exp %a : f64
  %1 = math.exp %b : tensor<4xf32>
  %2 = math.sqrt %c : f32
  return %0, %1, %2 : f64, tensor<4xf32>, f32
}
