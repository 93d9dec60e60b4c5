// An op of the example plug-in, as an executable example. test_plugin.py runs it.
module {
  func.func @between(%a: tensor<?x4xf32> {heddle.dims = [#heddle.dim<"n", 1 to 8>]}, %b: tensor<?x4xf32> {heddle.dims = [#heddle.dim<"n", 1 to 8>]})
      -> tensor<?x4xf32> attributes {heddle.example = [{inputs = [dense<[[0.0, 1.0, -2.0, 8.0]]> : tensor<1x4xf32>, dense<[[4.0, 1.0, 2.0, 0.0]]> : tensor<1x4xf32>],
                                                        expected = [dense<[[1.0, 1.0, 0.0, 6.0]]> : tensor<1x4xf32>]}]} {
    %0 = example.lerp %a, %b by 2.500000e-01 : tensor<?x4xf32>
    %1 = heddle.unary <relu> %0 : tensor<?x4xf32>
    %2 = heddle.unary <relu> %1 : tensor<?x4xf32>
    return %2 : tensor<?x4xf32>
  }
}
