// RUN: heddle-opt %s -heddle-choose-precision=target=npu:mobile | FileCheck %s

// A value that is used twice at each step is looked at once: by paths there are 2^40 of them.
// CHECK: heddle.quantize %{{.*}}act_i8_row
heddle.param @w : !heddle.stored<128x128xf32, #heddle.enc<int8>> file 0 at 0
func.func @shared(%v0: tensor<?x128xf32>) -> tensor<?x128xf32> {
  %v1 = heddle.binary <add> %v0, %v0 : tensor<?x128xf32>
  %v2 = heddle.binary <add> %v1, %v1 : tensor<?x128xf32>
  %v3 = heddle.binary <add> %v2, %v2 : tensor<?x128xf32>
  %v4 = heddle.binary <add> %v3, %v3 : tensor<?x128xf32>
  %v5 = heddle.binary <add> %v4, %v4 : tensor<?x128xf32>
  %v6 = heddle.binary <add> %v5, %v5 : tensor<?x128xf32>
  %v7 = heddle.binary <add> %v6, %v6 : tensor<?x128xf32>
  %v8 = heddle.binary <add> %v7, %v7 : tensor<?x128xf32>
  %v9 = heddle.binary <add> %v8, %v8 : tensor<?x128xf32>
  %v10 = heddle.binary <add> %v9, %v9 : tensor<?x128xf32>
  %v11 = heddle.binary <add> %v10, %v10 : tensor<?x128xf32>
  %v12 = heddle.binary <add> %v11, %v11 : tensor<?x128xf32>
  %v13 = heddle.binary <add> %v12, %v12 : tensor<?x128xf32>
  %v14 = heddle.binary <add> %v13, %v13 : tensor<?x128xf32>
  %v15 = heddle.binary <add> %v14, %v14 : tensor<?x128xf32>
  %v16 = heddle.binary <add> %v15, %v15 : tensor<?x128xf32>
  %v17 = heddle.binary <add> %v16, %v16 : tensor<?x128xf32>
  %v18 = heddle.binary <add> %v17, %v17 : tensor<?x128xf32>
  %v19 = heddle.binary <add> %v18, %v18 : tensor<?x128xf32>
  %v20 = heddle.binary <add> %v19, %v19 : tensor<?x128xf32>
  %v21 = heddle.binary <add> %v20, %v20 : tensor<?x128xf32>
  %v22 = heddle.binary <add> %v21, %v21 : tensor<?x128xf32>
  %v23 = heddle.binary <add> %v22, %v22 : tensor<?x128xf32>
  %v24 = heddle.binary <add> %v23, %v23 : tensor<?x128xf32>
  %v25 = heddle.binary <add> %v24, %v24 : tensor<?x128xf32>
  %v26 = heddle.binary <add> %v25, %v25 : tensor<?x128xf32>
  %v27 = heddle.binary <add> %v26, %v26 : tensor<?x128xf32>
  %v28 = heddle.binary <add> %v27, %v27 : tensor<?x128xf32>
  %v29 = heddle.binary <add> %v28, %v28 : tensor<?x128xf32>
  %v30 = heddle.binary <add> %v29, %v29 : tensor<?x128xf32>
  %v31 = heddle.binary <add> %v30, %v30 : tensor<?x128xf32>
  %v32 = heddle.binary <add> %v31, %v31 : tensor<?x128xf32>
  %v33 = heddle.binary <add> %v32, %v32 : tensor<?x128xf32>
  %v34 = heddle.binary <add> %v33, %v33 : tensor<?x128xf32>
  %v35 = heddle.binary <add> %v34, %v34 : tensor<?x128xf32>
  %v36 = heddle.binary <add> %v35, %v35 : tensor<?x128xf32>
  %v37 = heddle.binary <add> %v36, %v36 : tensor<?x128xf32>
  %v38 = heddle.binary <add> %v37, %v37 : tensor<?x128xf32>
  %v39 = heddle.binary <add> %v38, %v38 : tensor<?x128xf32>
  %v40 = heddle.binary <add> %v39, %v39 : tensor<?x128xf32>
  %w = heddle.get_param @w : !heddle.stored<128x128xf32, #heddle.enc<int8>>
  %y = heddle.linear %v40, %w : tensor<?x128xf32>, !heddle.stored<128x128xf32, #heddle.enc<int8>> -> tensor<?x128xf32>
  return %y : tensor<?x128xf32>
}
