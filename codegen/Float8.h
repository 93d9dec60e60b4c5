// FP8 codes of weights as numbers, for generators of all targets.
#pragma once
#include "codegen/Emitter.h"
#include "ir/StorageFormat.h"

namespace heddle {

/// The bits of the f16 (i16) that a code of FP8 (i16) stands for, scalar or vector. Those of e4m3 are 256
/// times too small, which the packer puts into their scales.
Value halfOfF8(KernelEmitter &e, StorageFormat format, Value codes);

} // namespace heddle
