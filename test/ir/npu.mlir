// RUN: heddle-opt %s -split-input-file -verify-diagnostics | heddle-opt -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: npu.function @all operands 2 {
// CHECK-NEXT:    npu.set min rd = 10, a = r2, b = 64
// CHECK-NEXT:    npu.loop count = r10
// CHECK-NEXT:    npu.dma_load chip = r11 + 64, dram = r8, n0 = 64, n1 = 1, n2 = 1
// CHECK-NEXT:    npu.signal dma units = 1
// CHECK-NEXT:    npu.wait vector units = 1
// CHECK-NEXT:    npu.matmul [accumulate] [transposed] acc = 2147483648, acc_stride = 128, m = 1, k = 32, n = 16
// CHECK-NEXT:    npu.vec_binary mul <s8, s32, s32> [b_per_row] dst = 64, a = 128, b = 192, rows = 1, cols = 16, shift = 32
// CHECK-NEXT:    npu.end_loop
// CHECK-NEXT:  }
npu.function @all operands 2 {
  npu.set min rd = 10, a = r2, b = 64
  npu.loop count = r10
  npu.dma_load chip = r11 + 64, dram = r8, n0 = 64, n1 = 1, n2 = 1
  npu.signal dma units = 1
  npu.wait vector units = 1
  npu.matmul [accumulate] [transposed] acc = 2147483648, acc_stride = 128, m = 1, k = 32, n = 16
  npu.vec_binary mul <s8, s32, s32> [b_per_row] dst = 64, a = 128, b = 192, rows = 1, cols = 16, shift = 32
  npu.end_loop
}

// -----

npu.function @shift operands 0 {
  // expected-error @below {{expected field 'shift' to be from 0 to 62, but found 63}}
  npu.vec_function exp <s32> rows = 1, cols = 1, shift = 63
}

// -----

npu.function @semaphore operands 0 {
  // expected-error @below {{expected field 'semaphore' to be an immediate}}
  npu.signal dma semaphore = r9, units = 1
}

// -----

// expected-error @below {{expected an 'end_loop' for each 'loop', but 1 are missing}}
npu.function @open operands 0 {
  npu.loop count = 3
}
