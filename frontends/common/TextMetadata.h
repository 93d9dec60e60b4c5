// Tokenizer metadata of a model file, and the member `text.bin` that the compiler makes of it.
#pragma once
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace heddle {

/// What a model file says about its tokenizer, in GGUF's terms (tokenizer.ggml.*). Strings are views of the
/// file. A reader of tokenizer.json fills the same fields.
struct TokenizerMetadata {
  llvm::StringRef model;        // "gpt2": byte-level BPE, "llama": SentencePiece, "bert": WordPiece
  llvm::StringRef preTokenizer; // of byte-level BPE; empty: the file names none
  std::vector<llvm::StringRef> tokens;
  std::vector<float> scores;           // as many as tokens, or none
  std::vector<int32_t> types;          // as many as tokens, or none: all normal
  std::vector<llvm::StringRef> merges; // "left right"
  std::optional<uint64_t> bos, eos, eot, eom, unk, sep, cls, pad, mask;
  std::optional<bool> addBos, addEos, addSpacePrefix;
  std::optional<bool> lowerCase, stripAccents; // of WordPiece; absent: yes, and as lowerCase
  llvm::StringRef chatTemplate;                // Jinja; empty: none
};

struct TextOptions {
  std::string chatTemplate; // --chat-template NAME; empty: by the text of the model's own template
};

struct TextMember {
  std::string bytes;                 // of text.bin
  std::vector<std::string> warnings; // one sentence each
  std::string chatTemplate;          // what was recorded: "chatml", ..., "none"
};

/// The error names all things that are wrong or unsupported, one a line.
llvm::Expected<TextMember> writeTextMember(const TokenizerMetadata &metadata,
                                           const TextOptions &options = {});

/// "chatml", "gemma", ...: what --chat-template takes.
std::vector<std::string> chatTemplateNames();

} // namespace heddle
