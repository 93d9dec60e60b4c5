// RUN: heddle-opt %s -split-input-file -verify-diagnostics

// expected-error @below {{expected stored numbers to have element type 'f32', but found 'f16'}}
func.func private @f(!heddle.stored<32x32xf16, #heddle.enc<q8_0>>)

// -----

// expected-error @below {{expected stored numbers to have rank 1 or 2, but found rank 3}}
func.func private @f(!heddle.stored<2x32x32xf32, #heddle.enc<q8_0>>)

// -----

// expected-error @below {{expected the innermost dimension of stored numbers to be static}}
func.func private @f(!heddle.stored<32x?xf32, #heddle.enc<act_i8>>)

// -----

// expected-error @below {{expected the innermost dimension to be a multiple of the 256 elements of a 'q6_k' block, but found 576}}
func.func private @f(!heddle.stored<32x576xf32, #heddle.enc<q6_k>>)

// -----

// expected-error @below {{expected the innermost dimension to be a multiple of the 32 elements of a 'act_i8' block, but found 48}}
func.func private @f(!heddle.stored<?x48xf32, #heddle.enc<act_i8>>)

// -----

// expected-error @below {{expected a static shape for weights in 'q8_0'}}
func.func private @f(!heddle.stored<?x32xf32, #heddle.enc<q8_0>>)

// -----

// expected-error @below {{expected 'heads x key width x value width x type', but found 2 dimensions}}
func.func private @f(!heddle.kv_cache<2x16xf16>)

// -----

// expected-error @below {{expected heads and widths of a KV cache to be positive, but found 0x16x16}}
func.func private @f(!heddle.kv_cache<0x16x16xf16>)

// -----

// expected-error @below {{expected a KV cache to hold 'f16', 'f32', 'i8' or 'f8E4M3FN', but found 'i16'}}
func.func private @f(!heddle.kv_cache<2x16x16xi16>)

// -----

// expected-error @below {{expected a dimension to have a name, but found an empty one}}
func.func private @f(tensor<?xf32> {heddle.dims = [#heddle.dim<"", 1 to 4>]})

// -----

// expected-error @below {{expected bounds of dimension 'n' to satisfy 0 <= minimum <= maximum, but found 5 to 4}}
func.func private @f(tensor<?xf32> {heddle.dims = [#heddle.dim<"n", 5 to 4>]})

// -----

// expected-error @below {{expected a selection of heads to be 'rows x heads', but found 1 dimensions}}
func.func private @f(!heddle.selection<heads, 9>)

// -----

// expected-error @below {{expected a selection to choose among a fixed positive number of tokens}}
func.func private @f(!heddle.selection<tokens, 4x?>)

// -----

// expected-error @below {{expected blocks of a multiple of 16 tokens, but found 24}}
func.func private @f(!heddle.selection<blocks, ?x32, 24>)

// -----

// expected-error @below {{expected a selection among a multiple of 16 tokens, but found 24}}
func.func private @f(!heddle.selection<tokens, ?x24>)
