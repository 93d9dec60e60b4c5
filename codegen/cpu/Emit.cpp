#include "codegen/cpu/Emit.h"

using namespace mlir;

namespace heddle::cpu {

Emitter::Emitter(ModuleOp module, const CpuLevel &level)
    : KernelEmitter(module), level(level), lanes(level.lanes) {}

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
