#include "frontends/gguf/GgufText.h"

#include "frontends/common/InputError.h"

using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

namespace heddle::gguf {

namespace {

/// Each member reads one key into `target`, which stays as it is when the key is missing.
class TokenizerKeys {
public:
  explicit TokenizerKeys(const File &file) : file(file) {}

  Error text(StringRef key, StringRef &target) {
    Expected<std::optional<StringRef>> value = file.stringValue(key);
    if (!value)
      return value.takeError();
    target = value->value_or(target);
    return Error::success();
  }

  Error flag(StringRef key, std::optional<bool> &target) {
    Expected<std::optional<bool>> value = file.boolValue(key);
    if (!value)
      return value.takeError();
    if (*value)
      target = *value;
    return Error::success();
  }

  Error tokenId(StringRef key, std::optional<uint64_t> &target) {
    constexpr uint64_t none = UINT32_MAX; // how some writers say that there is no such token
    const Value *value = file.find(key);
    if (value && value->type == ValueType::I32 && !value->isArray && elementAsInteger(*value, 0) == -1)
      return Error::success();
    Expected<std::optional<uint64_t>> id = file.unsignedValue(key);
    if (!id)
      return id.takeError();
    if (*id && **id != none)
      target = **id;
    return Error::success();
  }

  Error strings(StringRef key, std::vector<StringRef> &target) {
    Expected<const Value *> value = file.arrayValue(key, ValueType::String);
    if (!value)
      return value.takeError();
    if (!*value)
      return Error::success();
    target.reserve((*value)->count);
    StringWalk walk(**value);
    while (std::optional<StringRef> string = walk.next())
      target.push_back(*string);
    return Error::success();
  }

  Error floats(StringRef key, std::vector<float> &target) {
    Expected<const Value *> value = file.arrayValue(key, ValueType::F32);
    if (!value)
      return value.takeError();
    for (uint64_t i = 0; *value && i < (*value)->count; ++i)
      target.push_back(static_cast<float>(elementAsDouble(**value, i)));
    return Error::success();
  }

  Error integers(StringRef key, std::vector<int32_t> &target) {
    const Value *found = file.find(key);
    ValueType type = found && found->type == ValueType::U32 ? ValueType::U32 : ValueType::I32;
    Expected<const Value *> value = file.arrayValue(key, type);
    if (!value)
      return value.takeError();
    for (uint64_t i = 0; *value && i < (*value)->count; ++i)
      target.push_back(static_cast<int32_t>(elementAsInteger(**value, i)));
    return Error::success();
  }

private:
  const File &file;
};

} // namespace

Expected<std::optional<TokenizerMetadata>> readTokenizer(const File &file) {
  TokenizerKeys keys(file);
  TokenizerMetadata result;
  if (Error error = keys.text("tokenizer.ggml.model", result.model))
    return error;
  if (result.model.empty() || result.model == "none" || result.model == "no_vocab")
    return std::nullopt;
  std::optional<bool> removesWhitespace;
  Error errors[] = {
      keys.text("tokenizer.ggml.pre", result.preTokenizer),
      keys.strings("tokenizer.ggml.tokens", result.tokens),
      keys.floats("tokenizer.ggml.scores", result.scores),
      keys.integers("tokenizer.ggml.token_type", result.types),
      keys.strings("tokenizer.ggml.merges", result.merges),
      keys.tokenId("tokenizer.ggml.bos_token_id", result.bos),
      keys.tokenId("tokenizer.ggml.eos_token_id", result.eos),
      keys.tokenId("tokenizer.ggml.eot_token_id", result.eot),
      keys.tokenId("tokenizer.ggml.eom_token_id", result.eom),
      keys.tokenId("tokenizer.ggml.unknown_token_id", result.unk),
      keys.tokenId("tokenizer.ggml.separator_token_id", result.sep),
      keys.tokenId("tokenizer.ggml.seperator_token_id", result.sep), // the spelling of real files
      keys.tokenId("tokenizer.ggml.cls_token_id", result.cls),
      keys.tokenId("tokenizer.ggml.padding_token_id", result.pad),
      keys.tokenId("tokenizer.ggml.mask_token_id", result.mask),
      keys.flag("tokenizer.ggml.add_bos_token", result.addBos),
      keys.flag("tokenizer.ggml.add_eos_token", result.addEos),
      keys.flag("tokenizer.ggml.add_space_prefix", result.addSpacePrefix),
      keys.flag("tokenizer.ggml.remove_extra_whitespaces", removesWhitespace),
      keys.text("tokenizer.chat_template", result.chatTemplate),
  };
  Error all = Error::success();
  for (Error &error : errors)
    all = llvm::joinErrors(std::move(all), std::move(error));
  if (!all && removesWhitespace.value_or(false) && result.model == "llama")
    all = unsupportedInput(file.name() + ": is not supported: the tokenizer removes extra white space (metadata "
                                         "'tokenizer.ggml.remove_extra_whitespaces')");
  if (all)
    return all;
  return result;
}

} // namespace heddle::gguf
