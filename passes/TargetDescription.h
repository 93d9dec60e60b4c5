// What target-independent passes know about a target. The numbers are in passes/targets/NAME.def.
#pragma once
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>

namespace mlir::heddle {

struct TargetDescription {
  llvm::StringRef name;
  int64_t level2Bytes = 0;
  int64_t maxProducts = 1;
  /// Columns of the matrix unit that weights are packed for and whose activations have one scale a row; 0:
  /// none.
  int64_t arrayColumns = 0;
  /// Bytes of rows that a kernel of several products can keep on the chip between them; 0: it cannot.
  int64_t chipBytes = 0;
};

/// Makes a target of a plug-in known. False: its name is taken.
bool registerTarget(const TargetDescription &description);

/// The description of `name`, or null.
const TargetDescription *findTarget(llvm::StringRef name);

/// All names, for messages: "cpu, cuda, ...".
std::string targetNames();

} // namespace mlir::heddle
