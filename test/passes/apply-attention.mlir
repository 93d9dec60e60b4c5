// RUN: heddle-opt %s -heddle-apply-attention="variant=window parameters=size=3" -split-input-file | FileCheck %s
// RUN: heddle-opt %s -heddle-apply-attention="variant=causal nodes=*.1" -split-input-file | FileCheck %s --check-prefix=ONE
// RUN: heddle-opt %s -heddle-apply-attention="variant=alibi parameters=heads=4" -split-input-file | FileCheck %s --check-prefix=ALIBI

// CHECK-LABEL: func.func @attend(
// CHECK:         heddle.attention
// CHECK:           ^bb0(%[[S:.*]]: f32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32):
// CHECK-NEXT:      heddle.yield %[[S]] : f32
// CHECK:         mask
// CHECK:           ^bb0(%{{.*}}: f32, %{{.*}}: i32, %{{.*}}: i32, %[[Q:.*]]: i32, %[[K:.*]]: i32, %{{.*}}: i32):
// CHECK:           %[[D:.*]] = arith.subi %[[Q]], %[[K]]
// CHECK:           %[[THREE:.*]] = arith.constant 3 : i32
// CHECK:           %[[NEAR:.*]] = arith.cmpi slt, %[[D]], %[[THREE]]
// CHECK:           %[[PAST:.*]] = arith.cmpi sle, %[[K]], %[[Q]]
// CHECK:           arith.andi %[[PAST]], %[[NEAR]]
//
// Of two nodes the pattern picks one.
// ONE-LABEL: func.func @attend(
// ONE:         arith.mulf
// ONE:         heddle.attention
// ONE-NOT:     arith.mulf
// ONE:         arith.cmpi sle
//
// ALIBI-LABEL: func.func @attend(
// ALIBI:         %[[NEXT:.*]] = arith.addf
// ALIBI:         %[[RATE:.*]] = arith.constant -1.38629436 : f32
// ALIBI:         %[[X:.*]] = arith.mulf %[[NEXT]], %[[RATE]]
// ALIBI:         math.exp %[[X]]
func.func @attend(%q: tensor<?x2x16xf32>, %k: tensor<?x1x16xf32>, %s: tensor<?xi32>, %p: tensor<?xi32>) -> tensor<?x2x16xf32> {
  %0 = heddle.attention %q keys %k values %k at %s, %p {scale = 0.25 : f32} score {
  ^bb0(%x: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    %y = arith.mulf %x, %x : f32
    heddle.yield %y : f32
  } mask {
  } : tensor<?x2x16xf32>, tensor<?x1x16xf32>, tensor<?x1x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x2x16xf32> loc("blk.0")
  %1 = heddle.attention %0 keys %k values %k at %s, %p {scale = 0.25 : f32} score {
  ^bb0(%x: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
    %y = arith.mulf %x, %x : f32
    heddle.yield %y : f32
  } mask {
  } : tensor<?x2x16xf32>, tensor<?x1x16xf32>, tensor<?x1x16xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x2x16xf32> loc("blk.1")
  return %1 : tensor<?x2x16xf32>
}
