// Small vocabularies of every kind, packed by the compiler's writer and opened by the library.
#pragma once
#include "frontends/common/InputError.h"
#include "frontends/common/TextMetadata.h"
#include "heddle/text.h"
#include <catch2/catch.hpp>
#include <deque>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

namespace heddle::test {

/// Metadata that owns its strings.
struct Vocabulary : TokenizerMetadata {
  std::deque<std::string> strings;

  llvm::StringRef keep(std::string text) { return strings.emplace_back(std::move(text)); }
  uint32_t add(std::string token, int32_t type = 1, float score = 0) {
    tokens.push_back(keep(std::move(token)));
    types.push_back(type);
    scores.push_back(score);
    return tokens.size() - 1;
  }
  void addMerge(const std::string &left, const std::string &right) {
    add(left + right);
    merges.push_back(keep(left + " " + right));
  }
};

inline std::string utf8(uint32_t code) {
  if (code < 0x80)
    return std::string(1, char(code));
  return {char(0xc0 | code >> 6), char(0x80 | (code & 0x3f))};
}

/// Ids 0 to 255 are the bytes, then merges, then control tokens.
inline Vocabulary bytePairVocabulary(std::initializer_list<std::pair<const char *, const char *>> merges = {},
                                     std::initializer_list<const char *> controls = {}) {
  Vocabulary v;
  v.model = "gpt2";
  v.preTokenizer = "gpt-2";
  uint32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    bool shown = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
    v.add(utf8(shown ? byte : next++));
  }
  for (auto [left, right] : merges)
    v.addMerge(left, right);
  if (merges.size() == 0)
    v.addMerge("q", "j");
  for (const char *control : controls)
    v.add(control, 3);
  return v;
}

/// <unk>, <s>, </s>, the 256 bytes from id 3, then `pieces` with the first of highest score.
inline Vocabulary sentencePieceVocabulary(std::initializer_list<const char *> pieces) {
  Vocabulary v;
  v.model = "llama";
  v.add("<unk>", 2);
  v.add("<s>", 3);
  v.add("</s>", 3);
  const char *hex = "0123456789ABCDEF";
  for (unsigned byte = 0; byte < 256; ++byte)
    v.add({'<', '0', 'x', hex[byte / 16], hex[byte % 16], '>'}, 6);
  float score = 0;
  for (const char *piece : pieces)
    v.add(piece, 1, score -= 1);
  return v;
}

/// [PAD], [UNK], [CLS], [SEP], [MASK], then words as GGUF spells them.
inline Vocabulary wordPieceVocabulary(std::initializer_list<const char *> words) {
  Vocabulary v;
  v.model = "bert";
  for (const char *control : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
    v.add(control, 3);
  v.pad = 0, v.unk = 1, v.cls = 2, v.sep = 3, v.mask = 4;
  for (const char *word : words)
    v.add(word);
  return v;
}

inline TextMember pack(const Vocabulary &vocabulary, const std::string &chatTemplate = "") {
  auto member = writeTextMember(vocabulary, TextOptions{chatTemplate});
  if (!member)
    FAIL(takeFailure(member.takeError()).message);
  return std::move(*member);
}

/// The message with which the writer refuses `vocabulary`.
inline Failure refusal(const Vocabulary &vocabulary, const std::string &chatTemplate = "") {
  auto member = writeTextMember(vocabulary, TextOptions{chatTemplate});
  bool accepted = static_cast<bool>(member);
  REQUIRE_FALSE(accepted);
  return takeFailure(member.takeError());
}

/// Bytes at an address that is a multiple of 8, and not one more.
class AlignedBytes {
public:
  explicit AlignedBytes(const std::string &bytes)
      : count(bytes.size()), words(new uint64_t[(count + 7) / 8]) {
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char *>(words.get()));
  }
  const void *data() const { return words.get(); }
  size_t size() const { return count; }

private:
  size_t count;
  std::unique_ptr<uint64_t[]> words;
};

class Opened {
public:
  explicit Opened(const Vocabulary &vocabulary, const std::string &chatTemplate = "")
      : bytes(pack(vocabulary, chatTemplate).bytes) {
    char message[256] = "";
    heddle_text_status status = heddle_text_open(bytes.data(), bytes.size(), &text, message, sizeof message);
    INFO(message);
    REQUIRE(status == HEDDLE_TEXT_OK);
  }
  ~Opened() { heddle_text_close(text); }

  std::vector<int32_t> encode(const std::string &input, uint32_t flags = 0) const {
    size_t count = 0;
    heddle_text_status status =
        heddle_text_encode(text, input.data(), input.size(), flags, nullptr, 0, &count);
    REQUIRE(status == (count ? HEDDLE_TEXT_BUFFER_TOO_SMALL : HEDDLE_TEXT_OK));
    std::vector<int32_t> ids(count);
    REQUIRE(heddle_text_encode(text, input.data(), input.size(), flags, ids.data(), count, &count) ==
            HEDDLE_TEXT_OK);
    REQUIRE(count == ids.size());
    return ids;
  }

  std::string decode(const std::vector<int32_t> &ids, uint32_t flags = 0) const {
    heddle_text_decoder decoder;
    REQUIRE(heddle_text_decoder_start(&decoder, text, flags) == HEDDLE_TEXT_OK);
    std::string out;
    char piece[4096];
    size_t size = 0;
    for (int32_t id : ids) {
      REQUIRE(heddle_text_decode(&decoder, id, piece, sizeof piece, &size) == HEDDLE_TEXT_OK);
      out.append(piece, size);
    }
    REQUIRE(heddle_text_decode_end(&decoder, piece, sizeof piece, &size) == HEDDLE_TEXT_OK);
    return out.append(piece, size);
  }

  int32_t find(const std::string &token) const { return heddle_text_find(text, token.data(), token.size()); }

  heddle_text *text = nullptr;

private:
  AlignedBytes bytes;
};

} // namespace heddle::test
