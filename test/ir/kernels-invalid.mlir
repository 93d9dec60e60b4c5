// RUN: heddle-opt %s -split-input-file -verify-diagnostics

// expected-error @below {{expected kernel 'k' to end in 'heddle.yield'}}
heddle.kernel @k family <rows> target "cpu" {
^bb0(%x: tensor<?x8xf32>):
  llvm.unreachable
}

// -----

func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @below {{expected kernel 'k' to exist in the module}}
  %0 = heddle.launch @k(%x) over "n" : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

heddle.kernel @k family <rows> target "cpu" {
^bb0(%x: tensor<?x8xf32>):
  heddle.yield %x : tensor<?x8xf32>
}
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error @below {{expected operands of kernel 'k' to have its argument types}}
  %0 = heddle.launch @k(%x) over "n" : (tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

heddle.kernel @k family <rows> target "cpu" {
^bb0(%x: tensor<?x8xf32>):
  heddle.yield %x : tensor<?x8xf32>
}
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @below {{expected results of kernel 'k' to have the types that it yields}}
  %0 = heddle.launch @k(%x) over "n" : (tensor<?x8xf32>) -> tensor<?x4xf32>
  return
}

// -----

heddle.kernel @k family <rows> target "cpu" {
^bb0(%x: tensor<?x8xf32>):
  heddle.yield %x : tensor<?x8xf32>
}
func.func @f(%x: tensor<?x8xf32>) {
  // expected-error @below {{expected 'arena' to have an offset for each of 1 results, but found 2}}
  %0 = heddle.launch @k(%x) over "n" arena [0, 64] : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}
