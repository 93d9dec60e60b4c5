// Places in the scratchpad, given out from its start.
#pragma once
#include "codegen/npu/Emit.h"
#include "llvm/Support/MathExtras.h"

namespace heddle::npu {

class Scratch {
public:
  explicit Scratch(const Machine &machine)
      : bank(machine.bank_bytes), limit(int64_t(machine.bank_bytes) * machine.scratchpad_banks) {}

  int64_t take(int64_t bytes) {
    int64_t place = used;
    used += int64_t(llvm::alignTo(bytes, 64));
    return place;
  }
  /// What follows shares no bank with what was before: two queues may work on both at once.
  void nextBank() { used = int64_t(llvm::alignTo(used, bank)); }
  bool fits() const { return used <= limit; }

private:
  int64_t bank, limit, used = 0;
};

} // namespace heddle::npu
