// RUN: heddle-opt %s -heddle-plan-memory -verify-diagnostics

heddle.kernel @unary family <rows> target "cpu" {
^bb0(%x: tensor<?x16xf32>):
  %0 = heddle.unary <silu> %x : tensor<?x16xf32>
  heddle.yield %0 : tensor<?x16xf32>
}
func.func @unknown_rows(%x: tensor<?x16xf32> {heddle.dims = [#heddle.dim<"n", 1 to 4>]}) -> tensor<?x16xf32> {
  // expected-error @below {{expected to run over a dimension of the function's arguments, but found 'k'}}
  %0 = heddle.launch @unary(%x) over "k" : (tensor<?x16xf32>) -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}
