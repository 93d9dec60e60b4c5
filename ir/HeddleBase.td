// The dialect, its attributes and its types.
#ifndef HEDDLE_BASE_TD
#define HEDDLE_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Heddle_Dialect : Dialect {
  let name = "heddle";
  let cppNamespace = "::mlir::heddle";
  let summary = "Models at tensor level, their parameters, and the kernels they become";
  let description = [{
    Three levels share this dialect (docs/ir.md). At *model level* a function per entry holds whole operations
    (`linear`, `attention`, ...) on tensors and stored weights. At *kernel level* groups of them stand in
    `heddle.kernel` symbols, called by `heddle.launch`. Machine level is upstream dialects only.
  }];
  let dependentDialects = ["func::FuncDialect", "arith::ArithDialect", "math::MathDialect"];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let extraClassDeclaration = [{ void registerTypes(); }];
}

class Heddle_Attr<string name, string mnemonic_> : AttrDef<Heddle_Dialect, name> { let mnemonic = mnemonic_; }
class Heddle_Type<string name, string mnemonic_> : TypeDef<Heddle_Dialect, name> { let mnemonic = mnemonic_; }

class Heddle_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let genSpecializedAttr = 0;
  let cppNamespace = "::mlir::heddle";
}

// Weight formats keep the order of ::heddle::StorageFormat (ir/StorageFormat.h); activations follow.
def Heddle_Format : Heddle_Enum<"Format", "storage format", [
  I32EnumAttrCase<"F32", 0, "f32">, I32EnumAttrCase<"F16", 1, "f16">, I32EnumAttrCase<"BF16", 2, "bf16">,
  I32EnumAttrCase<"Q4_0", 3, "q4_0">, I32EnumAttrCase<"Q4_1", 4, "q4_1">, I32EnumAttrCase<"Q5_0", 5, "q5_0">,
  I32EnumAttrCase<"Q5_1", 6, "q5_1">, I32EnumAttrCase<"Q8_0", 7, "q8_0">, I32EnumAttrCase<"Q2_K", 8, "q2_k">,
  I32EnumAttrCase<"Q3_K", 9, "q3_k">, I32EnumAttrCase<"Q4_K", 10, "q4_k">, I32EnumAttrCase<"Q5_K", 11, "q5_k">,
  I32EnumAttrCase<"Q6_K", 12, "q6_k">, I32EnumAttrCase<"IQ4_NL", 13, "iq4_nl">, I32EnumAttrCase<"IQ4_XS", 14, "iq4_xs">,
  I32EnumAttrCase<"I8", 15, "int8">, I32EnumAttrCase<"I8_MIN", 16, "int8_min">, I32EnumAttrCase<"I4", 17, "int4">,
  I32EnumAttrCase<"I4_MIN", 18, "int4_min">, I32EnumAttrCase<"I4_128", 19, "int4_128">,
  I32EnumAttrCase<"I4_MIN_128", 20, "int4_min_128">, I32EnumAttrCase<"F8E4M3", 21, "f8e4m3">,
  I32EnumAttrCase<"F8E5M2", 22, "f8e5m2">, I32EnumAttrCase<"F8E4M3_128", 23, "f8e4m3_128">,
  I32EnumAttrCase<"ACT_I8", 32, "act_i8">, I32EnumAttrCase<"ACT_I16", 33, "act_i16">, I32EnumAttrCase<"ACT_BF16", 34, "act_bf16">,
  I32EnumAttrCase<"ACT_I8_ROW", 35, "act_i8_row">, I32EnumAttrCase<"ACT_I8_128", 36, "act_i8_128">]>;

def Heddle_Layout : Heddle_Enum<"Layout", "physical layout of stored numbers", [
  I32EnumAttrCase<"Rows", 0, "rows">, I32EnumAttrCase<"W16", 1, "w16">, I32EnumAttrCase<"Panel16", 2, "panel16">,
  I32EnumAttrCase<"Panel32", 3, "panel32">, I32EnumAttrCase<"Gather", 4, "gather">]>;

def Heddle_EncAttr : Heddle_Attr<"Enc", "enc"> {
  let summary = "How numbers are stored: format and physical layout";
  let description = [{
    `#heddle.enc<q4_1>` is the file's own row-by-row order; `#heddle.enc<q4_1, w16>` is packed for CPU kernels
    (docs/kernel-abi.md); `panel16`, `panel32` and `gather` are for the NPU's (docs/npu.md). `act_i8` and `act_i16` are dynamically quantized activations,
    blocks of 32 along a row; `act_i8_row` the same with one block a row, `act_i8_128` with blocks of 128; `act_bf16` are activations rounded to bf16.
  }];
  let parameters = (ins EnumParameter<Heddle_Format>:$format,
                        DefaultValuedParameter<"::mlir::heddle::Layout", "::mlir::heddle::Layout::Rows">:$layout);
  let assemblyFormat = "`<` $format (`,` $layout^)? `>`";
  let extraClassDeclaration = [{
    bool isActivation() const { return getFormat() >= Format::ACT_I8; }
  }];
}

