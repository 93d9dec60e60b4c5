#include "codegen/Emitter.h"

using namespace mlir;

namespace heddle {

void loadKernelDialects(MLIRContext &context) {
  context.loadDialect<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                      scf::SCFDialect, vector::VectorDialect>();
}

KernelEmitter::KernelEmitter(ModuleOp module)
    : ImplicitLocOpBuilder(module.getLoc(), module.getContext()), module(module) {
  setInsertionPointToEnd(module.getBody());
}

/// `element`, or a vector of it shaped like `shape`.
static Type likeShape(Type shape, Type element) {
  if (auto vector = dyn_cast<VectorType>(shape))
    return vector.clone(element);
  return element;
}

Value KernelEmitter::constant(Type type, double value) {
  TypedAttr scalar = FloatAttr::get(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    scalar = DenseElementsAttr::get(vector, cast<Attribute>(scalar));
  return create<arith::ConstantOp>(scalar);
}

Value KernelEmitter::constantInt(Type type, int64_t value) {
  TypedAttr scalar = IntegerAttr::get(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    scalar = DenseElementsAttr::get(vector, cast<Attribute>(scalar));
  return create<arith::ConstantOp>(scalar);
}

Value KernelEmitter::at(Value base, int64_t offset) {
  if (offset == 0)
    return base;
  if (offset != int32_t(offset))
    return at(base, cI64(offset));
  return create<LLVM::GEPOp>(base.getType(), i8(), base, ArrayRef<LLVM::GEPArg>{int32_t(offset)},
                             /*inbounds=*/false);
}

Value KernelEmitter::at(Value base, Value offset) {
  return create<LLVM::GEPOp>(base.getType(), i8(), base, ArrayRef<LLVM::GEPArg>{offset}, /*inbounds=*/false);
}

Value KernelEmitter::load(Type type, Value address, int align) {
  return create<LLVM::LoadOp>(type, address, unsigned(align));
}

void KernelEmitter::store(Value value, Value address, int align) {
  create<LLVM::StoreOp>(value, address, unsigned(align));
}

Value KernelEmitter::shiftLeft(Value a, int bits) {
  return bits == 0 ? a : create<arith::ShLIOp>(a, constantInt(a.getType(), bits));
}

Value KernelEmitter::shiftRightU(Value a, int bits) {
  return bits == 0 ? a : create<arith::ShRUIOp>(a, constantInt(a.getType(), bits));
}

Value KernelEmitter::divU(Value a, int64_t b) {
  return b == 1 ? a : create<arith::DivUIOp>(a, constantInt(a.getType(), b));
}

Value KernelEmitter::lessThan(Value a, Value b) {
  return create<arith::CmpIOp>(arith::CmpIPredicate::slt, a, b);
}
Value KernelEmitter::equal(Value a, Value b) { return create<arith::CmpIOp>(arith::CmpIPredicate::eq, a, b); }

Value KernelEmitter::toF32(Value value) {
  Type type = likeShape(value.getType(), f32());
  if (isa<FloatType>(getElementTypeOrSelf(value.getType())))
    return create<arith::ExtFOp>(type, value);
  return create<arith::SIToFPOp>(type, value);
}

Value KernelEmitter::extendS(Value value, Type element) {
  return create<arith::ExtSIOp>(likeShape(value.getType(), element), value);
}

Value KernelEmitter::extendU(Value value, Type element) {
  return create<arith::ExtUIOp>(likeShape(value.getType(), element), value);
}

Value KernelEmitter::truncate(Value value, Type element) {
  return create<arith::TruncIOp>(likeShape(value.getType(), element), value);
}

Value KernelEmitter::splat(Value scalar, VectorType type) {
  return create<vector::BroadcastOp>(type, scalar);
}

Value KernelEmitter::bitcast(Value value, Type type) {
  return value.getType() == type ? value : create<LLVM::BitcastOp>(type, value);
}

Value KernelEmitter::roundToBfloat16(Value x) {
  Type ints = likeShape(x.getType(), i32());
  Value bits = bitcast(x, ints), size = bitAnd(bits, 0x7fffffff), upper = shiftRightU(bits, 16);
  Value rounded = shiftRightU(add(add(bits, bitAnd(upper, 1)), 0x7fff), 16);
  Value tiny = lessThan(size, constantInt(ints, 0x00800000));
  Value nan = lessThan(constantInt(ints, 0x7f800000), size);
  rounded = select(tiny, bitAnd(upper, 0x8000), rounded);
  Value quiet = create<arith::OrIOp>(upper, constantInt(ints, 0x40));
  return truncate(select(nan, quiet, rounded), i16());
}

Value KernelEmitter::widenBfloat16(Value bits) {
  return bitcast(shiftLeft(extendU(bits, i32()), 16), likeShape(bits.getType(), f32()));
}

Value KernelEmitter::slice(Value vector, int first, int count) {
  SmallVector<int64_t> mask;
  for (int i = 0; i < count; ++i)
    mask.push_back(first + i);
  return create<vector::ShuffleOp>(vector, vector, mask);
}

static Value reduce(KernelEmitter &e, Value vector, function_ref<Value(Value, Value)> combine) {
  for (int n = cast<VectorType>(vector.getType()).getNumElements(); n > 1; n /= 2)
    vector = combine(e.slice(vector, 0, n / 2), e.slice(vector, n / 2, n / 2));
  return e.create<vector::ExtractOp>(vector, ArrayRef<int64_t>{0});
}

Value KernelEmitter::sumPairs(Value vector) {
  return reduce(*this, vector, [&](Value a, Value b) { return addF(a, b); });
}

Value KernelEmitter::maxLanes(Value vector) {
  return reduce(*this, vector, [&](Value a, Value b) { return maxF(a, b); });
}

Value KernelEmitter::intrinsic(StringRef name, Type result, ValueRange arguments) {
  return create<LLVM::CallIntrinsicOp>(result, getStringAttr(name), arguments).getResult(0);
}

void KernelEmitter::effect(StringRef name, ValueRange arguments) {
  create<LLVM::CallIntrinsicOp>(TypeRange(), getStringAttr(name), arguments, LLVM::FastmathFlagsAttr());
}

Values KernelEmitter::forRange(Value begin, Value end, Value step, ValueRange initial,
                               function_ref<Values(Value, ValueRange)> body) {
  auto loop = create<scf::ForOp>(begin, end, step, initial);
  OpBuilder::InsertionGuard guard(*this);
  // Without carried values the op's builder has already added the terminator.
  if (initial.empty())
    setInsertionPoint(loop.getBody()->getTerminator());
  else
    setInsertionPointToEnd(loop.getBody());
  Values next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!initial.empty())
    create<scf::YieldOp>(next);
  return Values(loop.getResults());
}

void KernelEmitter::forRange(Value begin, Value end, Value step, function_ref<void(Value)> body) {
  forRange(begin, end, step, {}, [&](Value index, ValueRange) {
    body(index);
    return Values();
  });
}

void KernelEmitter::ifThen(Value condition, function_ref<void()> then) {
  auto branch = create<scf::IfOp>(condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  then();
}

void KernelEmitter::ifThenElse(Value condition, function_ref<void()> then, function_ref<void()> otherwise) {
  auto branch = create<scf::IfOp>(condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  then();
  setInsertionPointToStart(branch.elseBlock());
  otherwise();
}

Values KernelEmitter::ifValues(Value condition, function_ref<Values()> then,
                               function_ref<Values()> otherwise) {
  // The branches are built through this emitter, so its insertion point follows the op's own builder.
  auto build = [&](function_ref<Values()> values) {
    return [&, values](OpBuilder &builder, Location loc) {
      OpBuilder::InsertionGuard guard(*this);
      restoreInsertionPoint(builder.saveInsertionPoint());
      Values results = values();
      create<scf::YieldOp>(results);
    };
  };
  return Values(create<scf::IfOp>(condition, build(then), build(otherwise)).getResults());
}

} // namespace heddle
