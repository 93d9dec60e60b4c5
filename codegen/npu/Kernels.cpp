#include "codegen/KernelOperands.h"
#include "codegen/npu/Kernel.h"

using namespace mlir::heddle;

namespace heddle::npu {

void loadKernelDialects(mlir::MLIRContext &context) { context.loadDialect<mlir::npu::NpuDialect>(); }

llvm::Error unsupported(KernelOp kernel, const llvm::Twine &why) {
  return llvm::createStringError(std::make_error_code(std::errc::not_supported),
                                 "kernel '" + llvm::Twine(kernel.getSymName()) +
                                     "' for target 'npu': " + why);
}

llvm::Error unsupportedOp(KernelOp kernel, mlir::Operation *op, const llvm::Twine &why) {
  return unsupported(kernel, "'" + op->getName().getStringRef() + "' " + why);
}

std::optional<Field> rowsField(Emitter &e, llvm::StringRef rows) {
  int64_t count = 0;
  if (!rows.getAsInteger(10, count))
    return Field(count);
  if (rows == "n")
    return e.dimension(HEDDLE_DIM_ROWS);
  if (rows == "m" || rows == "s")
    return e.dimension(HEDDLE_DIM_WANTED);
  return std::nullopt;
}

static llvm::Expected<KernelFacts> emitKernel(KernelOp kernel, llvm::StringRef rows,
                                              const KernelContext &context, Emitter &e) {
  size_t operands = kernelOperands(kernel).size();
  if (operands > HEDDLE_NPU_MAX_OPERANDS)
    return unsupported(kernel, "expected at most " + llvm::Twine(int(HEDDLE_NPU_MAX_OPERANDS)) +
                                   " operands, but found " + llvm::Twine(operands));
  switch (kernel.getFamily()) {
  case Family::Contraction:
  case Family::Rows:
    return emitRowsKernel(kernel, rows, context, e);
  case Family::Attention:
    return emitAttentionKernel(kernel, context, e);
  }
  llvm_unreachable("unknown kernel family");
}

llvm::Expected<std::vector<KernelFacts>> emitKernels(mlir::ModuleOp module, const Machine &machine,
                                                     const KernelContext &context, mlir::ModuleOp out) {
  std::vector<KernelFacts> facts;
  llvm::StringMap<llvm::StringRef> rows = launchRows(module);
  Emitter e(out, machine);
  for (auto kernel : module.getOps<KernelOp>()) {
    auto emitted = emitKernel(kernel, rows.lookup(kernel.getSymName()), context, e);
    if (!emitted)
      return emitted.takeError();
    if (e.ranOutOfRegisters())
      return unsupported(kernel, "it needs more registers than the machine has");
    facts.push_back(*emitted);
  }
  return facts;
}

} // namespace heddle::npu
