#include "passes/TargetDescription.h"
#include <deque>

using namespace mlir::heddle;

static constexpr TargetDescription kTargets[] = {
#include "passes/targets/cpu.def"
#include "passes/targets/cuda.def"
#include "passes/targets/npu.def"
};

/// Of plug-ins. A deque, so that pointers stay.
static std::deque<TargetDescription> &added() {
  static std::deque<TargetDescription> targets;
  return targets;
}

bool mlir::heddle::registerTarget(const TargetDescription &description) {
  if (findTarget(description.name))
    return false;
  added().push_back(description);
  return true;
}

const TargetDescription *mlir::heddle::findTarget(llvm::StringRef name) {
  for (const TargetDescription &target : kTargets)
    if (target.name == name)
      return &target;
  for (const TargetDescription &target : added())
    if (target.name == name)
      return &target;
  return nullptr;
}

std::string mlir::heddle::targetNames() {
  std::string names;
  for (const TargetDescription &target : kTargets)
    names += (names.empty() ? "" : ", ") + target.name.str();
  for (const TargetDescription &target : added())
    names += ", " + target.name.str();
  return names;
}
