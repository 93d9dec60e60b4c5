#include "frontends/gguf/GgufConfig.h"

#include "frontends/common/InputError.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>
#include <cstdio>

using llvm::StringRef;
using llvm::Twine;

namespace heddle::gguf {

// Far above any model, small enough that no product of a few of them overflows.
static constexpr int64_t kMostLayers = 1024;
static constexpr int64_t kMostHeads = 1024;
static constexpr int64_t kMostWidth = 1 << 20;
static constexpr int64_t kMostHeadWidth = 1 << 13;
static constexpr int64_t kMostTokens = 1 << 24;
static constexpr int64_t kMostContext = 1 << 28;

static std::string shown(double number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", number);
  return text;
}

namespace {

/// Reads keys of one architecture and collects what is wrong with them.
class Settings {
public:
  Settings(const File &file, StringRef architecture) : file(file), architecture(architecture) {}

  std::string key(StringRef name) const { return (architecture + "." + name).str(); }
  bool has(StringRef name) const { return file.find(key(name)); }

  /// An integer in [least, most]; the key may be missing when there is a fallback.
  int64_t count(StringRef name, int64_t least, int64_t most, std::optional<int64_t> fallback = std::nullopt) {
    const Value *value = file.find(key(name));
    if (!value && fallback)
      return *fallback;
    if (value && value->isArray)
      return uniformCount(*value, name, least, most);
    std::optional<uint64_t> number = take(file.unsignedValue(key(name)));
    if (!number)
      return missing(name, value, ("an integer from " + Twine(least) + " to " + Twine(most)).str(), least);
    if (*number >= static_cast<uint64_t>(least) && *number <= static_cast<uint64_t>(most))
      return static_cast<int64_t>(*number);
    problem("metadata '" + key(name) + "' is " + std::to_string(*number) + ", expected " +
            std::to_string(least) + " to " + std::to_string(most));
    return least;
  }

  /// A float with least <= value <= most.
  double real(StringRef name, double least, double most, std::optional<double> fallback = std::nullopt) {
    const Value *value = file.find(key(name));
    if (!value && fallback)
      return *fallback;
    std::string range = shown(least) + " to " + shown(most);
    std::optional<double> number = take(file.floatValue(key(name)));
    if (!number)
      return missing(name, value, "a float from " + range, 1.0);
    if (*number >= least && *number <= most) // false for NaN
      return *number;
    problem("metadata '" + key(name) + "' is " + shown(*number) + ", expected " + range);
    return 1.0;
  }

  StringRef text(StringRef name) {
    std::optional<StringRef> result = take(file.stringValue(key(name)));
    return result.value_or("");
  }

  /// The value of an option that is off when missing or false.
  bool flag(StringRef name) { return take(file.boolValue(key(name))).value_or(false); }

  /// A relation between values that were read; says nothing when some of them were already wrong.
  void require(bool holds, std::string message) {
    if (!holds && problems.empty())
      problem(std::move(message));
  }

  void problem(std::string message) { problems.push_back(file.name().str() + ": " + message); }
  void unsupported(std::string feature) { unsupportedFeatures.push_back(std::move(feature)); }

  const File &file;
  std::vector<std::string> problems, unsupportedFeatures;

private:
  /// The result of a typed access; an error becomes a problem.
  template <typename T> std::optional<T> take(llvm::Expected<std::optional<T>> result) {
    if (result)
      return *result;
    problems.push_back(takeFailure(result.takeError()).message);
    return std::nullopt;
  }

  template <typename T>
  T missing(StringRef name, const Value *value, const std::string &expected, T substitute) {
    if (!value) // otherwise take() has said what is wrong
      problem("metadata '" + key(name) + "' is missing, expected " + expected);
    return substitute;
  }

  /// Some files give a value for every layer; graphs here have one for all.
  int64_t uniformCount(const Value &value, StringRef name, int64_t least, int64_t most) {
    if (value.count == 0 || value.type == ValueType::String || value.type == ValueType::F32 ||
        value.type == ValueType::F64) {
      problem("metadata '" + key(name) + "' is a " + value.describe() + " of " + std::to_string(value.count) +
              ", expected integers");
      return least;
    }
    int64_t first = elementAsInteger(value, 0);
    for (uint64_t i = 1; i < value.count; ++i)
      if (elementAsInteger(value, i) != first) {
        unsupported("metadata '" + key(name) + "' differs between layers; expected one value for all");
        return least;
      }
    if (first >= least && first <= most)
      return first;
    problem("metadata '" + key(name) + "' is " + std::to_string(first) + ", expected " +
            std::to_string(least) + " to " + std::to_string(most));
    return least;
  }

