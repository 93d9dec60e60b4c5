// RUN: not heddle-opt %s -heddle-apply-attention="variant=causual" 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not heddle-opt %s -heddle-apply-attention="variant=window parameters=width=3" 2>&1 | FileCheck %s --check-prefix=PARAMETER
// RUN: not heddle-opt %s -heddle-apply-attention="variant=window parameters=size=few" 2>&1 | FileCheck %s --check-prefix=NUMBER
// RUN: not heddle-opt %s -heddle-apply-attention="variant=window parameters=size=0" 2>&1 | FileCheck %s --check-prefix=VALUE
// RUN: not heddle-opt %s -heddle-apply-attention="variant=causal nodes=blk.*" 2>&1 | FileCheck %s --check-prefix=NODES
// NAME: unknown attention 'causual'; known variants: causal, window, alibi
// PARAMETER: unknown parameter 'width' of attention 'window'; known parameters: size
// NUMBER: expected parameter 'size' of attention 'window' to be a number, but found 'few'
// VALUE: attention 'window': expected 'size' to be at least 1
// NODES: expected an attention whose source node matches 'blk.*', but found none
module {}
