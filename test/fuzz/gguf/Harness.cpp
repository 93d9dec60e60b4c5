// Feeds arbitrary bytes to everything that reads a GGUF file before a graph is built.
#include "frontends/gguf/GgufConfig.h"
#include "frontends/gguf/GgufFile.h"
#include "frontends/gguf/GgufTokenizer.h"

using namespace heddle;

/// Reads every byte of every element, so that a view that leaves the file is found.
static uint64_t touch(const gguf::Value &value) {
  uint64_t sum = value.key.size();
  if (value.isArray && value.type == gguf::ValueType::String) {
    gguf::StringWalk walk(value);
    while (std::optional<llvm::StringRef> string = walk.next())
      for (char c : *string)
        sum += static_cast<uint8_t>(c);
    return sum;
  }
  for (uint8_t byte : value.bytes)
    sum += byte;
  return sum;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  gguf::ReadOptions options;
  options.memoryLimit = 64 << 20;
  // An empty path: other parts of a split model are never looked for.
  llvm::Expected<gguf::File> file = gguf::File::read(InputFile::copyOf({data, size}, "fuzz"), "", options);
  if (!file) {
    llvm::consumeError(file.takeError());
    return 0;
  }
  volatile uint64_t sum = 0;
  for (const gguf::Value &value : file->metadata())
    sum = sum + touch(value);
  for (const gguf::Tensor &tensor : file->tensors()) {
    llvm::ArrayRef<uint8_t> bytes = file->files()[tensor.file]->bytes();
    if (tensor.offset > bytes.size() || tensor.bytes > bytes.size() - tensor.offset)
      __builtin_trap();
    if (tensor.bytes)
      sum = sum + bytes[tensor.offset] + bytes[tensor.offset + tensor.bytes - 1];
  }
  std::vector<std::string> unsupported;
  if (llvm::Expected<gguf::ModelConfig> config = gguf::readConfig(*file, unsupported); !config)
    llvm::consumeError(config.takeError());
  if (llvm::Expected<std::optional<TokenizerMetadata>> text = gguf::readTokenizer(*file); !text)
    llvm::consumeError(text.takeError());
  return 0;
}
