// From a model file to model-level IR: the one entrance of all frontends.
#pragma once
#include "frontends/common/ModelFiles.h"
#include "frontends/common/TextMetadata.h"
#include "ir/Heddle.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace heddle {

struct ImportOptions {
  int64_t maxContext = 0;                   // positions of a sequence; 0: the model's own, at most 4096
  int64_t maxSlots = 4;                     // sequences of a session
  int64_t maxRows = 512;                    // rows of one call
  uint64_t memoryLimit = uint64_t(1) << 30; // for tables of the reader, in bytes
  std::vector<std::string> allowedFolders;  // where links of files that the model names may lead
};

/// What is known about a model beside its graph.
struct ModelFacts {
  std::string name;         // from the file, escaped; the file's stem where it has none
  std::string architecture; // "llama", "bert", ...
  std::string entry;        // "step" or "encode"
  int64_t vocabulary = 0;
  int64_t contextLength = 0;                         // of the model
  int64_t maxContext = 0, maxSlots = 0, maxRows = 0; // of the module
};

struct ImportedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::shared_ptr<ModelFiles> files; // what `file N at OFFSET` of parameters refers to
  ModelFacts facts;
  std::optional<TokenizerMetadata> tokenizer; // views of `files`; nothing for models without text
};

/// Reads the model at `path` and writes its graph. An error is an InputError, whose exit code takeFailure()
/// gives; one that concerns unsupported features names all of them, one a line.
llvm::Expected<ImportedModel> importModel(mlir::MLIRContext &context, llvm::StringRef path,
                                          const ImportOptions &options = {});

} // namespace heddle
