#include "codegen/Gaps.h"
#include "codegen/Target.h"
#include "ir/Heddle.h"
#include "ir/SourceNames.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {

/// Why there is no code for what is in `module`; nothing where there is.
static llvm::Expected<std::string> whyNot(const Target &target, ModuleOp module,
                                          const CompileOptions &options) {
  auto text = target.text(module, options, "kernels");
  if (text)
    return std::string();
  std::string why;
  llvm::Error rest =
      llvm::handleErrors(text.takeError(), [&](std::unique_ptr<llvm::StringError> error) -> llvm::Error {
        if (error->convertToErrorCode() != std::errc::not_supported)
          return llvm::Error(std::move(error));
        why = error->getMessage();
        return llvm::Error::success();
      });
  if (rest)
    return std::move(rest);
  return why;
}

llvm::Expected<std::vector<Gap>> findGaps(ModuleOp module, const CompileOptions &options) {
  if (auto error = runPasses(module, options))
    return std::move(error);
  const Target &target = *findCodeTarget(options.target);
  std::vector<Gap> gaps;
  auto all = whyNot(target, module, options);
  if (!all)
    return all.takeError();
  if (all->empty())
    return gaps;
  // A generator stops at the first kernel that it cannot make: each gets a module of its own.
  for (auto kernel : module.getOps<KernelOp>()) {
    OwningOpRef<ModuleOp> alone(module.clone());
    for (auto other : llvm::make_early_inc_range(alone->getOps<KernelOp>()))
      if (other.getSymName() != kernel.getSymName())
        other.erase();
    auto why = whyNot(target, *alone, options);
    if (!why)
      return why.takeError();
    if (why->empty())
      continue;
    Gap gap{kernel.getSymName().str(), *why, {}};
    module.walk([&](LaunchOp launch) {
      std::string source = sourceNames(launch.getLoc());
      if (launch.getKernel() == kernel.getSymName() && !llvm::is_contained(gap.sources, source))
        gap.sources.push_back(source);
    });
    gaps.push_back(std::move(gap));
  }
  return gaps;
}

} // namespace heddle
