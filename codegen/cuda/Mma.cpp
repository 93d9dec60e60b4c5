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

/// Products of fragments on the lanes. Row r of `a` is in lanes 4r ... 4r + 3 (and r + 8 too), column n of
/// `b` in lanes 4n ... 4n + 3; `dot` adds the product of two registers to a sum. A lane has rows lane / 4 and
/// 8 more by columns 2 (lane % 4) and one more.
static Values multiplyByLanes(Emitter &e, ValueRange a, ValueRange b, ValueRange c,
                              function_ref<Value(Value, Value, Value)> dot) {
  Value lane = e.lane(), row = e.bitAnd(lane, ~3), column = e.shiftLeft(e.bitAnd(lane, 3), 3);
  Values sums(c);
  for (int part = 0; part < 4; ++part) {
    Values left, right[2];
    for (Value registers : a)
      left.push_back(e.shuffle(registers, e.add(row, part)));
    for (int n = 0; n < 2; ++n)
      for (Value registers : b)
        right[n].push_back(e.shuffle(registers, e.add(column, n * 4 + part)));
    for (int i = 0; i < 4; ++i)
      for (size_t k = 0; k < b.size(); ++k)
        sums[i] = dot(left[k * 2 + i / 2], right[i % 2][k], sums[i]);
  }
  return sums;
}

Values mma16816(Emitter &e, Type element, ValueRange a, ValueRange b, ValueRange c) {
  bool half = element.isF16();
  auto halvesOf = [&](Value registers) { return e.bitcast(registers, e.vec(e.f16(), 2)); };
  if (!e.tensorCores)
    return multiplyByLanes(e, a, b, c, [&](Value x, Value y, Value sum) {
      auto numberOf = [&](Value registers, int i) -> Value {
        if (half)
          return e.toF32(e.create<LLVM::ExtractElementOp>(halvesOf(registers), e.cI32(i)));
        return e.bitcast(i == 0 ? e.shiftLeft(registers, 16) : e.bitAnd(registers, int32_t(0xffff0000u)),
                         e.f32());
      };
      for (int i = 0; i < 2; ++i)
        sum = e.fma(numberOf(x, i), numberOf(y, i), sum);
      return sum;
    });
  Values operands;
  for (Value registers : llvm::concat<Value>(Values(a), Values(b)))
    operands.push_back(half ? halvesOf(registers) : registers);
  operands.append(c.begin(), c.end());
  return e.unpackStruct(
      e.intrinsic(half ? "llvm.nvvm.mma.m16n8k16.row.col.f32.f32" : "llvm.nvvm.mma.m16n8k16.row.col.bf16",
                  structOf(e, e.f32(), 4), operands));
}

Values mmaBytes(Emitter &e, bool isSigned, ValueRange a, ValueRange b, ValueRange c) {
  if (!e.tensorCores)
    return multiplyByLanes(e, a, b, c, [&](Value x, Value y, Value sum) {
      return e.dp4a(x, isSigned ? Emitter::Bytes::S8 : Emitter::Bytes::U8, y, sum);
    });
  Values operands(a);
  operands.append(b.begin(), b.end());
  operands.append(c.begin(), c.end());
  std::string name = a.size() == 4 ? "llvm.nvvm.mma.m16n8k32.row.col" : "llvm.nvvm.mma.m16n8k16.row.col";
  return e.unpackStruct(e.intrinsic(name + (isSigned ? ".s8" : ".u8.s8"), structOf(e, e.i32(), 4), operands));
}

Value packHalves(Emitter &e, Value low, Value high) {
  return e.bitcast(e.intrinsic("llvm.nvvm.ff2f16x2.rn", e.vec(e.f16(), 2), {high, low}), e.i32());
}

Value packBfloats(Emitter &e, Value low, Value high) {
  return e.bitcast(e.intrinsic("llvm.nvvm.ff2bf16x2.rn", e.vec(e.getBF16Type(), 2), {high, low}), e.i32());
}

} // namespace heddle::cuda
