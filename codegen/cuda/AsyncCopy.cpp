#include "codegen/cuda/AsyncCopy.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace heddle::cuda {

void copyAsync(Emitter &e, Value to, Value from, int bytes, Value valid) {
  // Past level 1 where a whole sector is copied: no other thread of the block wants it.
  std::string name = std::string("llvm.nvvm.cp.async.") + (bytes == 16 ? "cg" : "ca") + ".shared.global." +
                     std::to_string(bytes);
  Values arguments{to, from};
  if (valid) {
    name += ".s";
    arguments.push_back(e.select(valid, e.cI32(bytes), e.cI32(0)));
  }
  e.create<LLVM::CallIntrinsicOp>(TypeRange(), e.getStringAttr(name), arguments, LLVM::FastmathFlagsAttr());
}

void commitCopies(Emitter &e) { e.create<NVVM::CpAsyncCommitGroupOp>(); }
void waitForCopies(Emitter &e, int pending) { e.create<NVVM::CpAsyncWaitGroupOp>(pending); }

void forShareUnrolled(Emitter &e, Value thread, int threads, int64_t count, function_ref<void(Value)> body) {
  for (int64_t first = 0; first < count; first += threads) {
    Value index = e.add(thread, first);
    if (first + threads <= count)
      body(index);
    else
      e.ifThen(e.lessThan(index, e.cI32(count)), [&] { body(index); });
  }
}

} // namespace heddle::cuda
