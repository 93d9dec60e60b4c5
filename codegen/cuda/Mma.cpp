#include "codegen/cuda/Mma.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace heddle::cuda {

static Type structOf(Emitter &e, Type element, int count) {
  return LLVM::LLVMStructType::getLiteral(e.getContext(), SmallVector<Type>(count, element));
}

Values loadMatrices(Emitter &e, Value row, bool transposed) {
  auto layout = transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row;
  return e.unpackStruct(e.create<NVVM::LdMatrixOp>(structOf(e, e.i32(), 4), row, 4, layout));
}

Values mma16816(Emitter &e, Type element, ValueRange a, ValueRange b, ValueRange c) {
  bool half = element.isF16();
  Values operands;
  for (Value registers : llvm::concat<Value>(Values(a), Values(b)))
    operands.push_back(half ? e.bitcast(registers, e.vec(e.f16(), 2)) : registers);
  operands.append(c.begin(), c.end());
  return e.unpackStruct(
      e.intrinsic(half ? "llvm.nvvm.mma.m16n8k16.row.col.f32.f32" : "llvm.nvvm.mma.m16n8k16.row.col.bf16",
                  structOf(e, e.f32(), 4), operands));
}

Value packHalves(Emitter &e, Value low, Value high) {
  Value pair = e.create<LLVM::UndefOp>(e.vec(e.f16(), 2));
  Value values[] = {low, high};
  for (auto [i, value] : llvm::enumerate(values))
    pair = e.create<LLVM::InsertElementOp>(pair, e.create<arith::TruncFOp>(e.f16(), value), e.cI32(i));
  return e.bitcast(pair, e.i32());
}

} // namespace heddle::cuda
