// PTX to machine code by NVIDIA's assembler, where it is installed.
#pragma once
#include "llvm/Support/Error.h"
#include <string>

namespace heddle::cuda {

/// The absolute path of ptxas: `$HEDDLE_PTXAS` (empty: none), or the first of the PATH; empty where there is
/// none.
std::string findPtxas();

/// Machine code for sm_80 by the assembler at `ptxas`. Files are made in a folder of this user alone, which
/// is removed.
llvm::Expected<std::string> assemble(llvm::StringRef ptx, const std::string &ptxas);

} // namespace heddle::cuda
