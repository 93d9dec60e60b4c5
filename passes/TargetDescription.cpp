#include "passes/TargetDescription.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir::heddle;

static constexpr TargetDescription kTargets[] = {
#include "passes/targets/cpu.def"
#include "passes/targets/cuda.def"
#include "passes/targets/npu.def"
};

const TargetDescription *mlir::heddle::findTarget(llvm::StringRef name) {
  for (const TargetDescription &target : kTargets)
    if (target.name == name)
      return &target;
  return nullptr;
}

std::string mlir::heddle::targetNames() {
  return llvm::join(llvm::map_range(kTargets, [](const TargetDescription &target) { return target.name; }),
                    ", ");
}
