#include "codegen/KernelOperands.h"
#include "mlir/IR/BuiltinOps.h"

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

llvm::StringRef launchRows(KernelOp kernel) {
  llvm::StringRef rows;
  bool agree = true;
  kernel->getParentOfType<ModuleOp>().walk([&](LaunchOp launch) {
    if (launch.getKernel() != kernel.getSymName())
      return;
    if (!rows.empty() && rows != launch.getRows())
      agree = false;
    rows = launch.getRows();
  });
  return agree ? rows : llvm::StringRef();
}

} // namespace heddle
