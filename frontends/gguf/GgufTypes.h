// Type ids that GGUF files use for tensors, also those that Heddle cannot read: their sizes are needed to
// check a file.
#pragma once
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <optional>

namespace heddle::gguf {

struct TensorType {
  llvm::StringRef name;
  uint32_t blockElements;
  uint32_t blockBytes;
};

/// Nothing for ids that are unknown or were withdrawn.
std::optional<TensorType> tensorType(uint32_t id);

/// True for the ids that ggml once used and withdrew.
bool isWithdrawnType(uint32_t id);

} // namespace heddle::gguf
