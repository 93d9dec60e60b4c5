// A thin builder over arith, math, scf, vector and llvm that lets kernel generators read like the loops they
// emit; what all targets share.
//
// Addresses are !llvm.ptr (of any address space) moved by bytes, sizes and indices are i64 unless a target
// says otherwise (no `index`). Anything not wrapped here is one `e.create<Op>(...)` away.
#pragma once
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace heddle {

using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
using Values = llvm::SmallVector<Value>;

/// Loads the dialects that kernels and their lowering use.
void loadKernelDialects(mlir::MLIRContext &context);

class KernelEmitter : public mlir::ImplicitLocOpBuilder {
public:
  /// Builds at the end of `module`.
  explicit KernelEmitter(mlir::ModuleOp module);

  // Types.
  Type ptrType() { return mlir::LLVM::LLVMPointerType::get(getContext()); }
  Type i8() { return getI8Type(); }
  Type i16() { return getI16Type(); }
  Type i32() { return getI32Type(); }
  Type i64() { return getI64Type(); }
  Type f16() { return getF16Type(); }
  Type f32() { return getF32Type(); }
  mlir::VectorType vec(Type element, int64_t count) { return mlir::VectorType::get({count}, element); }

  // Constants. `constant` makes a splat when `type` is a vector.
  Value constant(Type type, double value);
  Value constantInt(Type type, int64_t value);
  Value cI64(int64_t value) { return constantInt(i64(), value); }
  Value cI32(int64_t value) { return constantInt(i32(), value); }
  Value cF32(double value) { return constant(f32(), value); }

  // Addresses: bytes past `base`.
  Value at(Value base, int64_t offset);
  Value at(Value base, Value offset);
  Value at(Value base, Value offset, int64_t more) { return at(at(base, offset), more); }

  // Memory. `align` is what the address is known to have; 1 is always right and costs nothing on aligned
  // data.
  Value load(Type type, Value address, int align = 1);
  void store(Value value, Value address, int align = 1);

  // Integers and addresses (i64, or vectors of any integer).
  Value add(Value a, Value b) { return create<mlir::arith::AddIOp>(a, b); }
  Value sub(Value a, Value b) { return create<mlir::arith::SubIOp>(a, b); }
  Value mul(Value a, Value b) { return create<mlir::arith::MulIOp>(a, b); }
  Value add(Value a, int64_t b) { return b == 0 ? a : add(a, constantInt(a.getType(), b)); }
  Value mul(Value a, int64_t b) { return b == 1 ? a : mul(a, constantInt(a.getType(), b)); }
  Value bitAnd(Value a, int64_t b) { return create<mlir::arith::AndIOp>(a, constantInt(a.getType(), b)); }
  Value shiftLeft(Value a, int bits);
  Value shiftRightU(Value a, int bits);
  Value minS(Value a, Value b) { return create<mlir::arith::MinSIOp>(a, b); }
  Value maxS(Value a, Value b) { return create<mlir::arith::MaxSIOp>(a, b); }
  /// a / b for a >= 0 and constant b > 0.
  Value divU(Value a, int64_t b);
  Value lessThan(Value a, Value b); // signed
  Value equal(Value a, Value b);
  Value select(Value condition, Value a, Value b) { return create<mlir::arith::SelectOp>(condition, a, b); }

  // f32 arithmetic, scalar or vector; each one rounding, never contracted or reassociated.
  Value addF(Value a, Value b) { return create<mlir::arith::AddFOp>(a, b); }
  Value subF(Value a, Value b) { return create<mlir::arith::SubFOp>(a, b); }
  Value mulF(Value a, Value b) { return create<mlir::arith::MulFOp>(a, b); }
  Value divF(Value a, Value b) { return create<mlir::arith::DivFOp>(a, b); }
  Value negF(Value a) { return create<mlir::arith::NegFOp>(a); }
  Value maxF(Value a, Value b) { return create<mlir::arith::MaxNumFOp>(a, b); }
  Value fma(Value a, Value b, Value c) { return create<mlir::math::FmaOp>(a, b, c); }

  // Conversions; the element type changes, the shape stays.
  Value toF32(Value integer); // signed integer or f16 -> f32
  Value extendS(Value value, Type element);
  Value extendU(Value value, Type element);
  Value truncate(Value value, Type element);
  Value splat(Value scalar, mlir::VectorType type);
  Value bitcast(Value value, Type type);
  // bf16 numbers are i16 here: no target has arithmetic of theirs.
  /// Half to even, too small numbers become zero, NaN stays (ir/Bfloat16.h).
  Value roundToBfloat16(Value x);
  Value widenBfloat16(Value bits);
  /// Elements [first, first + count) of a vector.
  Value slice(Value vector, int first, int count);
  /// Sum over all lanes as a balanced tree of pairs: lane i with lane i + n/2, n halving.
  Value sumPairs(Value vector);
  Value maxLanes(Value vector);

  Value intrinsic(llvm::StringRef name, Type result, ValueRange arguments);
  /// An intrinsic without a result.
  void effect(llvm::StringRef name, ValueRange arguments);

  // Control. `step` > 0; the body returns the next iteration's values.
  Values forRange(Value begin, Value end, Value step, ValueRange initial,
                  llvm::function_ref<Values(Value index, ValueRange carried)> body);
  void forRange(Value begin, Value end, Value step, llvm::function_ref<void(Value index)> body);
  void forRange(int64_t begin, int64_t end, int64_t step, llvm::function_ref<void(Value index)> body) {
    forRange(cI64(begin), cI64(end), cI64(step), body);
  }
  void ifThen(Value condition, llvm::function_ref<void()> then);
  void ifThenElse(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise);
  Values ifValues(Value condition, llvm::function_ref<Values()> then, llvm::function_ref<Values()> otherwise);

protected:
  mlir::ModuleOp module;
};

} // namespace heddle
