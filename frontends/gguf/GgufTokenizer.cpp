#include "frontends/gguf/GgufTokenizer.h"
#include "frontends/common/InputError.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace heddle::gguf {
namespace {

/// Reads values of a file one after the other and gathers what is wrong with them.
class TokenizerReader {
public:
  explicit TokenizerReader(const File &file) : file(file) {}

  /// A token id. Some writers say -1, in 32 bits, for a token that does not exist.
  void read(StringRef key, std::optional<uint64_t> &out) {
    const Value *value = file.find(key);
    bool isSigned32 = value && !value->isArray && value->type == ValueType::I32;
    if (isSigned32 && elementAsInteger(*value, 0) == -1)
      return;
    take(file.unsignedValue(key), out);
    if (out == UINT32_MAX)
      out.reset();
  }
  void read(StringRef key, std::optional<bool> &out) { take(file.boolValue(key), out); }
  void read(StringRef key, StringRef &out) {
    std::optional<StringRef> value;
    take(file.stringValue(key), value);
    out = value.value_or("");
  }
  void read(StringRef key, std::vector<StringRef> &out) {
    if (const Value *array = take(file.arrayValue(key, ValueType::String))) {
      StringWalk walk(*array);
      while (auto text = walk.next())
        out.push_back(*text);
    }
  }
  void read(StringRef key, std::vector<float> &out) {
    if (const Value *array = take(file.arrayValue(key, ValueType::F32)))
      for (uint64_t i = 0; i < array->count; ++i)
        out.push_back(static_cast<float>(elementAsDouble(*array, i)));
  }
  void read(StringRef key, std::vector<int32_t> &out) {
    if (const Value *array = take(file.arrayValue(key, ValueType::I32)))
      for (uint64_t i = 0; i < array->count; ++i)
        out.push_back(static_cast<int32_t>(elementAsInteger(*array, i)));
  }

  Error finish() { return problems.empty() ? Error::success() : invalidInput(join(problems, "\n")); }

private:
  template <typename T> void take(Expected<std::optional<T>> value, std::optional<T> &out) {
    if (value)
      out = *value;
    else
      problems.push_back(takeFailure(value.takeError()).message);
  }
  const Value *take(Expected<const Value *> value) {
    if (value)
      return *value;
    problems.push_back(takeFailure(value.takeError()).message);
    return nullptr;
  }

  const File &file;
  std::vector<std::string> problems;
};

} // namespace

Expected<std::optional<TokenizerMetadata>> readTokenizer(const File &file) {
  TokenizerMetadata meta;
  TokenizerReader reader(file);
  reader.read("tokenizer.ggml.model", meta.model);
  if (meta.model.empty() || meta.model == "none" || meta.model == "no_vocab") {
    if (Error error = reader.finish())
      return std::move(error);
    return std::nullopt;
  }
  reader.read("tokenizer.ggml.pre", meta.preTokenizer);
  reader.read("tokenizer.ggml.tokens", meta.tokens);
  reader.read("tokenizer.ggml.scores", meta.scores);
  reader.read("tokenizer.ggml.token_type", meta.types);
  reader.read("tokenizer.ggml.merges", meta.merges);
  reader.read("tokenizer.ggml.bos_token_id", meta.bos);
  reader.read("tokenizer.ggml.eos_token_id", meta.eos);
  reader.read("tokenizer.ggml.eot_token_id", meta.eot);
  reader.read("tokenizer.ggml.eom_token_id", meta.eom);
  reader.read("tokenizer.ggml.unknown_token_id", meta.unk);
  // Writers spell it "seperator"; the specification does not.
  reader.read("tokenizer.ggml.seperator_token_id", meta.sep);
  if (!meta.sep)
    reader.read("tokenizer.ggml.separator_token_id", meta.sep);
  reader.read("tokenizer.ggml.cls_token_id", meta.cls);
  reader.read("tokenizer.ggml.padding_token_id", meta.pad);
  reader.read("tokenizer.ggml.mask_token_id", meta.mask);
  reader.read("tokenizer.ggml.add_bos_token", meta.addBos);
  reader.read("tokenizer.ggml.add_eos_token", meta.addEos);
  reader.read("tokenizer.ggml.add_space_prefix", meta.addSpacePrefix);
  reader.read("tokenizer.ggml.normalizer.lowercase", meta.lowerCase);
  reader.read("tokenizer.ggml.normalizer.strip_accents", meta.stripAccents);
  reader.read("tokenizer.chat_template", meta.chatTemplate);
  if (Error error = reader.finish())
    return std::move(error);
  return meta;
}

} // namespace heddle::gguf
