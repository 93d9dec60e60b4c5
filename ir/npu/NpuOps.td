// The npu dialect: programs of the NPU. Its ops are the commands of the table.
#ifndef HEDDLE_NPU_OPS_TD
#define HEDDLE_NPU_OPS_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "ir/npu/Commands.td"

def Npu_Dialect : Dialect {
  let name = "npu";
  let cppNamespace = "::mlir::npu";
  let summary = "Programs of the NPU";
  let description = [{
    A function is what one kernel becomes: a sequence of commands with registers, in which `loop` and `end_loop` nest. Each command of
    docs/npu-isa.md is an op; a field is a register (r0 is 0) plus an immediate, and fields that are 0 are not printed.
  }];
}

def Npu_FunctionOp : Op<Npu_Dialect, "function", [Symbol, IsolatedFromAbove, NoTerminator, SingleBlock]> {
  let summary = "The commands of a kernel";
  let description = [{
    ```mlir
    npu.function @fill operands 1 {
      npu.vec_fill <s32> cols = 16, rows = 1, value = 7, dst_stride = 64
      npu.barrier
      npu.dma_store dram = r8, n0 = 64, n1 = 1, n2 = 1
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I32Attr:$operands, OptionalAttr<DenseI8ArrayAttr>:$data);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `operands` $operands (`data` $data^)? attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
}

class Npu_Command<Command c> : Op<Npu_Dialect, !cast<string>(c), [HasParent<"FunctionOp">]> {
  let summary = c.summary;
  let description = "See docs/npu-isa.md.";
  let arguments = (ins DefaultValuedAttr<I32Attr, "0">:$function, DefaultValuedAttr<I32Attr, "0">:$types,
                       DefaultValuedAttr<I32Attr, "0">:$modes, DenseI8ArrayAttr:$registers,
                       DenseI32ArrayAttr:$immediates);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDefinition = [{
    ::mlir::ParseResult $cppClass::parse(::mlir::OpAsmParser &parser, ::mlir::OperationState &state) {
      return parseCommand(parser, state);
    }
    void $cppClass::print(::mlir::OpAsmPrinter &printer) { printCommand(printer, *this); }
    ::llvm::LogicalResult $cppClass::verify() { return verifyCommand(*this); }
  }];
}

def Npu_SetOp : Npu_Command<set>;
def Npu_LoadOp : Npu_Command<load>;
def Npu_LoopOp : Npu_Command<loop>;
def Npu_EndLoopOp : Npu_Command<end_loop>;
def Npu_BarrierOp : Npu_Command<barrier>;
def Npu_SignalOp : Npu_Command<signal>;
def Npu_WaitOp : Npu_Command<wait>;
def Npu_DmaLoadOp : Npu_Command<dma_load>;
def Npu_DmaStoreOp : Npu_Command<dma_store>;
def Npu_DmaGatherOp : Npu_Command<dma_gather>;
def Npu_DmaScatterOp : Npu_Command<dma_scatter>;
def Npu_MatmulOp : Npu_Command<matmul>;
def Npu_VecFillOp : Npu_Command<vec_fill>;
def Npu_VecBinaryOp : Npu_Command<vec_binary>;
def Npu_VecRequantOp : Npu_Command<vec_requant>;
def Npu_VecReduceOp : Npu_Command<vec_reduce>;
def Npu_VecLookupOp : Npu_Command<vec_lookup>;
def Npu_VecFunctionOp : Npu_Command<vec_function>;
def Npu_VecFromF32Op : Npu_Command<vec_from_f32>;
def Npu_VecToF32Op : Npu_Command<vec_to_f32>;
def Npu_VecFromF16Op : Npu_Command<vec_from_f16>;
def Npu_VecToF16Op : Npu_Command<vec_to_f16>;
def Npu_VecSelectOp : Npu_Command<vec_select>;

#endif
