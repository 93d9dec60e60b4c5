#include "codegen/cuda/Emit.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace heddle::cuda {

static constexpr llvm::StringLiteral kShared = "heddle_shared";

void Emitter::kernel(StringRef symbol, int operands, int threads,
                     function_ref<void(const KernelArguments &)> body) {
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToEnd(module.getBody());
  SmallVector<Type> parameters(operands + 1, globalPtr());
  auto function = create<func::FuncOp>(symbol, getFunctionType(parameters, {}));
  function->setAttr(kThreads, getI32IntegerAttr(threads));
  Block *entry = function.addEntryBlock();
  setInsertionPointToStart(entry);
  Values addresses(entry->args_begin(), entry->args_end());
  Value dims = addresses.pop_back_val();
  body({addresses, dims});
  create<func::ReturnOp>();
}

Value Emitter::dimension(const KernelArguments &arguments, int id) {
  return load(i32(), at(arguments.dims, int64_t(id) * 8), 8); // little-endian i64 below 2^31
}

Value Emitter::shared(int64_t offset) {
  auto global = module.lookupSymbol<LLVM::GlobalOp>(kShared);
  if (!global) {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(module.getBody());
    global = create<LLVM::GlobalOp>(LLVM::LLVMArrayType::get(i8(), 0), /*isConstant=*/false,
                                    LLVM::Linkage::External, kShared, Attribute(), /*alignment=*/16,
                                    /*addrSpace=*/3);
  }
  return at(create<LLVM::AddressOfOp>(global), offset);
}

Value Emitter::constantTable(DenseElementsAttr numbers) {
  auto type = cast<ShapedType>(numbers.getType());
  int64_t count = type.getNumElements();
  std::string name;
  LLVM::GlobalOp global;
  for (int i = 0;; ++i) { // kernels that read the same numbers share them
    name = "heddle_table_" + std::to_string(i);
    global = module.lookupSymbol<LLVM::GlobalOp>(name);
    if (!global || global.getValueAttr() == numbers.reshape(type.clone({count})))
      break;
  }
  if (!global) {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(module.getBody());
    global = create<LLVM::GlobalOp>(LLVM::LLVMArrayType::get(type.getElementType(), unsigned(count)),
                                    /*isConstant=*/true, LLVM::Linkage::Internal, name,
                                    numbers.reshape(type.clone({count})), /*alignment=*/4, /*addrSpace=*/1);
  }
  return create<LLVM::AddressOfOp>(global);
}

Value Emitter::thread() { return create<NVVM::ThreadIdXOp>(i32()); }
Value Emitter::blockX() { return create<NVVM::BlockIdXOp>(i32()); }
Value Emitter::blockY() { return create<NVVM::BlockIdYOp>(i32()); }

void Emitter::barrier() { create<NVVM::Barrier0Op>(); }
void Emitter::warpBarrier() { create<NVVM::SyncWarpOp>(cI32(-1)); }

Value Emitter::shuffleXor(Value value, int distance) {
  return create<NVVM::ShflOp>(value.getType(), cI32(-1), value, cI32(distance), cI32(kWarp - 1),
                              NVVM::ShflKind::bfly, UnitAttr());
}

Value Emitter::shuffle(Value value, Value from) {
  return create<NVVM::ShflOp>(value.getType(), cI32(-1), value, from, cI32(kWarp - 1), NVVM::ShflKind::idx,
                              UnitAttr());
}

Value Emitter::combineLanes(Value value, int width, function_ref<Value(Value, Value)> combine) {
  for (int distance = width / 2; distance > 0; distance /= 2)
    value = combine(value, shuffleXor(value, distance));
  return value;
}

Value Emitter::warpSum(Value value) {
  bool isFloat = isa<FloatType>(value.getType());
  return combineLanes(value, kWarp, [&](Value a, Value b) { return isFloat ? addF(a, b) : add(a, b); });
}

Value Emitter::warpMaxU(Value value) {
  return create<NVVM::ReduxOp>(i32(), value, NVVM::ReduxKind::UMAX, cI32(-1));
}

Value Emitter::countLanes(Value flag) {
  return create<math::CtPopOp>(create<NVVM::VoteBallotOp>(i32(), cI32(-1), flag).getResult());
}

Value Emitter::lanesBelow(Value flag) {
  Value before = sub(create<arith::ShLIOp>(cI32(1), lane()), cI32(1));
  Value all = create<NVVM::VoteBallotOp>(i32(), cI32(-1), flag);
  return create<math::CtPopOp>(bitAnd(all, before));
}

Value Emitter::dp4a(Value a, Bytes aBytes, Value b, Value sum) {
  StringRef text = aBytes == Bytes::U8 ? "dp4a.u32.s32 $0, $1, $2, $3;" : "dp4a.s32.s32 $0, $1, $2, $3;";
  return inlinePtx(text, "=r,r,r,r", i32(), {a, b, sum});
}

Value Emitter::inlinePtx(StringRef text, StringRef constraints, Type result, ValueRange operands,
                         bool sideEffects) {
  auto assembly = create<LLVM::InlineAsmOp>(
      result ? TypeRange(result) : TypeRange(), operands, text, constraints, sideEffects,
      /*is_align_stack=*/false, LLVM::AsmDialectAttr::get(getContext(), LLVM::AsmDialect::AD_ATT),
      ArrayAttr());
  return result ? assembly.getRes() : Value();
}

Values Emitter::unpackStruct(Value registers) {
  Values values;
  for (size_t i = 0; i < cast<LLVM::LLVMStructType>(registers.getType()).getBody().size(); ++i)
    values.push_back(create<LLVM::ExtractValueOp>(registers, int64_t(i)));
  return values;
}

} // namespace heddle::cuda
