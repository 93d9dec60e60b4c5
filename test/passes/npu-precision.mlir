// RUN: heddle-opt %s --pass-pipeline='builtin.module(heddle-choose-precision{target=npu:mobile},heddle-pack-parameters{target=npu:mobile})' | FileCheck %s
// RUN: heddle-opt %s --pass-pipeline='builtin.module(heddle-choose-precision{target=npu:edge},heddle-pack-parameters{target=npu:edge})' | FileCheck %s --check-prefix=EDGE
// RUN: not heddle-opt %s --pass-pipeline='builtin.module(heddle-choose-precision{target=npu})' 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// UNKNOWN: unknown target 'npu'; known targets: cpu, cuda, npu:edge, npu:mobile

// A table that is a head too has a layout for each.
// CHECK-DAG: heddle.param @w.panel32 : !heddle.stored<64x32xf32, #heddle.enc<int8, panel32>> derived [@w]
// CHECK-DAG: heddle.param @w.gather : !heddle.stored<64x32xf32, #heddle.enc<int8, gather>> derived [@w]
// EDGE-DAG:  heddle.param @w.panel16 : !heddle.stored<64x32xf32, #heddle.enc<int8, panel16>> derived [@w]
heddle.param @w : !heddle.stored<64x32xf32, #heddle.enc<int8>> file 0 at 0

// The array's codes share one scale a row, however few rows there are.
// CHECK-LABEL: func.func @tied(
// CHECK:         heddle.embedding {{.*}}gather
// CHECK:         %[[Q:.*]] = heddle.quantize {{.*}}act_i8_row
// CHECK:         heddle.linear %[[Q]]
func.func @tied(%tokens: tensor<?xi32>) -> tensor<?x64xf32> attributes {heddle.rows = array<i64: 1, 4>} {
  %w = heddle.get_param @w : !heddle.stored<64x32xf32, #heddle.enc<int8>>
  %x = heddle.embedding %w, %tokens : !heddle.stored<64x32xf32, #heddle.enc<int8>>, tensor<?xi32> -> tensor<?x32xf32>
  %y = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<int8>> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
