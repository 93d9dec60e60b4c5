// The tokenizer that a GGUF file describes.
#pragma once
#include "frontends/common/TextMetadata.h"
#include "frontends/gguf/GgufFile.h"

namespace heddle::gguf {

/// The file's tokenizer.* metadata, as views of the file; nothing when it has no tokenizer. Only types are checked here: what
/// the values mean is the concern of writeTextMember().
llvm::Expected<std::optional<TokenizerMetadata>> readTokenizer(const File &file);

} // namespace heddle::gguf
