// Gates of attention heads from a file beside the model (docs/head-gating.md).
#pragma once
#include "frontends/Import.h"

namespace heddle {

/// Adds the tensors of the gate file at `path` to the model: `NODE.gate.weight`, `.bias` and `.skip` become
/// parameters that refer to it, `.keep` a constant. It must have been made for this very model (its metadata
/// `model_sha256`), and name attentions that the model has.
llvm::Error addGates(ImportedModel &model, llvm::StringRef path);

} // namespace heddle
