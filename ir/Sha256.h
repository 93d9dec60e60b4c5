// SHA-256 as llvm::SHA256, five times as fast where the processor has instructions for it. Free of MLIR.
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/SHA256.h"
#include <array>

namespace heddle {

class Sha256 {
public:
  Sha256();
  void update(llvm::ArrayRef<uint8_t> data);
  /// The digest; no call may follow.
  std::array<uint8_t, 32> final();

private:
  llvm::SHA256 portable; // does all the work where there are no instructions
  bool instructions;
  std::array<uint32_t, 8> state;
  uint64_t length = 0;
  uint8_t block[64];
};

} // namespace heddle
