// GGUF file -> model-level IR.
#pragma once
#include "frontends/Import.h"

namespace heddle::gguf {

/// importModel() for a file that starts with "GGUF".
llvm::Expected<ImportedModel> importGguf(mlir::MLIRContext &context, std::shared_ptr<InputFile> first,
                                         llvm::StringRef path, const ImportOptions &options);

} // namespace heddle::gguf
