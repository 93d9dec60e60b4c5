// Hyperparameters of a GGUF file's metadata, checked before anything is built from them.
#pragma once
#include "frontends/common/Decoder.h"
#include "frontends/common/Encoder.h"
#include "frontends/gguf/GgufFile.h"
#include <variant>

namespace heddle::gguf {

using ModelConfig = std::variant<DecoderConfig, EncoderConfig>;

/// The configuration of `file`. Wrong values are an error that names all of them; what is well formed but not
/// supported is appended to `unsupported`, and the result is then of no use.
llvm::Expected<ModelConfig> readConfig(const File &file, std::vector<std::string> &unsupported);

} // namespace heddle::gguf
