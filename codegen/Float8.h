// FP8 codes of weights, keys and values as numbers, for generators of all targets.
#pragma once
#include "codegen/Emitter.h"
#include "ir/StorageFormat.h"

namespace heddle {

/// The bits of the f16 (i16) that a code of FP8 stands for, scalar or vector. The code is sign-extended to
/// i16. Numbers of e4m3 are 256 times too small, which their scales make up for.
Value halfOfF8(KernelEmitter &e, StorageFormat format, Value codes);

} // namespace heddle
