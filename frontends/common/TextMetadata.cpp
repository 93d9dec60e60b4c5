#include "frontends/common/TextMetadata.h"
#include "frontends/common/InputError.h"
#include "frontends/common/UnicodeTables.h"
#include "heddle/text_format.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>
#include <cstring>

using namespace llvm;

namespace heddle {
namespace {

constexpr StringLiteral SpaceMark = "\xe2\x96\x81"; // U+2581
constexpr size_t MaxTokens = 1u << 24, MaxTokenBytes = 1u << 16;

// Pre-tokenizers by the names that GGUF files give them.
struct SplitName {
  StringLiteral name;
  heddle_text_split split;
};
constexpr SplitName SplitNames[] = {
    {"default", HEDDLE_TEXT_SPLIT_DEFAULT},  {"gpt-2", HEDDLE_TEXT_SPLIT_GPT2},
    {"phi-2", HEDDLE_TEXT_SPLIT_GPT2},       {"mpt", HEDDLE_TEXT_SPLIT_GPT2},
    {"olmo", HEDDLE_TEXT_SPLIT_GPT2},        {"smollm", HEDDLE_TEXT_SPLIT_DIGITS},
    {"starcoder", HEDDLE_TEXT_SPLIT_DIGITS}, {"refact", HEDDLE_TEXT_SPLIT_DIGITS},
    {"command-r", HEDDLE_TEXT_SPLIT_DIGITS}, {"codeshell", HEDDLE_TEXT_SPLIT_DIGITS},
    {"llama-bpe", HEDDLE_TEXT_SPLIT_LLAMA3}, {"llama3", HEDDLE_TEXT_SPLIT_LLAMA3},
    {"llama-v3", HEDDLE_TEXT_SPLIT_LLAMA3},  {"falcon3", HEDDLE_TEXT_SPLIT_LLAMA3},
    {"qwen2", HEDDLE_TEXT_SPLIT_QWEN2},      {"deepseek-r1-qwen", HEDDLE_TEXT_SPLIT_QWEN2},
    {"stablelm2", HEDDLE_TEXT_SPLIT_QWEN2},  {"deepseek-v3", HEDDLE_TEXT_SPLIT_DEEPSEEK3},
};

// Tokens that end generation whatever the file says, and more that are control tokens whatever their type
// says.
constexpr StringLiteral StopNames[] = {
    "<|eot_id|>",         "<|im_end|>",           "<|end|>", "<end_of_turn>", "<|endoftext|>",
    "<|eom_id|>",         "<|end_of_text|>",      "<EOT>",   "_<EOT>",        "[EOT]",
    "<end_of_utterance>", "<｜end▁of▁sentence｜>"};
constexpr StringLiteral ControlNames[] = {
    "</s>",         "<eos>",          "[EOS]",        "<|return|>",     "<|call|>",      "<|fim_prefix|>",
    "<fim-prefix>", "<fim_prefix>",   "<PRE>",        "<|fim_suffix|>", "<fim-suffix>",  "<fim_suffix>",
    "<SUF>",        "<|fim_middle|>", "<fim-middle>", "<fim_middle>",   "<MID>",         "<|fim_pad|>",
    "<fim-pad>",    "<fim_pad>",      "<PAD>",        "<|fim_repo|>",   "<|repo_name|>", "<fim-repo>",
    "<REPO>",       "<reponame>",     "<|file_sep|>"};

struct ChatTemplate {
  heddle_text_chat_template id;
  StringLiteral name;
  SmallVector<StringLiteral, 4> controls; // tokens that its literals need
};
ArrayRef<ChatTemplate> chatTemplates() {
  static const ChatTemplate all[] = {
      {HEDDLE_TEXT_CHAT_NONE, "none", {}},
      {HEDDLE_TEXT_CHAT_CHATML, "chatml", {"<|im_start|>", "<|im_end|>"}},
      {HEDDLE_TEXT_CHAT_GEMMA, "gemma", {"<start_of_turn>", "<end_of_turn>"}},
      {HEDDLE_TEXT_CHAT_LLAMA3, "llama-3", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
      {HEDDLE_TEXT_CHAT_DEEPSEEK, "deepseek", {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"}},
      {HEDDLE_TEXT_CHAT_DEEPSEEK_V31,
       "deepseek-v3.1",
       {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "</think>"}},
  };
  return all;
}

// System texts that ChatML templates put where a chat has none. The longer of two that begin alike comes
// first.
constexpr StringLiteral DefaultSystems[] = {
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "You are a helpful assistant.",
};

bool isControl(uint8_t type) {
  type &= HEDDLE_TEXT_TOKEN_TYPE_MASK;
  return type == HEDDLE_TEXT_TOKEN_CONTROL || type == HEDDLE_TEXT_TOKEN_UNKNOWN;
}

/// The 256 code points that byte-level BPE writes bytes as.
struct ByteAlphabet {
  ByteAlphabet() {
    uint32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      bool shown = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
      uint32_t code = shown ? byte : next++;
      toCode[byte] = code;
      toByte[code] = static_cast<uint8_t>(byte);
    }
  }
  std::string spell(uint8_t byte) const {
    uint32_t code = toCode[byte];
    if (code < 0x80)
      return std::string(1, static_cast<char>(code));
    return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
  }
  /// The bytes that `text` stands for; nothing where it has a character outside of the alphabet.
  std::optional<std::string> decode(StringRef text) const {
    std::string bytes;
    for (size_t i = 0; i < text.size(); ++i) {
      uint32_t code = static_cast<uint8_t>(text[i]);
      if (code >= 0x80) {
        if ((code & 0xe0) != 0xc0 || i + 1 == text.size())
          return std::nullopt;
        code = (code & 0x1f) << 6 | (static_cast<uint8_t>(text[++i]) & 0x3f);
      }
      auto byte = toByte.find(code);
      if (byte == toByte.end())
        return std::nullopt;
      bytes.push_back(static_cast<char>(byte->second));
    }
    return bytes;
  }

private:
  uint32_t toCode[256];
  DenseMap<uint32_t, uint8_t> toByte;
};

/// Collects sections of the file behind the header.
class Sections {
public:
  template <typename T> heddle_text_span add(ArrayRef<T> items) {
    bytes.resize(alignTo(bytes.size(), 8));
    heddle_text_span span = {sizeof(heddle_text_header) + bytes.size(), items.size()};
    bytes.append(reinterpret_cast<const char *>(items.data()), items.size() * sizeof(T));
    return span;
  }
  std::string bytes;
};
static_assert(sizeof(heddle_text_header) % 8 == 0);

uint32_t hashOf(StringRef text) {
  uint32_t hash = HEDDLE_TEXT_HASH_START;
  for (char c : text)
    hash = heddle_text_hash_byte(hash, static_cast<uint8_t>(c));
  return heddle_text_hash_end(hash);
}

size_t tableSize(size_t entries) { return std::max<size_t>(4, NextPowerOf2(entries * 2)); }

class MemberWriter {
public:
  MemberWriter(const TokenizerMetadata &metadata, const TextOptions &options)
      : meta(metadata), options(options) {}

  Expected<TextMember> run() {
    readKind();
    if (problems.empty())
      readTokens();
    if (problems.empty()) {
      readSpecialIds();
      readStops();
      readFlags();
      readChatTemplate();
      if (header.kind == HEDDLE_TEXT_BYTE_PAIR)
        readMerges();
      else if (header.kind == HEDDLE_TEXT_SENTENCE_PIECE)
        readSentencePiece();
    }
    if (!problems.empty()) {
      std::string all = join(problems, "\n");
      return anyInvalid ? invalidInput(all) : unsupportedInput(all);
    }
    write();
    return std::move(member);
  }

private:
  void unsupported(const Twine &problem) { problems.push_back(problem.str()); }
  void invalid(const Twine &problem) {
    anyInvalid = true;
    problems.push_back(problem.str());
  }

  void readKind() {
    header.kind = StringSwitch<uint32_t>(meta.model)
                      .Case("gpt2", HEDDLE_TEXT_BYTE_PAIR)
                      .Case("llama", HEDDLE_TEXT_SENTENCE_PIECE)
                      .Case("bert", HEDDLE_TEXT_WORD_PIECE)
                      .Default(0);
    if (header.kind == 0)
      unsupported(
          "tokenizer model " + quoted(meta.model) +
          " is not supported; known models: 'gpt2' (byte-level BPE), 'llama' (SentencePiece BPE), 'bert' "
          "(WordPiece)");
    if (header.kind == HEDDLE_TEXT_BYTE_PAIR)
      readSplit();
  }

  void readSplit() {
    if (meta.preTokenizer.empty()) {
      header.split = HEDDLE_TEXT_SPLIT_DEFAULT;
      member.warnings.push_back(
          "the file names no pre-tokenizer (tokenizer.ggml.pre), so that text is split by the "
          "default rule; convert the model again if its output is poor");
      return;
    }
    for (const SplitName &entry : SplitNames)
      if (entry.name == meta.preTokenizer)
        header.split = entry.split;
    if (header.split == HEDDLE_TEXT_SPLIT_NONE)
      unsupported(
          "pre-tokenizer " + quoted(meta.preTokenizer) + " is not supported; known ones: " +
          join(map_range(SplitNames, [](const SplitName &entry) { return quoted(entry.name); }), ", ") +
          "; if the model splits text like one of these, set tokenizer.ggml.pre to its name");
  }

  void readTokens() {
    if (meta.tokens.empty() || meta.tokens.size() > MaxTokens)
      return invalid("expected 1 to " + Twine(MaxTokens) + " tokens in tokenizer.ggml.tokens, found " +
                     Twine(meta.tokens.size()));
    if (!meta.types.empty() && meta.types.size() != meta.tokens.size())
      return invalid("tokenizer.ggml.token_type has " + Twine(meta.types.size()) + " elements for " +
                     Twine(meta.tokens.size()) + " tokens");
    header.token_count = meta.tokens.size();
    uint64_t total = 0;
    for (StringRef token : meta.tokens)
      total += token.size() + 16;
    if (total > UINT32_MAX)
      return invalid("the tokens in tokenizer.ggml.tokens have more than 4 GB of text");
    for (uint32_t id = 0; id < header.token_count; ++id) {
      std::string name =
          meta.tokens[id].empty() ? "[EMPTY_" + std::to_string(id) + "]" : meta.tokens[id].str();
      if (name.size() > MaxTokenBytes)
        return invalid("token " + Twine(id) + " has " + Twine(name.size()) + " bytes; at most " +
                       Twine(MaxTokenBytes) + " are supported");
      auto [entry, isNew] = ids.try_emplace(name, id);
      if (!isNew)
        return invalid("tokens " + Twine(entry->second) + " and " + Twine(id) + " are both " + quoted(name));
      int32_t type = meta.types.empty() ? int32_t(HEDDLE_TEXT_TOKEN_NORMAL) : meta.types[id];
      if (type < 0 || type > HEDDLE_TEXT_TOKEN_BYTE)
        type = HEDDLE_TEXT_TOKEN_UNDEFINED;
      bool stop = is_contained(StopNames, name);
      if (stop)
        type = HEDDLE_TEXT_TOKEN_CONTROL;
      bool parsedOnly = isControl(type) || is_contained(ControlNames, name);
      types.push_back(type | (parsedOnly ? HEDDLE_TEXT_TOKEN_PARSED_ONLY : 0));
      texts.push_back(textOf(name, type));
      header.max_token_bytes = std::max<uint32_t>(header.max_token_bytes, texts.back().size());
      if (parsedOnly || type == HEDDLE_TEXT_TOKEN_USER_DEFINED)
        special.push_back(id);
    }
    llvm::sort(special, [&](uint32_t a, uint32_t b) { return texts[a] < texts[b]; });
    for (size_t i = 1; i < special.size(); ++i)
      if (texts[special[i - 1]] == texts[special[i]])
        return invalid("special tokens " + Twine(special[i - 1]) + " and " + Twine(special[i]) +
                       " are both " + quoted(texts[special[i]]));
  }

  /// The text of a token as the runtime wants it.
  std::string textOf(StringRef name, uint32_t type) {
    if (type != HEDDLE_TEXT_TOKEN_NORMAL)
      return name.str();
    if (header.kind == HEDDLE_TEXT_BYTE_PAIR)
      return alphabet.decode(name).value_or(name.str());
    if (header.kind == HEDDLE_TEXT_WORD_PIECE) {
      // GGUF marks the beginnings of words; the vocabulary of BERT marks their continuations.
      StringRef word = name;
      if (word.consume_front(SpaceMark))
        return word.str();
      bool reserved = name.size() > 2 && name.starts_with("[") && name.ends_with("]"); // "[unused7]"
      return reserved ? name.str() : "##" + name.str();
    }
    return name.str();
  }

  int32_t readId(StringRef key, std::optional<uint64_t> given, int32_t fallback = -1) {
    if (!given)
      return fallback < int64_t(header.token_count) ? fallback : -1;
    if (*given < header.token_count)
      return int32_t(*given);
    // Writers put 2^32 - 1 for "none".
    if (*given != UINT32_MAX)
      invalid("tokenizer.ggml." + key + " is " + Twine(*given) + ", but there are " +
              Twine(header.token_count) + " tokens");
    return -1;
  }

  void readSpecialIds() {
    bool pieces = header.kind == HEDDLE_TEXT_SENTENCE_PIECE, words = header.kind == HEDDLE_TEXT_WORD_PIECE;
    header.bos = readId("bos_token_id", meta.bos, pieces ? 1 : -1);
    header.eos = readId("eos_token_id", meta.eos, pieces ? 2 : -1);
    header.eot = readId("eot_token_id", meta.eot);
    header.unk = readId("unknown_token_id", meta.unk, pieces ? 0 : words ? 100 : -1);
    header.sep = readId("seperator_token_id", meta.sep, words ? 102 : -1);
    header.cls = readId("cls_token_id", meta.cls, words ? int32_t(meta.bos.value_or(101)) : -1);
    header.pad = readId("padding_token_id", meta.pad, words ? 0 : -1);
    header.mask = readId("mask_token_id", meta.mask, words ? 103 : -1);
    if (words && (header.cls < 0 || header.sep < 0 || header.unk < 0))
      invalid("a WordPiece vocabulary needs cls_token_id, seperator_token_id and unknown_token_id");
  }

  void readStops() {
    auto add = [&](int32_t id) {
      if (id >= 0 && !is_contained(stops, uint32_t(id)))
        stops.push_back(id);
    };
    if (header.kind == HEDDLE_TEXT_WORD_PIECE)
      return;
    add(header.eos);
    add(header.eot);
    add(readId("eom_token_id", meta.eom));
    for (StringRef name : StopNames)
      if (auto found = ids.find(name); found != ids.end()) {
        add(int32_t(found->second));
        if (header.eot < 0)
          header.eot = int32_t(found->second);
      }
  }

  void readFlags() {
    bool pieces = header.kind == HEDDLE_TEXT_SENTENCE_PIECE, words = header.kind == HEDDLE_TEXT_WORD_PIECE;
    bool llama3 = header.split == HEDDLE_TEXT_SPLIT_LLAMA3;
    bool addBos = meta.addBos.value_or(pieces || llama3), addEos = meta.addEos.value_or(false);
    if (!words && addBos && header.bos < 0)
      invalid("tokenizer.ggml.add_bos_token is true, but there is no bos_token_id");
    if (!words && addEos && header.eos < 0)
      invalid("tokenizer.ggml.add_eos_token is true, but there is no eos_token_id");
    bool lower = meta.lowerCase.value_or(true), strip = words && meta.stripAccents.value_or(lower);
    header.flags = (addBos ? HEDDLE_TEXT_ADD_BOS : 0) | (addEos ? HEDDLE_TEXT_ADD_EOS : 0) |
                   (pieces && meta.addSpacePrefix.value_or(true) ? HEDDLE_TEXT_SPACE_PREFIX : 0) |
                   (llama3 ? HEDDLE_TEXT_IGNORE_MERGES : 0) | (strip ? HEDDLE_TEXT_STRIP_ACCENTS : 0);
    header.max_word_characters = 100;
    if (words) {
      classes = wordPieceClasses();
      folds = wordPieceFolds(lower, strip);
    } else if (!pieces) {
      classes = bytePairClasses();
    }
  }

  bool hasControls(const ChatTemplate &chat) {
    return all_of(chat.controls, [&](StringRef name) {
      auto found = ids.find(name);
      if (found == ids.end())
        return false;
      return isControl(types[found->second]) ||
             (types[found->second] & HEDDLE_TEXT_TOKEN_TYPE_MASK) == HEDDLE_TEXT_TOKEN_USER_DEFINED;
    });
  }

  void readChatTemplate() {
    StringRef jinja = meta.chatTemplate;
    StringRef wanted = options.chatTemplate;
    bool forced = !wanted.empty();
    if (!forced) {
      bool think = jinja.contains("</think>") && jinja.contains("thinking");
      if (jinja.contains("<|im_start|>"))
        wanted = "chatml";
      else if (jinja.contains("<start_of_turn>"))
        wanted = "gemma";
      else if (jinja.contains("<|start_header_id|>"))
        wanted = "llama-3";
      else if (jinja.contains("<｜Assistant｜>") && jinja.contains("<｜User｜>"))
        wanted = think ? "deepseek-v3.1" : "deepseek";
      else
        wanted = "none";
    }
    const ChatTemplate *chosen =
        find_if(chatTemplates(), [&](const ChatTemplate &c) { return c.name == wanted; });
    if (chosen == chatTemplates().end())
      return unsupported("unknown chat template " + quoted(wanted) +
                         "; known ones: " + join(chatTemplateNames(), ", "));
    if (!hasControls(*chosen)) {
      std::string needs =
          "chat template '" + chosen->name.str() + "' needs the tokens " +
          join(map_range(chosen->controls, [](StringRef name) { return quoted(name); }), ", ") +
          ", which this model does not have";
      if (forced)
        return unsupported(needs);
      member.warnings.push_back(needs + "; chats are off");
      chosen = chatTemplates().begin();
    } else if (chosen->id == HEDDLE_TEXT_CHAT_NONE && !forced && !jinja.empty()) {
      member.warnings.push_back(
          "the model's chat template is none of the known ones, so that chats are off; choose "
          "one with --chat-template: " +
          join(chatTemplateNames(), ", "));
    }
    header.chat_template = chosen->id;
    member.chatTemplate = chosen->name.str();
    if (chosen->id == HEDDLE_TEXT_CHAT_CHATML)
      for (StringRef text : DefaultSystems)
        if (jinja.contains(text)) {
          defaultSystem = text;
          break;
        }
  }

  void readMerges() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      auto found = ids.find(alphabet.spell(static_cast<uint8_t>(byte)));
      header.byte_tokens[byte] = found == ids.end() ? -1 : int32_t(found->second);
    }
    if (meta.merges.empty())
      return invalid("expected merges in tokenizer.ggml.merges, found none");
    if (meta.merges.size() > MaxTokens)
      return invalid("tokenizer.ggml.merges has " + Twine(meta.merges.size()) + " elements; at most " +
                     Twine(MaxTokens) + " are supported");
    pairs.assign(tableSize(meta.merges.size()), {});
    size_t unusable = 0;
    StringRef firstUnusable;
    for (size_t rank = 0; rank < meta.merges.size(); ++rank) {
      StringRef merge = meta.merges[rank];
      size_t space = merge.find(' ', 1);
      StringRef left = merge.take_front(space),
                right = space == StringRef::npos ? "" : merge.drop_front(space + 1);
      auto leftId = ids.find(left), rightId = ids.find(right), resultId = ids.find((left + right).str());
      if (space == StringRef::npos || leftId == ids.end() || rightId == ids.end() || resultId == ids.end()) {
        if (unusable++ == 0)
          firstUnusable = merge;
        continue;
      }
      addPair({leftId->second, rightId->second, uint32_t(rank), resultId->second + 1});
    }
    if (unusable)
      invalid(Twine(unusable) + " merges are not two tokens that make a third, the first of them " +
              quoted(firstUnusable));
  }

  void addPair(heddle_text_pair_slot pair) {
    size_t mask = pairs.size() - 1, at = heddle_text_hash_pair(pair.left, pair.right) & mask;
    for (; pairs[at].result1; at = (at + 1) & mask)
      if (pairs[at].left == pair.left && pairs[at].right == pair.right)
        return; // the first of equal merges counts
    pairs[at] = pair;
  }

  void readSentencePiece() {
    if (meta.scores.size() != meta.tokens.size())
      return invalid("tokenizer.ggml.scores has " + Twine(meta.scores.size()) + " elements for " +
                     Twine(meta.tokens.size()) + " tokens");
    for (size_t id = 0; id < meta.scores.size(); ++id)
      if (std::isnan(meta.scores[id]))
        return invalid("tokenizer.ggml.scores has no number for token " + Twine(id));
    for (unsigned byte = 0; byte < 256; ++byte) {
      std::string name = {'<', '0', 'x', hexdigit(byte / 16), hexdigit(byte % 16), '>'};
      auto found = ids.find(name);
      if (found == ids.end())
        found = ids.find(std::string(1, static_cast<char>(byte)));
      header.byte_tokens[byte] = found == ids.end() ? -1 : int32_t(found->second);
    }
    for (StringRef text : texts)
      for (size_t at = text.find(SpaceMark, 1); at != StringRef::npos; at = text.find(SpaceMark, at + 1))
        header.joined_after[static_cast<uint8_t>(text[at - 1])] = 1;
  }

  std::vector<heddle_text_token_slot> tokenTable() {
    std::vector<heddle_text_token_slot> slots(tableSize(header.token_count));
    for (uint32_t id = 0; id < header.token_count; ++id) {
      std::string text = texts[id];
      if (header.kind == HEDDLE_TEXT_BYTE_PAIR) {
        // A text outside of the byte alphabet is no piece of text.
        auto decoded = alphabet.decode(meta.tokens[id]);
        if (!decoded || *decoded != text)
          continue;
      }
      uint32_t hash = hashOf(text);
      size_t at = hash & (slots.size() - 1);
      while (slots[at].id1)
        at = (at + 1) & (slots.size() - 1);
      slots[at] = {hash, id + 1};
    }
    return slots;
  }

  void write() {
    std::memcpy(header.magic, HEDDLE_TEXT_MAGIC, sizeof header.magic);
    header.version = HEDDLE_TEXT_VERSION;
    std::string text;
    std::vector<uint32_t> offsets = {0};
    for (const std::string &piece : texts) {
      text += piece;
      offsets.push_back(text.size());
    }
    Sections sections;
    header.text = sections.add(ArrayRef(text.data(), text.size()));
    header.offsets = sections.add(ArrayRef(offsets));
    header.types = sections.add(ArrayRef(types));
    header.scores =
        sections.add(header.kind == HEDDLE_TEXT_SENTENCE_PIECE ? ArrayRef(meta.scores) : ArrayRef<float>());
    header.token_slots = sections.add(ArrayRef(tokenTable()));
    header.pair_slots = sections.add(ArrayRef(pairs));
    header.special = sections.add(ArrayRef(special));
    header.stops = sections.add(ArrayRef(stops));
    header.default_system = sections.add(ArrayRef(defaultSystem.data(), defaultSystem.size()));
    header.class_index = sections.add(ArrayRef(classes.index));
    header.class_pages = sections.add(ArrayRef(classes.pages));
    header.folds = sections.add(ArrayRef(folds.folds));
    std::copy(folds.ascii.begin(), folds.ascii.end(), header.ascii_fold);
    header.file_size = sizeof header + sections.bytes.size();
    member.bytes.assign(reinterpret_cast<const char *>(&header), sizeof header);
    member.bytes += sections.bytes;
  }

  const TokenizerMetadata &meta;
  const TextOptions &options;
  TextMember member;
  heddle_text_header header = {};
  ByteAlphabet alphabet;
  StringMap<uint32_t> ids; // by the file's own spelling
  std::vector<std::string> texts;
  std::vector<uint8_t> types;
  std::vector<uint32_t> special, stops;
  std::vector<heddle_text_pair_slot> pairs;
  CharacterClasses classes;
  CharacterFolds folds = {};
  StringRef defaultSystem;
  std::vector<std::string> problems;
  bool anyInvalid = false;
};

} // namespace

Expected<TextMember> writeTextMember(const TokenizerMetadata &metadata, const TextOptions &options) {
  return MemberWriter(metadata, options).run();
}

std::vector<std::string> chatTemplateNames() {
  std::vector<std::string> names;
  for (const ChatTemplate &chat : chatTemplates())
    names.push_back(chat.name.str());
  return names;
}

} // namespace heddle
