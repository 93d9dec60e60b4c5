// RUN: heddle-opt %s -heddle-plan-memory -split-input-file -verify-diagnostics

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

// -----

heddle.kernel @wide family <rows> target "cpu" {
^bb0(%x: tensor<?x1099511627776xf32>):
  %0 = heddle.unary <silu> %x : tensor<?x1099511627776xf32>
  heddle.yield %0 : tensor<?x1099511627776xf32>
}
func.func @too_large(%x: tensor<?x1099511627776xf32> {heddle.dims = [#heddle.dim<"n", 1 to 512>]}) -> tensor<?x1099511627776xf32> {
  // expected-error @below {{expected results of all launches to take fewer than 2^48 bytes, but 'tensor<?x1099511627776xf32>' at 512 rows passes that}}
  %0 = heddle.launch @wide(%x) over "n" : (tensor<?x1099511627776xf32>) -> tensor<?x1099511627776xf32>
  %1 = heddle.launch @wide(%0) over "n" : (tensor<?x1099511627776xf32>) -> tensor<?x1099511627776xf32>
  return %1 : tensor<?x1099511627776xf32>
}
