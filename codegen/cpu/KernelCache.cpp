#include "codegen/cpu/KernelCache.h"
#include "codegen/cpu/Kernels.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

/// All that a kernel's code depends on, its name excepted.
static std::string keyOf(KernelOp kernel, llvm::StringRef rows, const CpuLevel &level,
                         const CpuKernelContext &context) {
  std::string key;
  llvm::raw_string_ostream out(key);
  out << level.name << ' ' << rows << ' ' << context.maxContext << ' ' << context.maxSlots << ' '
      << context.maxRows << ' ';
  OwningOpRef<KernelOp> unnamed(cast<KernelOp>(kernel->clone()));
  unnamed->setSymName("kernel");
  unnamed->print(out, OpPrintingFlags().useLocalScope());
  return key;
}

llvm::Expected<const CachedKernel *> KernelCache::get(KernelOp kernel, llvm::StringRef rows,
                                                      const CpuLevel &level, const CpuKernelContext &context,
                                                      const CompileOptions &options) {
  std::string key = keyOf(kernel, rows, level, context);
  if (auto found = kernels.find(key); found != kernels.end())
    return &found->second;
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(kernel.getContext()));
  auto facts = emitKernel(kernel, rows, level, context, *module);
  if (!facts)
    return facts.takeError();
  CachedKernel made{"kernel" + std::to_string(kernels.size()), {}, *facts};
  SymbolTable::setSymbolName(SymbolTable::lookupSymbolIn(*module, kernel.getSymName()), made.symbol);
  auto object = compile(*module, level, options);
  if (!object)
    return object.takeError();
  made.object = std::move(*object);
  return &kernels.try_emplace(key, std::move(made)).first->second;
}

} // namespace heddle::cpu
