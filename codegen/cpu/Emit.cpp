#include "codegen/cpu/Emit.h"

using namespace mlir;

namespace heddle::cpu {

void loadKernelDialects(MLIRContext &context) {
  context.loadDialect<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                      scf::SCFDialect, vector::VectorDialect>();
}

Emitter::Emitter(ModuleOp module, const CpuLevel &level)
    : ImplicitLocOpBuilder(module.getLoc(), module.getContext()), level(level), lanes(level.lanes),
      module(module) {
  setInsertionPointToEnd(module.getBody());
}

/// `element`, or a vector of it shaped like `shape`.
static Type likeShape(Type shape, Type element) {
  if (auto vector = dyn_cast<VectorType>(shape))
    return vector.clone(element);
  return element;
}

Value Emitter::constant(Type type, double value) {
  TypedAttr scalar = FloatAttr::get(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    scalar = DenseElementsAttr::get(vector, cast<Attribute>(scalar));
  return create<arith::ConstantOp>(scalar);
}

Value Emitter::constantInt(Type type, int64_t value) {
  TypedAttr scalar = IntegerAttr::get(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    scalar = DenseElementsAttr::get(vector, cast<Attribute>(scalar));
  return create<arith::ConstantOp>(scalar);
}

Value Emitter::at(Value base, int64_t offset) {
  if (offset == 0)
    return base;
  if (offset != int32_t(offset))
    return at(base, cI64(offset));
  return create<LLVM::GEPOp>(ptrType(), i8(), base, ArrayRef<LLVM::GEPArg>{int32_t(offset)},
                             /*inbounds=*/false);
}

Value Emitter::at(Value base, Value offset) {
  return create<LLVM::GEPOp>(ptrType(), i8(), base, ArrayRef<LLVM::GEPArg>{offset}, /*inbounds=*/false);
}

Value Emitter::load(Type type, Value address, int align) {
  return create<LLVM::LoadOp>(type, address, unsigned(align));
}

void Emitter::store(Value value, Value address, int align) {
  create<LLVM::StoreOp>(value, address, unsigned(align));
}

void Emitter::prefetch(Value address, int cacheLevel) {
  create<LLVM::Prefetch>(address, /*rw=*/0, /*hint=*/cacheLevel == 1 ? 3 : 2, /*cache=*/1);
}

Value Emitter::loadSplat(VectorType type, Value address) {
  return splat(load(type.getElementType(), address), type);
}

Value Emitter::loadMasked(VectorType type, Value address, Value mask, Value otherwise) {
  return create<LLVM::MaskedLoadOp>(type, address, mask, ValueRange{otherwise}, /*alignment=*/1);
}

void Emitter::storeMasked(Value value, Value address, Value mask) {
  create<LLVM::MaskedStoreOp>(value, address, mask, /*alignment=*/1);
}

Value Emitter::firstLanes(Value count, int laneCount) {
  SmallVector<int32_t> numbers;
  for (int i = 0; i < laneCount; ++i)
    numbers.push_back(i);
  auto type = vec(i32(), laneCount);
  Value lane = create<arith::ConstantOp>(DenseElementsAttr::get(type, ArrayRef<int32_t>(numbers)));
  Value clamped = maxS(minS(count, cI64(laneCount)), cI64(0));
  return create<arith::CmpIOp>(arith::CmpIPredicate::slt, lane, splat(truncate(clamped, i32()), type));
}

Value Emitter::shiftLeft(Value a, int bits) {
  return bits == 0 ? a : create<arith::ShLIOp>(a, constantInt(a.getType(), bits));
}

Value Emitter::shiftRightU(Value a, int bits) {
  return bits == 0 ? a : create<arith::ShRUIOp>(a, constantInt(a.getType(), bits));
}

Value Emitter::divU(Value a, int64_t b) {
  return b == 1 ? a : create<arith::DivUIOp>(a, constantInt(a.getType(), b));
}

Value Emitter::lessThan(Value a, Value b) { return create<arith::CmpIOp>(arith::CmpIPredicate::slt, a, b); }
Value Emitter::equal(Value a, Value b) { return create<arith::CmpIOp>(arith::CmpIPredicate::eq, a, b); }

Value Emitter::toF32(Value value) {
  Type type = likeShape(value.getType(), f32());
  if (isa<FloatType>(getElementTypeOrSelf(value.getType())))
    return create<arith::ExtFOp>(type, value);
  return create<arith::SIToFPOp>(type, value);
}

Value Emitter::extendS(Value value, Type element) {
  return create<arith::ExtSIOp>(likeShape(value.getType(), element), value);
}

Value Emitter::extendU(Value value, Type element) {
  return create<arith::ExtUIOp>(likeShape(value.getType(), element), value);
}

Value Emitter::truncate(Value value, Type element) {
  return create<arith::TruncIOp>(likeShape(value.getType(), element), value);
}

Value Emitter::splat(Value scalar, VectorType type) { return create<vector::BroadcastOp>(type, scalar); }

Value Emitter::bitcast(Value value, Type type) {
  return value.getType() == type ? value : create<LLVM::BitcastOp>(type, value);
}

Value Emitter::slice(Value vector, int first, int count) {
  SmallVector<int64_t> mask;
  for (int i = 0; i < count; ++i)
    mask.push_back(first + i);
  return create<vector::ShuffleOp>(vector, vector, mask);
}

static Value reduce(Emitter &e, Value vector, function_ref<Value(Value, Value)> combine) {
  for (int n = cast<VectorType>(vector.getType()).getNumElements(); n > 1; n /= 2)
    vector = combine(e.slice(vector, 0, n / 2), e.slice(vector, n / 2, n / 2));
  return e.create<vector::ExtractOp>(vector, ArrayRef<int64_t>{0});
}

Value Emitter::sumPairs(Value vector) {
  return reduce(*this, vector, [&](Value a, Value b) { return addF(a, b); });
}

Value Emitter::maxLanes(Value vector) {
  return reduce(*this, vector, [&](Value a, Value b) { return maxF(a, b); });
}

Value Emitter::intrinsic(StringRef name, Type result, ValueRange arguments) {
  return create<LLVM::CallIntrinsicOp>(result, getStringAttr(name), arguments).getResult(0);
}

Values Emitter::forRange(Value begin, Value end, Value step, ValueRange initial,
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

void Emitter::forRange(Value begin, Value end, Value step, function_ref<void(Value)> body) {
  forRange(begin, end, step, {}, [&](Value index, ValueRange) {
    body(index);
    return Values();
  });
}

void Emitter::ifThen(Value condition, function_ref<void()> then) {
  auto branch = create<scf::IfOp>(condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  then();
}

void Emitter::ifThenElse(Value condition, function_ref<void()> then, function_ref<void()> otherwise) {
  auto branch = create<scf::IfOp>(condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  then();
  setInsertionPointToStart(branch.elseBlock());
  otherwise();
}

Values Emitter::ifValues(Value condition, function_ref<Values()> then, function_ref<Values()> otherwise) {
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

void Emitter::kernel(StringRef symbol, function_ref<void(const KernelArguments &)> body, bool sourceOrder) {
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToEnd(module.getBody());
  auto type = getFunctionType({ptrType(), ptrType(), ptrType(), i64(), i64()}, {});
  auto function = create<func::FuncOp>(symbol, type);
  if (sourceOrder)
    function->setAttr("passthrough", getStrArrayAttr({kSourceOrder}));
  Block *entry = function.addEntryBlock();
  setInsertionPointToStart(entry);
  body({entry->getArgument(0), entry->getArgument(1), entry->getArgument(2), entry->getArgument(3),
        entry->getArgument(4)});
  create<func::ReturnOp>();
}

Value Emitter::operand(const KernelArguments &arguments, int index) {
  return load(ptrType(), at(arguments.operands, int64_t(index) * 8), 8);
}

Value Emitter::dimension(const KernelArguments &arguments, int id) {
  return load(i64(), at(arguments.dims, int64_t(id) * 8), 8);
}

Value Emitter::dot(Value acc, ArrayRef<Quad> quads, int codeBits) {
  DotSum sum(*this, codeBits, acc);
  for (const Quad &quad : quads)
    sum.add(quad);
  return sum.total();
}

// Without vpdpbusd: vpmaddubsw adds two products u8 * s8 in a saturating s16. A pair is at most 2 * c * 128
// in size for codes up to c: 3,840 for 4 bits (c = 15), so pairs can be added in s16 before vpmaddwd widens
// them. 8 pairs of 4-bit codes make 30,720, 4 of 5-bit ones 31,744, 2 of 6-bit ones 32,256, 8 of 2-bit ones
// 6,144: all below 32,768. A pair of 8-bit codes can be 65,280, so those go as two nibbles, the high one
// times 16 in vpmaddwd.
void DotSum::add(const Emitter::Quad &quad) {
  if (e->level.vnni) {
    StringRef name = e->lanes == 16 ? "llvm.x86.avx512.vpdpbusd.512" : "llvm.x86.avx512.vpdpbusd.256";
    sum = e->intrinsic(name, e->vecI32(), {sum ? sum : e->vecConstI32(0), quad.codes, quad.activations});
    return;
  }
  if (codeBits == 16) {
    Type halves = e->vec(e->i16(), e->lanes * 2);
    Value next = e->intrinsic("llvm.x86.avx2.pmadd.wd", e->vecI32(),
                              {e->bitcast(quad.codes, halves), e->bitcast(quad.activations, halves)});
    sum = sum ? e->add(sum, next) : next;
    return;
  }
  Type bytes = e->vec(e->i8(), e->lanes * 4);
  auto accumulate = [&](Value &into, Value codes) {
    Value next = e->intrinsic("llvm.x86.avx2.pmadd.ub.sw", e->vec(e->i16(), e->lanes * 2),
                              {e->bitcast(codes, bytes), e->bitcast(quad.activations, bytes)});
    into = into ? e->add(into, next) : next;
  };
  if (codeBits == 8) {
    accumulate(pairs, e->bitAnd(quad.codes, 0x0f0f0f0f));
    accumulate(highPairs, e->bitAnd(e->shiftRightU(quad.codes, 4), 0x0f0f0f0f));
  } else {
    accumulate(pairs, quad.codes);
  }
  int limit = codeBits == 5 ? 4 : codeBits == 6 ? 2 : 8;
  if (++pending == limit)
    flush();
}

void DotSum::flush() {
  auto widen = [&](Value &sums, int factor) {
    if (!sums)
      return;
    Value wide = e->intrinsic("llvm.x86.avx2.pmadd.wd", e->vecI32(),
                              {sums, e->constantInt(e->vec(e->i16(), e->lanes * 2), factor)});
    sum = sum ? e->add(sum, wide) : wide;
    sums = {};
  };
  widen(pairs, 1);
  widen(highPairs, 16);
  pending = 0;
}

Value DotSum::total() {
  flush();
  return sum ? sum : e->vecConstI32(0);
}

} // namespace heddle::cpu
