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

// -----

heddle.kernel @append family <rows> target "cpu" {
^bb0(%c: !heddle.kv_cache<4x4x4xf16>, %k: tensor<?x4x4xf32>, %p: tensor<?xi32>):
  heddle.cache_append %c, %k, %k at %p, %p : !heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?x4x4xf32>, tensor<?xi32>, tensor<?xi32>
  heddle.yield
}
// expected-error @below {{expected caches to come from 'heddle.get_cache', but found argument 0}}
func.func @cache_argument(%c: !heddle.kv_cache<4x4x4xf16>, %k: tensor<?x4x4xf32> {heddle.dims = [#heddle.dim<"n", 1 to 4>]},
                          %p: tensor<?xi32> {heddle.dims = [#heddle.dim<"n", 1 to 4>]}) {
  heddle.launch @append(%c, %k, %p) over "n" : (!heddle.kv_cache<4x4x4xf16>, tensor<?x4x4xf32>, tensor<?xi32>) -> ()
  return
}
