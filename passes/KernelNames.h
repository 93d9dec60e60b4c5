// Names of kernels: what they compute, in lower-case words, digits and '_' only, as they become symbols of
// machine code.
#pragma once
#include "ir/Heddle.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::heddle {

/// Describes the ops of a kernel: "rms_norm_quantize_act_i16_576", "linear_q4_1_i8_1536x576_silu_mul",
/// "attention_9x3x64".
std::string describeKernel(Family family, ArrayRef<Operation *> ops);

/// Hands out unique symbols of one module: the description, then with a number from 1 up.
class KernelNames {
public:
  explicit KernelNames(ModuleOp module);
  std::string unique(std::string name);

private:
  llvm::StringMap<unsigned> taken;
};

} // namespace mlir::heddle
