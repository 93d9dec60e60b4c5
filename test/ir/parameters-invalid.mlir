// RUN: heddle-opt %s -split-input-file -verify-diagnostics

// expected-error @below {{expected parameter 'w' to have one origin ('file', 'value' or a recipe), but found 0}}
heddle.param @w : tensor<4xf32>

// -----

// expected-error @below {{expected parameter 'w' to have one origin ('file', 'value' or a recipe), but found 2}}
heddle.param @w : tensor<4xf32> file 0 at 0 value dense<1.0> : tensor<4xf32>

// -----

// expected-error @below {{expected parameter 'w' with 'derived' to have a recipe}}
heddle.param @w : tensor<4xf32> file 0 at 0 derived [@v]

// -----

// expected-error @below {{expected parameter 'w' to name a file and an offset of at least 0, but found file 0 at -8}}
heddle.param @w : tensor<4xf32> file 0 at -8

// -----

// expected-error @below {{expected the value of parameter 'w' to have type 'tensor<4xf32>', but found 'tensor<3xf32>'}}
heddle.param @w : tensor<4xf32> value dense<1.0> : tensor<3xf32>

// -----

// expected-error @below {{expected the recipe of parameter 'w' to have one block}}
heddle.param @w : tensor<4xf32> derived [] {
  cf.br ^bb1
^bb1:
  %0 = arith.constant dense<1.0> : tensor<4xf32>
  heddle.yield %0 : tensor<4xf32>
}

// -----

// expected-error @below {{expected the recipe of parameter 'w' to take its 1 source parameters, but found 0 arguments}}
heddle.param @w : tensor<16x8xf32> derived [@v] {
  %0 = heddle.rope_table {base = 1.0e4 : f64} -> tensor<16x8xf32>
  heddle.yield %0 : tensor<16x8xf32>
}

// -----

// expected-error @below {{expected the recipe of parameter 'w' to yield one value of type 'tensor<16x4xf32>'}}
heddle.param @w : tensor<16x4xf32> derived [] {
  %0 = heddle.rope_table {base = 1.0e4 : f64} -> tensor<16x8xf32>
  heddle.yield %0 : tensor<16x8xf32>
}

// -----

func.func @f() {
  // expected-error @below {{expected parameter 'w' to exist in the module}}
  %0 = heddle.get_param @w : tensor<4xf32>
  return
}

// -----

heddle.param @w : tensor<4xf32> file 0 at 0
func.func @f() {
  // expected-error @below {{expected the type of parameter 'w', 'tensor<4xf32>', but found 'tensor<3xf32>'}}
  %0 = heddle.get_param @w : tensor<3xf32>
  return
}

// -----

func.func @f() {
  // expected-error @below {{expected cache 'kv' to exist in the module}}
  %0 = heddle.get_cache @kv : !heddle.kv_cache<2x16x16xf16>
  return
}

// -----

heddle.cache @kv : !heddle.kv_cache<2x16x16xf16>
func.func @f() {
  // expected-error @below {{expected the type of cache 'kv', '!heddle.kv_cache<2x16x16xf16>', but found '!heddle.kv_cache<2x16x8xf16>'}}
  %0 = heddle.get_cache @kv : !heddle.kv_cache<2x16x8xf16>
  return
}

// -----

func.func @f(%w: !heddle.stored<32x32xf32, #heddle.enc<q8_0>>) {
  // expected-error @below {{expected shape and format to stay '!heddle.stored<32x32xf32, #heddle.enc<q8_0>>', but found '!heddle.stored<32x32xf32, #heddle.enc<q4_0, w16>>'}}
  %0 = heddle.pack %w : !heddle.stored<32x32xf32, #heddle.enc<q8_0>> -> !heddle.stored<32x32xf32, #heddle.enc<q4_0, w16>>
  return
}

// -----

func.func @f() {
  // expected-error @below {{expected a static table with an even number of columns, but found 'tensor<16x7xf32>'}}
  %0 = heddle.rope_table {base = 1.0e4 : f64} -> tensor<16x7xf32>
  return
}

// -----

func.func @f(%factors: tensor<3xf32>) {
  // expected-error @below {{expected 'factors' to have 4 elements, half the columns of the table, but found 3}}
  %0 = heddle.rope_table %factors : tensor<3xf32> {base = 1.0e4 : f64} -> tensor<16x8xf32>
  return
}

// -----

// expected-error @below {{expected parameter 'w' not to derive from itself, but 'w' leads back to it}}
heddle.param @w : tensor<4xf32> derived [@w] {
^bb0(%w: tensor<4xf32>):
  heddle.yield %w : tensor<4xf32>
}
func.func @reads_itself() {
  %0 = heddle.get_param @w : tensor<4xf32>
  return
}

// -----

heddle.param @v : tensor<4xf32> derived [@w] {
^bb0(%w: tensor<4xf32>):
  heddle.yield %w : tensor<4xf32>
}
// expected-error @below {{expected parameter 'v' not to derive from itself, but 'w' leads back to it}}
heddle.param @w : tensor<4xf32> derived [@v] {
^bb0(%v: tensor<4xf32>):
  heddle.yield %v : tensor<4xf32>
}
func.func @reads_a_cycle() {
  %0 = heddle.get_param @v : tensor<4xf32>
  return
}

// -----

// expected-error @below {{expected parameter 'v' to exist in the module}}
heddle.param @w : tensor<4xf32> derived [@v] {
^bb0(%v: tensor<4xf32>):
  heddle.yield %v : tensor<4xf32>
}
func.func @source_is_missing() {
  %0 = heddle.get_param @w : tensor<4xf32>
  return
}

// -----

heddle.param @v : tensor<8xf32> file 0 at 0
// expected-error @below {{expected the type of parameter 'v', 'tensor<8xf32>', but found 'tensor<4xf32>'}}
heddle.param @w : tensor<4xf32> derived [@v] {
^bb0(%v: tensor<4xf32>):
  heddle.yield %v : tensor<4xf32>
}
func.func @source_has_another_type() {
  %0 = heddle.get_param @w : tensor<4xf32>
  return
}

// -----

// Two ways to one source are no cycle.
heddle.param @base : tensor<4xf32> file 0 at 0
heddle.param @left : tensor<4xf32> derived [@base] {
^bb0(%base: tensor<4xf32>):
  heddle.yield %base : tensor<4xf32>
}
heddle.param @both : tensor<4xf32> derived [@left, @base] {
^bb0(%left: tensor<4xf32>, %base: tensor<4xf32>):
  heddle.yield %left : tensor<4xf32>
}
func.func @reads_both() {
  %0 = heddle.get_param @both : tensor<4xf32>
  return
}

// -----

func.func @f(%w: !heddle.stored<32x32xf32, #heddle.enc<f32>>) {
  // expected-error @below {{unknown scheme 'int3'; known schemes: int4-channel}}
  %0 = heddle.quantize_weights %w {scheme = "int3"} : !heddle.stored<32x32xf32, #heddle.enc<f32>> -> !heddle.stored<32x32xf32, #heddle.enc<q4_0>>
  return
}

// -----

func.func @f(%w: !heddle.stored<32x32xf32, #heddle.enc<f32>>) {
  // expected-error @below {{expected scheme 'int4' to give '!heddle.stored<32x32xf32, #heddle.enc<q4_0>>', but found '!heddle.stored<32x32xf32, #heddle.enc<q4_1>>'}}
  %0 = heddle.quantize_weights %w {scheme = "int4"} : !heddle.stored<32x32xf32, #heddle.enc<f32>> -> !heddle.stored<32x32xf32, #heddle.enc<q4_1>>
  return
}
