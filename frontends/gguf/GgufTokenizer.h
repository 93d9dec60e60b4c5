// The tokenizer metadata of a GGUF file (tokenizer.*).
#pragma once
#include "frontends/common/TextMetadata.h"
#include "frontends/gguf/GgufFile.h"
#include <optional>

namespace heddle::gguf {

/// What `file` says about its tokenizer; nothing where it has none. Strings are views of the file.
llvm::Expected<std::optional<TokenizerMetadata>> readTokenizer(const File &file);

} // namespace heddle::gguf
