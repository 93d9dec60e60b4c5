// A thin builder over arith, math, vector, scf and llvm that lets kernel generators read like the loops they
// emit.
//
// Addresses are !llvm.ptr moved by bytes, sizes and indices are i64 throughout (no `index`), vectors are
// native ones of CpuLevel::lanes f32 or i32. Anything not wrapped here is one `e.create<Op>(...)` away.
#pragma once
#include "codegen/cpu/Level.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace heddle::cpu {

using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
using Values = llvm::SmallVector<Value>;

/// Loads the dialects that kernels and their lowering use.
void loadKernelDialects(mlir::MLIRContext &context);

/// Attribute of functions whose instructions stay in the order of emission: the scheduler moves loads far
/// ahead of their uses, which spills where registers are few.
inline constexpr llvm::StringLiteral kSourceOrder = "heddle-source-order";

/// The arguments of a kernel (heddle_kernel_fn in runtime/include/heddle/program.h).
struct KernelArguments {
  Value operands, dims, scratch, begin, end;
};

class Emitter : public mlir::ImplicitLocOpBuilder {
public:
  /// Builds at the end of `module`.
  Emitter(mlir::ModuleOp module, const CpuLevel &level);

  const CpuLevel &level;
  const int lanes;

  // Types.
  Type ptrType() { return mlir::LLVM::LLVMPointerType::get(getContext()); }
  Type i8() { return getI8Type(); }
  Type i16() { return getI16Type(); }
  Type i32() { return getI32Type(); }
  Type i64() { return getI64Type(); }
  Type f16() { return getF16Type(); }
  Type f32() { return getF32Type(); }
  mlir::VectorType vec(Type element, int64_t count) { return mlir::VectorType::get({count}, element); }
  mlir::VectorType vecF32() { return vec(f32(), lanes); }
  mlir::VectorType vecI32() { return vec(i32(), lanes); }

  // Constants. `constant` makes a splat when `type` is a vector.
  Value constant(Type type, double value);
  Value constantInt(Type type, int64_t value);
  Value cI64(int64_t value) { return constantInt(i64(), value); }
  Value cI32(int64_t value) { return constantInt(i32(), value); }
  Value cF32(double value) { return constant(f32(), value); }
  Value vecConst(double value) { return constant(vecF32(), value); }
  Value vecConstI32(int64_t value) { return constantInt(vecI32(), value); }

  // Addresses: bytes past `base`.
  Value at(Value base, int64_t offset);
  Value at(Value base, Value offset);
  Value at(Value base, Value offset, int64_t more) { return at(at(base, offset), more); }

  // Memory. `align` is what the address is known to have; 1 is always right and costs nothing on aligned
  // data.
  Value load(Type type, Value address, int align = 1);
  void store(Value value, Value address, int align = 1);
  /// Asks for the cache line at `address`, which may lie outside of any memory, in level 1 or 2.
  void prefetch(Value address, int cacheLevel = 1);
  /// One element at `address` on every lane of `type`.
  Value loadSplat(mlir::VectorType type, Value address);
  /// Lanes where `mask` is set; `otherwise` elsewhere, whose memory is not touched.
  Value loadMasked(mlir::VectorType type, Value address, Value mask, Value otherwise);
  void storeMasked(Value value, Value address, Value mask);
  /// Mask of lanes below `count` (i64, may exceed the lanes or be negative).
  Value firstLanes(Value count, int laneCount);

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
  Value splat(Value scalar) { return splat(scalar, vec(scalar.getType(), lanes)); }
  Value bitcast(Value value, Type type);
  /// Elements [first, first + count) of a vector.
  Value slice(Value vector, int first, int count);
  /// Sum over all lanes as a balanced tree of pairs: lane i with lane i + n/2, n halving.
  Value sumPairs(Value vector);
  Value maxLanes(Value vector);

  Value intrinsic(llvm::StringRef name, Type result, ValueRange arguments);

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

  /// A function with the kernel signature; `body` emits it and the return is added after it.
  void kernel(llvm::StringRef symbol, llvm::function_ref<void(const KernelArguments &)> body,
              bool sourceOrder = false);
  /// Address number `index` of the operand table.
  Value operand(const KernelArguments &arguments, int index);
  /// Value of a HEDDLE_DIM_* dimension.
  Value dimension(const KernelArguments &arguments, int id);

  /// Integer dot products of code quads: per i32 lane, acc + sum over all pairs of 4 products u8 * s8. Exact.
  /// `codeBits` bounds the codes (2, 4, 5, 6 or 8); pairs hold vectors of i32 lanes, 4 bytes each.
  struct Quad {
    Value codes;       // u8
    Value activations; // s8, in [-128, 127]
  };
  Value dot(Value acc, llvm::ArrayRef<Quad> quads, int codeBits);

private:
  mlir::ModuleOp module;
};

/// An integer dot product that grows quad by quad, so that a tile can interleave many of them. Without
/// vpdpbusd, `codeBits` may also be 16: then both sides are pairs of s16, and the caller sees to it that sums
/// fit i32.
class DotSum {
public:
  /// Starts at `start`, or at zero when it is null.
  DotSum(Emitter &e, int codeBits, Value start = {}) : e(&e), codeBits(codeBits), sum(start) {}
  void add(const Emitter::Quad &quad);
  Value total();

private:
  void flush();
  Emitter *e;
  int codeBits;
  Value sum;              // i32
  Value pairs, highPairs; // s16 sums of products, without vpdpbusd
  int pending = 0;
};

} // namespace heddle::cpu
