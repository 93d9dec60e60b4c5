// RUN: heddle-opt %s -split-input-file -verify-diagnostics

func.func @gate_of_another_width(%x: tensor<?x32xf32>, %w: tensor<4x16xf32>) {
  // expected-error @below {{expected 'weight' to have 32 columns to match 'input', but found 16}}
  %0 = heddle.head_gate %x, %w : tensor<?x32xf32>, tensor<4x16xf32> -> !heddle.selection<heads, ?x4>
  return
}

// -----

func.func @bias_of_fewer_heads(%x: tensor<?x32xf32>, %w: tensor<4x32xf32>, %b: tensor<3xf32>) {
  // expected-error @below {{expected 'bias' to have 4 elements, one for each head, but found 3}}
  %0 = heddle.head_gate %x, %w bias %b : tensor<?x32xf32>, tensor<4x32xf32>, tensor<3xf32> -> !heddle.selection<heads, ?x4>
  return
}

// -----

func.func @gate_selects_tokens(%x: tensor<?x32xf32>, %w: tensor<4x32xf32>) {
  // expected-error @below {{expected a selection of 4 heads with the rows of the other operands and results, but found '!heddle.selection<tokens, ?x16>'}}
  %0 = heddle.head_gate %x, %w : tensor<?x32xf32>, tensor<4x32xf32> -> !heddle.selection<tokens, ?x16>
  return
}

// -----

func.func @skip_of_another_shape(%x: tensor<?x4x16xf32>, %h: !heddle.selection<heads, ?x4>, %s: tensor<4x8xf32>) {
  // expected-error @below {{expected 'skip' to be [4, 16], but found 'tensor<4x8xf32>'}}
  %0 = heddle.mask_heads %x by %h skip %s : tensor<?x4x16xf32>, !heddle.selection<heads, ?x4>, tensor<4x8xf32>
  return
}

// -----

func.func @mask_of_fewer_heads(%x: tensor<?x4x16xf32>, %h: !heddle.selection<heads, ?x3>) {
  // expected-error @below {{expected a selection of 4 heads with the rows of the other operands and results, but found '!heddle.selection<heads, ?x3>'}}
  %0 = heddle.mask_heads %x by %h : tensor<?x4x16xf32>, !heddle.selection<heads, ?x3>
  return
}

// -----

func.func @sum_of_another_width(%t: tensor<4x32xf32>, %h: !heddle.selection<heads, ?x4>) {
  // expected-error @below {{expected 'result' to have the 32 columns of 'table', but found 'tensor<?x16xf32>'}}
  %0 = heddle.skipped_sum %t by %h : tensor<4x32xf32>, !heddle.selection<heads, ?x4> -> tensor<?x16xf32>
  return
}

// -----

func.func @blocks_of_another_width(%x: tensor<4x16xf32>) {
  // expected-error @below {{expected a static [H, D] to become [H, H * D], but found 'tensor<4x16xf32>' and 'tensor<4x32xf32>'}}
  %0 = heddle.block_diagonal %x : tensor<4x16xf32> -> tensor<4x32xf32>
  return
}

// -----

func.func @heads_that_do_not_divide(%x: tensor<?x32xf32>, %w: !heddle.stored<64x32xf32, #heddle.enc<f16>>, %h: !heddle.selection<heads, ?x5>) {
  // expected-error @below {{expected a selection of heads that share the 64 results of each row evenly, but found '!heddle.selection<heads, ?x5>'}}
  %0 = heddle.linear %x, %w select <results>(%h : !heddle.selection<heads, ?x5>) : tensor<?x32xf32>, !heddle.stored<64x32xf32, #heddle.enc<f16>> -> tensor<?x64xf32>
  return
}

// -----

func.func @parts_of_unequal_size(%x: tensor<6x4xf32>) {
  // expected-error @below {{expected 'keep' to cut the 6 elements of axis 0 into equal parts, but found 4 entries}}
  %0 = heddle.keep_parts %x axis 0 keep [true, true, false, true] : tensor<6x4xf32> -> tensor<4x4xf32>
  return
}

// -----

func.func @parts_of_blocks(%x: !heddle.stored<4x64xf32, #heddle.enc<q8_0>>) {
  // expected-error @below {{expected the innermost dimension to be a multiple of the 32 elements}}
  %0 = heddle.keep_parts %x axis 1 keep [true, false, false, false] : !heddle.stored<4x64xf32, #heddle.enc<q8_0>> -> !heddle.stored<4x32xf32, #heddle.enc<q8_0>>
  return
}

// -----

func.func @too_many_parts(%x: tensor<6x4xf32>) {
  // expected-error @below {{expected 'result' to be 'tensor<4x4xf32>', but found 'tensor<6x4xf32>'}}
  %0 = heddle.keep_parts %x axis 0 keep [true, false, true] : tensor<6x4xf32> -> tensor<6x4xf32>
  return
}
