// The emitter of CPU kernels: addresses are !llvm.ptr, sizes and indices i64 throughout, vectors native ones
// of CpuLevel::lanes f32 or i32.
#pragma once
#include "codegen/Emitter.h"
#include "codegen/cpu/Level.h"

namespace heddle::cpu {

using heddle::loadKernelDialects;

/// Attribute of functions whose instructions stay in the order of emission: the scheduler moves loads far
/// ahead of their uses, which spills where registers are few.
inline constexpr llvm::StringLiteral kSourceOrder = "heddle-source-order";

/// The arguments of a kernel (heddle_kernel_fn in runtime/include/heddle/program.h).
struct KernelArguments {
  Value operands, dims, scratch, begin, end;
};

class Emitter : public KernelEmitter {
public:
  /// Builds at the end of `module`.
  Emitter(mlir::ModuleOp module, const CpuLevel &level);

  const CpuLevel &level;
  const int lanes;

  mlir::VectorType vecF32() { return vec(f32(), lanes); }
  mlir::VectorType vecI32() { return vec(i32(), lanes); }

  Value vecConst(double value) { return constant(vecF32(), value); }
  Value vecConstI32(int64_t value) { return constantInt(vecI32(), value); }

  /// Asks for the cache line at `address`, which may lie outside of any memory, in level 1 or 2.
  void prefetch(Value address, int cacheLevel = 1);
  /// One element at `address` on every lane of `type`.
  Value loadSplat(mlir::VectorType type, Value address);
  /// Lanes where `mask` is set; `otherwise` elsewhere, whose memory is not touched.
  Value loadMasked(mlir::VectorType type, Value address, Value mask, Value otherwise);
  void storeMasked(Value value, Value address, Value mask);
  /// Mask of lanes below `count` (i64, may exceed the lanes or be negative).
  Value firstLanes(Value count, int laneCount);

  using KernelEmitter::splat;
  Value splat(Value scalar) { return splat(scalar, vec(scalar.getType(), lanes)); }
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
