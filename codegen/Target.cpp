#include "codegen/Target.h"
#include "ir/Entries.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {

static std::vector<std::unique_ptr<Target>> &added() {
  static std::vector<std::unique_ptr<Target>> targets;
  return targets;
}

void registerCodeTarget(std::unique_ptr<Target> target) { added().push_back(std::move(target)); }

const Target *findCodeTarget(llvm::StringRef name) {
  static const std::unique_ptr<Target> targets[] = {makeCpuTarget(), makeCudaTarget(), makeNpuTarget("edge"),
                                                    makeNpuTarget("mobile")};
  for (const auto &target : targets)
    if (target->name() == name)
      return target.get();
  for (const auto &target : added())
    if (target->name() == name)
      return target.get();
  return nullptr;
}

std::vector<std::string> pluginTargets() {
  std::vector<std::string> names;
  for (const auto &target : added())
    names.push_back(target->name().str());
  return names;
}

KernelContext kernelContext(ModuleOp module) {
  KernelContext context;
  auto facts = module->getAttrOfType<DictionaryAttr>(kModelAttr);
  if (auto value = facts ? facts.getAs<IntegerAttr>("max_context") : IntegerAttr())
    context.maxContext = (value.getInt() + HEDDLE_PAGE_TOKENS - 1) / HEDDLE_PAGE_TOKENS * HEDDLE_PAGE_TOKENS;
  if (auto value = facts ? facts.getAs<IntegerAttr>("max_slots") : IntegerAttr())
    context.maxSlots = value.getInt();
  for (auto function : module.getOps<func::FuncOp>())
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (auto dims = function.getArgAttrOfType<ArrayAttr>(i, kDimsAttr))
        for (auto dim : dims.getAsRange<DimAttr>())
          context.maxRows = std::max(context.maxRows, dim.getMax());
  return context;
}

} // namespace heddle
