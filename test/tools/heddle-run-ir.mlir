// What heddle-run-ir says about examples that agree, disagree, and cannot be read.

// RUN: split-file %s %t
// RUN: not heddle-run-ir %t/examples.mlir | FileCheck %s
// RUN: heddle-run-ir %t/examples.mlir --function right | FileCheck %s --check-prefix=ONE
// RUN: not heddle-run-ir %t/examples.mlir --function right --target gpu 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not heddle-run-ir %t/examples.mlir --function right --target cpu:z80 2>&1 | FileCheck %s --check-prefix=LEVEL
// RUN: not heddle-run-ir %t/none.mlir 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not heddle-run-ir %t/shape.mlir 2>&1 | FileCheck %s --check-prefix=SHAPE

// CHECK: @right: 2 numbers agree, at most 0.000 of the tolerance
// CHECK: @wrong_number: call 1: constants against f64 arithmetic: result 0 [1]: expected 4, but found 4.25 (tolerance
// CHECK: @wrong_shape_at_run_time: call 0: reference: {{.*}}expected dimension 'n' to be from 1 to 2, but found 3
// ONE: @right
// ONE-NOT: @wrong
// TARGET: unknown target 'gpu'; known targets: interpreter, interpreter:cpu, interpreter:cuda, cpu, cpu:LEVEL, cuda, npu:edge, npu:mobile (on the simulators)
// LEVEL: unknown CPU level 'z80'
// NONE: expected functions with 'heddle.example', but found none to run
// SHAPE: expected constant 0 of 'expected' of 'f' to be tensor<2xf32>, but found 3 numbers

//--- examples.mlir
func.func @right(%x: tensor<2xf32>) -> tensor<2xf32>
    attributes {heddle.example = [{inputs = [dense<[1.0, 2.0]> : tensor<2xf32>], expected = [dense<[2.0, 4.0]> : tensor<2xf32>]}]} {
  %0 = heddle.scale %x by 2.0 : tensor<2xf32>
  return %0 : tensor<2xf32>
}
func.func @wrong_number(%x: tensor<2xf32>) -> tensor<2xf32>
    attributes {heddle.example = [{inputs = [dense<[1.0, 2.0]> : tensor<2xf32>], expected = [dense<[2.0, 4.0]> : tensor<2xf32>]},
                                  {inputs = [dense<[1.0, 2.0]> : tensor<2xf32>], expected = [dense<[2.0, 4.25]> : tensor<2xf32>]}]} {
  %0 = heddle.scale %x by 2.0 : tensor<2xf32>
  return %0 : tensor<2xf32>
}
func.func @wrong_shape_at_run_time(%x: tensor<?xf32> {heddle.dims = [#heddle.dim<"n", 1 to 2>]}) -> tensor<?xf32>
    attributes {heddle.example = [{inputs = [dense<1.0> : tensor<3xf32>], expected = [dense<2.0> : tensor<3xf32>]}]} {
  return %x : tensor<?xf32>
}
//--- none.mlir
func.func @f(%x: tensor<2xf32>) -> tensor<2xf32> {
  return %x : tensor<2xf32>
}
//--- shape.mlir
func.func @f(%x: tensor<2xf32>) -> tensor<2xf32>
    attributes {heddle.example = [{inputs = [dense<1.0> : tensor<2xf32>], expected = [dense<1.0> : tensor<3xf32>]}]} {
  return %x : tensor<2xf32>
}