  std::string architecture;
};

/// The tokens that the embedding has rows for. Everything else that counts tokens has to agree.
int64_t readVocabulary(Settings &settings) {
  const File &file = settings.file;
  const Tensor *table = file.findTensor("token_embd.weight");
  if (!table || table->shape.size() != 2 || table->shape[0] > kMostTokens)
    return 1; // the check of the tensors says what is wrong
  int64_t rows = table->shape[0];
  auto agree = [&](StringRef what, uint64_t found) {
    if (found != static_cast<uint64_t>(rows))
      settings.problem((what + " is " + Twine(found) + ", expected " + Twine(rows) +
                        ", the rows of tensor 'token_embd.weight'")
                           .str());
  };
  if (settings.has("vocab_size"))
    agree("metadata '" + settings.key("vocab_size") + "'", settings.count("vocab_size", 1, kMostTokens));
  if (const Value *tokens = file.find("tokenizer.ggml.tokens"); tokens && tokens->isArray)
    agree("the number of strings of metadata 'tokenizer.ggml.tokens'", tokens->count);
  return rows;
}

/// Features that would change the numbers if they were ignored.
void refuseFeatures(Settings &settings) {
  for (StringRef name : {"expert_count", "expert_used_count", "nextn_predict_layers",
                         "attention.kv_lora_rank", "attention.q_lora_rank", "attention.key_length_mla"})
    if (settings.has(name) && settings.count(name, 0, INT32_MAX) != 0)
      settings.unsupported("metadata '" + settings.key(name) +
                           "' asks for a feature that is not supported yet");
  for (StringRef name : {"attention.scale", "attention.clamp_kqv", "attention.max_alibi_bias",
                         "embedding_scale", "logit_scale", "residual_scale"})
    if (settings.has(name) && settings.real(name, -1e30, 1e30) != 0)
      settings.unsupported("metadata '" + settings.key(name) +
                           "' asks for a feature that is not supported yet");
  if (settings.flag("use_parallel_residual"))
    settings.unsupported("metadata '" + settings.key("use_parallel_residual") +
                         "' asks for a feature that is not supported yet");
}

void readRopeScaling(Settings &settings, DecoderConfig &config) {
  StringRef type = settings.text("rope.scaling.type");
  double factor =
      settings.real("rope.scaling.factor", 1e-6, 1e6, settings.real("rope.scale_linear", 1e-6, 1e6, 1.0));
  if (type.empty() || type == "none" || type == "linear") {
    if (type != "none")
      config.ropeScale = 1 / factor;
    return;
  }
  settings.unsupported("RoPE scaling of type " + quoted(type) + " (metadata '" +
                       settings.key("rope.scaling.type") + "'); expected 'none' or 'linear'");
}

void readGemma3(Settings &settings, DecoderConfig &config) {
  config.activation = mlir::heddle::UnaryKind::GeluTanh;
  config.outputNorms = true;
  config.embeddingScale = std::sqrt(static_cast<float>(config.hidden));
  config.window = settings.count("attention.sliding_window", 1, kMostContext);
  config.windowPattern = settings.count("attention.sliding_window_pattern", 1, kMostLayers, 6);
  config.localRopeBase = settings.real("rope.freq_base_swa", 1, 1e12, 10000.0);
  config.attentionSoftcap = static_cast<float>(settings.real("attn_logit_softcapping", 0, 1e6, 0.0));
  config.logitSoftcap = static_cast<float>(settings.real("final_logit_softcapping", 0, 1e6, 0.0));
  if (config.layers == 62) // the 27B model scales by the width of its hidden state instead of its heads
    config.attentionScale = static_cast<float>(
        1 / std::sqrt(static_cast<double>(config.hidden) / static_cast<double>(config.heads)));
}

/// A window on every layer, as the first Mistral models have it. One as wide as the context hides nothing.
void readWindow(Settings &settings, DecoderConfig &config) {
  int64_t window = settings.count("attention.sliding_window", 0, kMostContext, 0);
  if (window >= config.contextLength)
    return;
  config.window = window;
  config.localRopeBase = config.ropeBase;
  if (window != 0 && config.ropeScale != 1)
    settings.unsupported("metadata '" + settings.key("attention.sliding_window") +
                         "' together with RoPE scaling");
}

/// What every architecture states.
template <typename Config> void readSizes(Settings &settings, Config &config) {
  config.vocabulary = readVocabulary(settings);
  config.layers = settings.count("block_count", 1, kMostLayers);
  config.hidden = settings.count("embedding_length", 1, kMostWidth);
  config.intermediate = settings.count("feed_forward_length", 1, kMostWidth);
  config.heads = settings.count("attention.head_count", 1, kMostHeads);
  config.contextLength = settings.count("context_length", 1, kMostContext);
}

DecoderConfig readDecoder(Settings &settings, StringRef architecture) {
  DecoderConfig config;
  readSizes(settings, config);
  config.kvHeads = settings.count("attention.head_count_kv", 1, kMostHeads, config.heads);
  settings.require(config.heads % config.kvHeads == 0, "metadata '" + settings.key("attention.head_count") +
                                                           "' is " + std::to_string(config.heads) +
                                                           ", expected a multiple of '" +
                                                           settings.key("attention.head_count_kv") + "' (" +
                                                           std::to_string(config.kvHeads) + ")");
  settings.require(settings.has("attention.key_length") || config.hidden % config.heads == 0,
                   "metadata '" + settings.key("embedding_length") + "' is " + std::to_string(config.hidden) +
                       ", expected a multiple of '" + settings.key("attention.head_count") + "' (" +
                       std::to_string(config.heads) + ")");
  int64_t headDim = std::max<int64_t>(config.hidden / config.heads, 1);
  config.keyDim = settings.count("attention.key_length", 1, kMostHeadWidth, headDim);
  config.valueDim = settings.count("attention.value_length", 1, kMostHeadWidth, headDim);
  config.ropeDim = settings.count("rope.dimension_count", 2, kMostHeadWidth, config.keyDim);
  settings.require(
      config.ropeDim % 2 == 0 && config.ropeDim <= config.keyDim,
      "metadata '" + settings.key("rope.dimension_count") + "' is " + std::to_string(config.ropeDim) +
          ", expected an even number up to the width of a head (" + std::to_string(config.keyDim) + ")");
  config.epsilon = static_cast<float>(settings.real("attention.layer_norm_rms_epsilon", 1e-12, 0.1));
  config.ropeBase = settings.real("rope.freq_base", 1, 1e12, 10000.0);
  config.attentionScale = static_cast<float>(1 / std::sqrt(static_cast<double>(config.keyDim)));
  // The converter reorders rows of llama's query and key weights so that neighbours rotate together.
  bool isLlama = architecture == "llama";
  config.pairing = isLlama ? mlir::heddle::Pairing::Interleaved : mlir::heddle::Pairing::Half;
  config.headNorms = architecture == "qwen3" || architecture == "gemma3";
  readRopeScaling(settings, config);
  if (architecture == "gemma3")
    readGemma3(settings, config);
  else
    readWindow(settings, config);
  return config;
}

EncoderConfig readBert(Settings &settings) {
  EncoderConfig config;
  readSizes(settings, config);
  config.epsilon = static_cast<float>(settings.real("attention.layer_norm_epsilon", 1e-15, 0.1));
  settings.require(config.hidden % config.heads == 0,
                   "metadata '" + settings.key("embedding_length") + "' is " + std::to_string(config.hidden) +
                       ", expected a multiple of '" + settings.key("attention.head_count") + "' (" +
                       std::to_string(config.heads) + ")");
  const Tensor *types = settings.file.findTensor("token_types.weight");
  config.tokenTypes = types && types->shape.size() == 2 ? types->shape[0] : 2;
  if (settings.flag("attention.causal"))
    settings.unsupported("metadata '" + settings.key("attention.causal") + "' is true; expected an encoder");
  switch (settings.count("pooling_type", 0, 4, 1)) {
  case 1:
    config.pooling = mlir::heddle::PoolKind::Mean;
    break;
  case 2:
    config.pooling = mlir::heddle::PoolKind::First;
    break;
  case 3:
    config.pooling = mlir::heddle::PoolKind::Last;
    break;
  default:
    settings.unsupported(
        "metadata '" + settings.key("pooling_type") +
        "' asks for no pooling or for ranking; expected 1 (mean), 2 (first token) or 3 (last token)");
  }
  return config;
}

} // namespace

llvm::Expected<ModelConfig> readConfig(const File &file, std::vector<std::string> &unsupported) {
  llvm::Expected<std::optional<StringRef>> architecture = file.stringValue("general.architecture");
  if (!architecture)
    return architecture.takeError();
  if (!*architecture)
    return invalidInput(file.name() + ": metadata 'general.architecture' is missing, expected a string");
  Settings settings(file, **architecture);
  ModelConfig config;
  auto kind = llvm::StringSwitch<int>(**architecture)
                  .Cases("llama", "gemma3", "qwen2", "qwen3", 1)
                  .Case("bert", 2)
                  .Default(0);
  if (kind == 1)
    config = readDecoder(settings, **architecture);
  else if (kind == 2)
    config = readBert(settings);
  else
    settings.unsupported("architecture " + quoted(**architecture) +
                         "; known architectures: bert, gemma3, llama, qwen2, qwen3");
  if (kind != 0)
    refuseFeatures(settings);
  if (!settings.problems.empty())
    return invalidInput(llvm::join(settings.problems, "\n"));
  llvm::append_range(unsupported, settings.unsupportedFeatures);
  return config;
}

} // namespace heddle::gguf
