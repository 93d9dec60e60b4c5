// What calibration measured, as a compiled model tells it: the error of each weight.
#ifndef HEDDLE_TOOLS_QUANTIZATION_TABLE_H
#define HEDDLE_TOOLS_QUANTIZATION_TABLE_H

#include "llvm/Support/JSON.h"
#include <string>

namespace heddle::cli {

// "quantization" of a manifest as text; empty where it has none. The manifest may be a stranger's: what is
// not as expected is left out.
std::string quantizationTable(const llvm::json::Object &manifest);

} // namespace heddle::cli

#endif
