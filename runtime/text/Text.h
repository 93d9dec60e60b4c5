// The opened text.bin and what the parts of this library share. Everything here works on validated tables.
#pragma once
#include "Array.h"
#include "heddle/text.h"
#include "heddle/text_format.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "text.bin is read in place");

struct heddle_text {
  const heddle_text_header *header;
  const uint8_t *bytes; // token texts
  const uint32_t *offsets;
  const uint8_t *types;
  const float *scores;
  const heddle_text_token_slot *tokenSlots;
  const heddle_text_pair_slot *pairSlots;
  const uint32_t *special;
  const int32_t *stops;
  const uint8_t *defaultSystem;
  const uint16_t *classIndex;
  const uint8_t *classPages;
  const heddle_text_fold *folds;
  uint32_t specialByByte[257]; // special tokens with first byte b: [b], [b + 1)
};

namespace heddle::text {

using Status = heddle_text_status;

/// Stores `message` for the caller and returns `status`.
Status fail(Status status, char *message, size_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

struct Bytes {
  const uint8_t *data;
  size_t size;
};

inline Bytes tokenText(const heddle_text &text, uint32_t id) {
  return {text.bytes + text.offsets[id], text.offsets[id + 1] - text.offsets[id]};
}
inline uint32_t tokenType(const heddle_text &text, uint32_t id) {
  return text.types[id] & HEDDLE_TEXT_TOKEN_TYPE_MASK;
}

/// The id of the token with this text, whose hash (before its end) is `hash`; -1 if there is none.
int32_t findToken(const heddle_text &text, Bytes token, uint32_t hash);
int32_t findToken(const heddle_text &text, Bytes token);

inline uint32_t classOf(const heddle_text &text, uint32_t codePoint) {
  uint32_t at = text.classIndex[codePoint / HEDDLE_TEXT_CLASS_PAGE] * HEDDLE_TEXT_CLASS_PAGE +
                codePoint % HEDDLE_TEXT_CLASS_PAGE;
  return text.classPages[at / 2] >> (at % 2 * 4) & 15;
}

/// Decodes the code point at `text[at]` and moves `at` behind it. As llama.cpp: overlong forms and surrogates
/// are taken, a byte that starts no sequence is U+FFFD.
uint32_t nextCodePoint(const uint8_t *text, size_t size, size_t &at);
/// Writes 1 to 4 bytes.
size_t putCodePoint(uint32_t codePoint, uint8_t *out);

/// Where ids go: counts all of them and stores those that fit.
struct Ids {
  int32_t *ids;
  size_t capacity;
  size_t count = 0;
  void add(int32_t id) {
    if (count < capacity)
      ids[count] = id;
    ++count;
  }
  Status status() const { return count > capacity ? HEDDLE_TEXT_BUFFER_TOO_SMALL : HEDDLE_TEXT_OK; }
};

/// A part of a text in which control tokens are recognised.
struct Region {
  size_t begin, end;
};

/// Encodes all of `text`; false without memory. `regions` ascend and do not touch.
bool encode(const heddle_text &tokenizer, Bytes text, const Region *regions, size_t regionCount,
            bool addSpecial, Ids &ids);

// Encoders of a text without special tokens, one of each kind. They keep their memory from one call to the
// next.
class BytePairEncoder {
public:
  explicit BytePairEncoder(const heddle_text &text) : text(text) {}
  bool encode(Bytes fragment, Ids &ids);

private:
  struct Symbol {
    int32_t id; // -1: the vocabulary has no such byte
    uint32_t previous, next;
  };
  struct Merge {
    uint32_t rank, at, left, right;
    uint32_t result;
  };
  static bool before(const Merge &a, const Merge &b) {
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
  }

  bool split(unsigned stage, size_t begin, size_t end, Ids &ids);
  bool encodePiece(size_t begin, size_t end, Ids &ids);
  bool push(uint32_t left, uint32_t right);

  const heddle_text &text;
  Array<uint32_t> characters; // class << 24 | code point
  Array<uint8_t> piece;
  Array<Symbol> symbols;
  Array<Merge> merges;
};

class SentencePieceEncoder {
public:
  explicit SentencePieceEncoder(const heddle_text &text) : text(text) {}
  bool encode(Bytes fragment, bool spacePrefix, Ids &ids);

private:
  struct Symbol {
    uint32_t begin, size; // size 0: merged into the one before
    int32_t id;           // -2: not looked up yet
    uint32_t previous, next;
  };
  struct Merge {
    float score;
    uint32_t left, right, size;
    int32_t id;
  };
  static bool before(const Merge &a, const Merge &b) {
    return a.score != b.score ? a.score > b.score : a.left < b.left;
  }

  bool flush(Ids &ids);
  bool push(uint32_t left, uint32_t right);

  const heddle_text &text;
  Array<uint8_t> escaped;
  Array<Symbol> symbols;
  Array<Merge> merges;
};

class WordPieceEncoder {
public:
  explicit WordPieceEncoder(const heddle_text &text) : text(text) {}
  bool encode(Bytes fragment, Ids &ids);

private:
  bool add(uint32_t codePoint, bool alone, Ids &ids);
  bool flush(Ids &ids);

  const heddle_text &text;
  Array<uint8_t> word;
  size_t wordCharacters = 0;
  Array<int32_t> found;
};

// Pieces of byte-level BPE (Split.cpp). `characters` are as in BytePairEncoder.

/// How many times `split` cuts: each stage cuts every piece of the one before.
unsigned splitStages(uint32_t split);
/// The end of the first piece of [begin, end) at this stage; a piece is never empty.
size_t splitPiece(uint32_t split, unsigned stage, const uint32_t *characters, size_t begin, size_t end);

} // namespace heddle::text
