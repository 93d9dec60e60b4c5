// RUN: heddle-opt %s --pass-pipeline='builtin.module(heddle-choose-precision{target=npu:mobile},heddle-fuse-for-target{target=npu:mobile})' | FileCheck %s
// RUN: heddle-opt %s --pass-pipeline='builtin.module(heddle-choose-precision{target=cpu},heddle-fuse-for-target{target=cpu})' | FileCheck %s --check-prefix=CPU

heddle.param @up : !heddle.stored<256x64xf32, #heddle.enc<int8>> file 0 at 0
heddle.param @down : !heddle.stored<64x256xf32, #heddle.enc<int8>> file 0 at 16896
heddle.param @weight : tensor<64xf32> file 0 at 567552
heddle.param @wide : !heddle.stored<64x8192xf32, #heddle.enc<int8>> file 0 at 33408

// Rows stay on the chip from one product to the next; codes of what products make have a scale for each 128
// columns. A target without a scratchpad has a kernel for each product.
// CHECK-LABEL: func.func @feed_forward(
// CHECK:         heddle.launch @[[ALL:products_2[a-z_0-9]*]](
// CHECK-NOT:     heddle.launch
// CHECK:         return
// CPU-LABEL:   func.func @feed_forward(
// CPU-COUNT-4:   heddle.launch
func.func @feed_forward(%x: tensor<?x64xf32> {heddle.dims = [#heddle.dim<"n", 1 to 128>]}) -> tensor<?x64xf32> {
  %up = heddle.get_param @up : !heddle.stored<256x64xf32, #heddle.enc<int8>>
  %down = heddle.get_param @down : !heddle.stored<64x256xf32, #heddle.enc<int8>>
  %weight = heddle.get_param @weight : tensor<64xf32>
  %h = heddle.linear %x, %up : tensor<?x64xf32>, !heddle.stored<256x64xf32, #heddle.enc<int8>> -> tensor<?x256xf32>
  %g = heddle.unary <gelu_erf> %h : tensor<?x256xf32>
  %y = heddle.linear %g, %down : tensor<?x256xf32>, !heddle.stored<64x256xf32, #heddle.enc<int8>> -> tensor<?x64xf32>
  %z = heddle.binary <add> %y, %x : tensor<?x64xf32>
  %n = heddle.rms_norm %z, %weight : tensor<?x64xf32>, tensor<64xf32>
  return %n : tensor<?x64xf32>
}

// 64 rows of 8192 columns do not fit the chip between two kernels.
// CHECK-LABEL: func.func @too_wide(
// CHECK:         heddle.launch
// CHECK:         heddle.launch
// CHECK:         return
func.func @too_wide(%x: tensor<?x8192xf32> {heddle.dims = [#heddle.dim<"n", 1 to 128>]}) -> tensor<?x64xf32> {
  %wide = heddle.get_param @wide : !heddle.stored<64x8192xf32, #heddle.enc<int8>>
  %y = heddle.linear %x, %wide : tensor<?x8192xf32>, !heddle.stored<64x8192xf32, #heddle.enc<int8>> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK:      heddle.kernel @[[ALL]] family <rows> target "npu:mobile"
// CHECK:        heddle.quantize {{.*}}act_i8_row
// CHECK:        heddle.linear
// CHECK:        heddle.quantize {{.*}}act_i8_128
// CHECK:        heddle.linear
// CHECK:        heddle.rms_norm
