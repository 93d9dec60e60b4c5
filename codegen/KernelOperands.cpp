#include "codegen/KernelOperands.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {

llvm::SmallVector<KernelOperand> kernelOperands(KernelOp kernel) {
  llvm::SmallVector<KernelOperand> operands;
  Block &body = kernel.getBody().front();
  if (kernel.getFamily() == Family::Contraction) {
    operands.push_back({KernelOperand::Result, 0});
    llvm::SmallVector<unsigned> first;
    auto take = [&](Value value) {
      first.push_back(cast<BlockArgument>(value).getArgNumber());
      operands.push_back({KernelOperand::Argument, first.back()});
    };
    for (auto linear : body.getOps<LinearOp>()) {
      if (first.empty())
        take(linear.getInput());
      take(linear.getWeight());
    }
    for (BlockArgument argument : body.getArguments())
      if (!llvm::is_contained(first, argument.getArgNumber()))
        operands.push_back({KernelOperand::Argument, argument.getArgNumber()});
    return operands;
  }
  for (BlockArgument argument : body.getArguments()) {
    operands.push_back({KernelOperand::Argument, argument.getArgNumber()});
    if (isa<KvCacheType>(argument.getType()))
      operands.push_back({KernelOperand::PageTable, argument.getArgNumber()});
  }
  for (unsigned i = 0; i < body.getTerminator()->getNumOperands(); ++i)
    operands.push_back({KernelOperand::Result, i});
  if (kernel.getFamily() == Family::Attention)
    operands.push_back({KernelOperand::Work});
  return operands;
}

llvm::StringMap<llvm::StringRef> launchRows(ModuleOp module) {
  llvm::StringMap<llvm::StringRef> rows;
  module.walk([&](LaunchOp launch) {
    auto [known, isNew] = rows.try_emplace(launch.getKernel(), launch.getRows());
    if (!isNew && known->second != launch.getRows())
      known->second = "";
  });
  return rows;
}

} // namespace heddle