def Heddle_DimAttr : Heddle_Attr<"Dim", "dim"> {
  let summary = "A named, bounded dimension of a function argument";
  let description = [{
    `#heddle.dim<"n", 1 to 512>`: known by this name in every argument of the function that carries it; memory is
    planned at the upper bound, and one compiled function serves every size inside.
  }];
  let parameters = (ins StringRefParameter<"name">:$name, "int64_t":$min, "int64_t":$max);
  let assemblyFormat = "`<` $name `,` $min `to` $max `>`";
  let genVerifyDecl = 1;
}

def Heddle_StoredType : Heddle_Type<"Stored", "stored"> {
  let summary = "A matrix or vector in a storage format";
  let description = [{
    `!heddle.stored<576x1536xf32, #heddle.enc<q4_1>>`: the numbers are f32 to whoever asks, their bytes are q4_1. Blocks run along
    the innermost dimension. Only heddle ops take it. The leading dimension of activations may be `?`.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "Type":$elementType, "EncAttr":$encoding);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Heddle_KvCacheType : Heddle_Type<"KvCache", "kv_cache"> {
  let summary = "Keys and values of one layer, for all slots of a session";
  let description = [{
    `!heddle.kv_cache<3x64x64xf16>`: KV heads, key and value width of a head, element type. Its capacity and paging belong to the
    session (docs/kernel-abi.md).

    Elements of 8 bits (`i8`, `f8E4M3FN`) are codes: what is stored of a token's keys of one head, and of its values, is `scale * code`, with the
    f32 `scale = max |x| / L`, L = 127 for `i8` and 448 for `f8E4M3FN`, and the nearest code to `x * (1 / scale)`, ties to even. Where `1 / scale` is not
    finite codes are 0, and a scale that is not finite makes all that it scales NaN.
  }];
  let parameters = (ins "int64_t":$heads, "int64_t":$keyDim, "int64_t":$valueDim, "Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Elements are codes with a scale for each token and head.
    bool hasScales() const { return getElementType().getIntOrFloatBitWidth() == 8; }
    int64_t elementBytes() const { return getElementType().getIntOrFloatBitWidth() / 8; }
    /// Of the scales of a token's keys and values of one head.
    int64_t scaleBytes() const { return hasScales() ? 8 : 0; }
    /// All that is stored of one token.
    int64_t tokenBytes() const { return getHeads() * ((getKeyDim() + getValueDim()) * elementBytes() + scaleBytes()); }
    /// The same with elements "f16", "int8" or "fp8"; null for another name.
    KvCacheType withElements(::llvm::StringRef name) const;
    /// The largest code.
    float limit() const { return getElementType().isInteger(8) ? 127.0f : 448.0f; }
  }];
}

def Heddle_SelectionKind : Heddle_Enum<"SelectionKind", "what a selection chooses among", [
  I32EnumAttrCase<"Heads", 0, "heads">, I32EnumAttrCase<"Tokens", 1, "tokens">, I32EnumAttrCase<"Blocks", 2, "blocks">]>;

def Heddle_SelectionType : Heddle_Type<"Selection", "selection"> {
  let summary = "For every row, which heads, tokens or blocks of tokens it needs";
  let description = [{
    `!heddle.selection<heads, ?x9>`: for each row which of 9 query heads it computes. `!heddle.selection<tokens, ?x2048>`: which of the key
    positions 0 to 2047 it sees. `!heddle.selection<blocks, ?x32, 64>`: the same in blocks of 64 positions, so up to 2047 too. A position past
    the last is not selected. In memory: a byte for each, 0 or 1, row after row (docs/ir.md, "Selections").
  }];
  let parameters = (ins EnumParameter<Heddle_SelectionKind>:$kind, ArrayRefParameter<"int64_t">:$shape, "int64_t":$blockTokens);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Heddle_Numbers : AnyTypeOf<[RankedTensorOf<[F32, F16, BF16]>, Heddle_StoredType], "tensor or stored numbers">;
def Heddle_F32Tensor : ConfinedType<RankedTensorOf<[F32]>, [CPred<"::llvm::cast<::mlir::ShapedType>($_self).getRank() > 0">],
                                    "tensor of f32 with at least one dimension">;
def Heddle_Indices : 1DTensorOf<[I32]>;

#endif
