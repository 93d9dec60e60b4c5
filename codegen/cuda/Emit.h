// The emitter of CUDA kernels: code of one thread, of a block of threads in x.
//
// Operands are pointers to global memory, `shared` ones to shared memory; indices inside a row are i32,
// offsets of rows i64.
#pragma once
#include "codegen/Emitter.h"
#include "codegen/KernelContext.h"

namespace heddle::cuda {

inline constexpr int kWarp = 32;
/// Attribute of functions that are entries: threads of a block. The back end makes NVVM's own of it, which
/// only functions of the LLVM dialect may have.
inline constexpr llvm::StringLiteral kThreads = "heddle.threads";

/// The parameters of a kernel (docs/cuda.md).
struct KernelArguments {
  Values operands;
  Value dims;
};

class Emitter : public KernelEmitter {
public:
  Emitter(mlir::ModuleOp module, const KernelContext &context)
      : KernelEmitter(module), tensorCores(context.tensorCores) {}

  const bool tensorCores;

  Type globalPtr() { return mlir::LLVM::LLVMPointerType::get(getContext(), 1); }
  Type sharedPtr() { return mlir::LLVM::LLVMPointerType::get(getContext(), 3); }

  /// An entry of blocks of `threads`; `body` emits it and the return is added after it.
  void kernel(llvm::StringRef symbol, int operands, int threads,
              llvm::function_ref<void(const KernelArguments &)> body);
  /// Value of a HEDDLE_DIM_* dimension, i32.
  Value dimension(const KernelArguments &arguments, int id);
  /// Address `offset` bytes into the block's shared memory.
  Value shared(int64_t offset);

  /// Address of a table of the module's own, in global memory.
  Value constantTable(mlir::DenseElementsAttr numbers);

  // Places, i32.
  Value thread();
  Value blockX();
  Value blockY();
  Value lane() { return bitAnd(thread(), kWarp - 1); }
  Value warp() { return shiftRightU(thread(), 5); }

  /// All threads of the block meet; what they wrote before is seen after.
  void barrier();
  void warpBarrier();
  // Of all 32 lanes, which are there.
  Value shuffleXor(Value value, int distance);
  /// Lane `from`'s value, i32.
  Value shuffle(Value value, Value from);
  /// Combines the lanes of each aligned group of `width` (a power of two); all get the result.
  Value combineLanes(Value value, int width, llvm::function_ref<Value(Value, Value)> combine);
  Value warpSum(Value value);
  Value warpMaxU(Value value); // i32, unsigned
  /// Lanes (i32) where `flag` (i1) holds: all, and those before this one.
  Value countLanes(Value flag);
  Value lanesBelow(Value flag);

  // i32 products of four bytes, signed or not, added to `sum`.
  enum class Bytes { S8, U8 };
  Value dp4a(Value a, Bytes aBytes, Value b, Value sum);

  /// The one way to PTX that MLIR has no op for: `text` with operands $0 ... as LLVM's inline assembly has
  /// them. Without results `result` is null.
  Value inlinePtx(llvm::StringRef text, llvm::StringRef constraints, Type result, ValueRange operands,
                  bool sideEffects = false);

  /// The number of i32 elements of a vector or of a struct of registers as values.
  Values unpackStruct(Value registers);

  // Fewer casts where bounds are small.
  Value remU(Value a, int64_t b) { return create<mlir::arith::RemUIOp>(a, constantInt(a.getType(), b)); }
  Value bitOr(Value a, Value b) { return create<mlir::arith::OrIOp>(a, b); }
  Value shiftRightU(Value a, int bits) { return KernelEmitter::shiftRightU(a, bits); }
  Value shiftRightU(Value a, Value bits) { return create<mlir::arith::ShRUIOp>(a, bits); }
  Value bitAnd(Value a, int64_t b) { return KernelEmitter::bitAnd(a, b); }
  Value bitAnd(Value a, Value b) { return create<mlir::arith::AndIOp>(a, b); }
  Value wide(Value i) { return create<mlir::arith::ExtUIOp>(i64(), i); }
  void forRange32(Value begin, Value end, int64_t step, llvm::function_ref<void(Value)> body) {
    forRange(begin, end, cI32(step), body);
  }
};

} // namespace heddle::cuda
