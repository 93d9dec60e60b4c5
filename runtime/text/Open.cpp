// Opens and validates text.bin, and looks tokens up.
#include "Text.h"
#include <stdarg.h>
#include <stdio.h>

namespace heddle::text {

Status fail(Status status, char *message, size_t size, const char *format, ...) {
  if (message && size) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, size, format, arguments);
    va_end(arguments);
  }
  return status;
}

int32_t findToken(const heddle_text &text, Bytes token, uint32_t hash) {
  hash = heddle_text_hash_end(hash);
  uint64_t mask = text.header->token_slots.count - 1;
  for (uint64_t at = hash & mask; text.tokenSlots[at].id1; at = (at + 1) & mask) {
    if (text.tokenSlots[at].hash != hash)
      continue;
    Bytes known = tokenText(text, text.tokenSlots[at].id1 - 1);
    if (known.size == token.size && memcmp(known.data, token.data, token.size) == 0)
      return int32_t(text.tokenSlots[at].id1 - 1);
  }
  return -1;
}

int32_t findToken(const heddle_text &text, Bytes token) {
  uint32_t hash = HEDDLE_TEXT_HASH_START;
  for (size_t i = 0; i < token.size; ++i)
    hash = heddle_text_hash_byte(hash, token.data[i]);
  return findToken(text, token, hash);
}

namespace {

constexpr uint32_t MaxTokens = 1u << 28, MaxTokenBytes = 1u << 20;

/// Validates every table before anything uses it. What is accepted can be used without further checks.
class Validator {
public:
  Validator(heddle_text &text, const uint8_t *data, size_t size, char *message, size_t messageSize)
      : text(text), data(data), size(size), message(message), messageSize(messageSize) {}

  Status run() {
    const auto *header = reinterpret_cast<const heddle_text_header *>(data);
    if (!data || reinterpret_cast<uintptr_t>(data) % 8)
      return fail(HEDDLE_TEXT_INVALID_ARGUMENT, message, messageSize,
                  "expected 'text.bin' to be aligned to 8 bytes");
    if (size < sizeof *header || memcmp(header->magic, HEDDLE_TEXT_MAGIC, 8) != 0)
      return corrupt("does not begin with '" HEDDLE_TEXT_MAGIC "'");
    if (header->version != HEDDLE_TEXT_VERSION)
      return fail(HEDDLE_TEXT_UNSUPPORTED, message, messageSize,
                  "text.bin: expected version %u, found %u; compile the model again or update the runtime",
                  HEDDLE_TEXT_VERSION, header->version);
    // An artifact rounds its members up (docs/artifact.md).
    if (header->file_size > size || size - header->file_size >= 256)
      return corrupt("has another size than its header says");
    size = header->file_size;
    text.header = header;
    return fields() && tokens() && lookups() && classes() ? HEDDLE_TEXT_OK : failure;
  }

private:
  Status corrupt(const char *what) {
    return failure = fail(HEDDLE_TEXT_CORRUPT, message, messageSize, "text.bin: the member %s", what);
  }
  bool check(bool good, const char *what) {
    if (!good)
      corrupt(what);
    return good;
  }

  template <typename T> bool table(heddle_text_span span, const T *&out, const char *what) {
    if (!check(span.offset % 8 == 0 && span.offset <= size && span.count <= (size - span.offset) / sizeof(T),
               what))
      return false;
    out = reinterpret_cast<const T *>(data + span.offset);
    return true;
  }

  bool fields() {
    const heddle_text_header &h = *text.header;
    bool bytePair = h.kind == HEDDLE_TEXT_BYTE_PAIR;
    if (!check(h.kind >= HEDDLE_TEXT_BYTE_PAIR && h.kind <= HEDDLE_TEXT_WORD_PIECE, "has an unknown kind") ||
        !check(h.split < HEDDLE_TEXT_SPLIT_COUNT && (h.split != HEDDLE_TEXT_SPLIT_NONE) == bytePair,
               "has an unknown pre-tokenizer") ||
        !check((h.flags & ~uint32_t(HEDDLE_TEXT_KNOWN_FLAGS)) == 0, "has unknown flags") ||
        !check(h.chat_template < HEDDLE_TEXT_CHAT_COUNT, "has an unknown chat template") ||
        !check(h.token_count > 0 && h.token_count <= MaxTokens, "has no tokens, or too many") ||
        !check(h.max_token_bytes <= MaxTokenBytes, "has tokens that are too long"))
      return false;
    const int32_t named[] = {h.bos, h.eos, h.eot, h.unk, h.sep, h.cls, h.pad, h.mask};
    for (int32_t id : named)
      if (!checkId(id))
        return false;
    for (int32_t id : h.byte_tokens)
      if (!checkId(id))
        return false;
    for (uint8_t byte : h.ascii_fold)
      if (!check(byte < 0x80, "folds ASCII to other bytes"))
        return false;
    return true;
  }

  bool checkId(int32_t id) {
    return check(id >= -1 && id < int64_t(text.header->token_count), "names a token out of range");
  }

  bool tokens() {
    const heddle_text_header &h = *text.header;
    if (!table(h.text, text.bytes, "has token texts past its end") ||
        !table(h.offsets, text.offsets, "has token offsets past its end") ||
        !table(h.types, text.types, "has token types past its end") ||
        !table(h.scores, text.scores, "has scores past its end") ||
        !check(h.offsets.count == uint64_t(h.token_count) + 1 && h.types.count == h.token_count &&
                   h.scores.count == (h.kind == HEDDLE_TEXT_SENTENCE_PIECE ? h.token_count : 0),
               "has token tables of different sizes"))
      return false;
    for (uint32_t id = 0; id < h.token_count; ++id) {
      if (!check(text.offsets[id] <= text.offsets[id + 1] &&
                     text.offsets[id + 1] - text.offsets[id] <= h.max_token_bytes,
                 "has token texts out of order, or too long") ||
          !check((text.types[id] & ~(HEDDLE_TEXT_TOKEN_TYPE_MASK | HEDDLE_TEXT_TOKEN_PARSED_ONLY)) == 0 &&
                     tokenType(text, id) <= HEDDLE_TEXT_TOKEN_BYTE,
                 "has an unknown token type"))
        return false;
    }
    for (uint64_t i = 0; i < h.scores.count; ++i)
      if (!check(text.scores[i] == text.scores[i], "has a score that is not a number"))
        return false;
    return check(text.offsets[0] == 0 && text.offsets[h.token_count] == h.text.count,
                 "has token texts out of range");
  }

  bool lookups() {
    const heddle_text_header &h = *text.header;
    if (!table(h.token_slots, text.tokenSlots, "has its token table past its end") ||
        !table(h.pair_slots, text.pairSlots, "has its merge table past its end") ||
        !table(h.special, text.special, "has its special tokens past its end") ||
        !table(h.stops, text.stops, "has its stop tokens past its end") ||
        !table(h.default_system, text.defaultSystem, "has its system text past its end"))
      return false;
    if (!powerOfTwo(h.token_slots.count) ||
        (h.kind == HEDDLE_TEXT_BYTE_PAIR && !powerOfTwo(h.pair_slots.count)))
      return false;
    uint64_t used = 0;
    for (uint64_t i = 0; i < h.token_slots.count; ++i) {
      used += text.tokenSlots[i].id1 != 0;
      if (!check(text.tokenSlots[i].id1 <= h.token_count, "has a token out of range in its token table"))
        return false;
    }
    // A probe for what is not there ends at an empty slot.
    if (!check(used <= h.token_slots.count / 4 * 3, "has a token table that is too full"))
      return false;
    used = 0;
    for (uint64_t i = 0; i < h.pair_slots.count; ++i) {
      const heddle_text_pair_slot &slot = text.pairSlots[i];
      used += slot.result1 != 0;
      if (!check(slot.result1 <= h.token_count, "has a token out of range in its merge table"))
        return false;
    }
    if (!check(used <= h.pair_slots.count / 4 * 3, "has a merge table that is too full"))
      return false;
    for (uint64_t i = 0; i < h.stops.count; ++i)
      if (!check(text.stops[i] >= 0 && text.stops[i] < int64_t(h.token_count),
                 "has a stop token out of range"))
        return false;
    return specials();
  }

  bool powerOfTwo(uint64_t count) {
    return check(count >= 4 && (count & (count - 1)) == 0, "has a hash table whose size is no power of two");
  }

  bool specials() {
    uint32_t byte = 0;
    for (uint64_t i = 0; i < text.header->special.count; ++i) {
      if (!check(text.special[i] < text.header->token_count, "has a special token out of range"))
        return false;
      Bytes token = tokenText(text, text.special[i]);
      if (!check(token.size > 0, "has an empty special token"))
        return false;
      if (i > 0) {
        Bytes before = tokenText(text, text.special[i - 1]);
        size_t common = before.size < token.size ? before.size : token.size;
        int order = memcmp(before.data, token.data, common);
        if (!check(order < 0 || (order == 0 && before.size < token.size), "has special tokens out of order"))
          return false;
      }
      for (; byte <= token.data[0]; ++byte)
        text.specialByByte[byte] = uint32_t(i);
    }
    for (; byte <= 256; ++byte)
      text.specialByByte[byte] = uint32_t(text.header->special.count);
    return true;
  }

  bool classes() {
    const heddle_text_header &h = *text.header;
    if (!table(h.class_index, text.classIndex, "has its character classes past its end") ||
        !table(h.class_pages, text.classPages, "has its character classes past its end") ||
        !table(h.folds, text.folds, "has its character folds past its end"))
      return false;
    uint64_t wanted = h.kind == HEDDLE_TEXT_SENTENCE_PIECE ? 0 : HEDDLE_TEXT_CLASS_PAGES;
    if (!check(h.class_index.count == wanted, "has too few character classes"))
      return false;
    for (uint64_t i = 0; i < wanted; ++i)
      if (!check(text.classIndex[i] < h.class_pages.count / (HEDDLE_TEXT_CLASS_PAGE / 2),
                 "has a page of character classes out of range"))
        return false;
    for (uint64_t i = 0; i < h.folds.count; ++i) {
      const heddle_text_fold &fold = text.folds[i];
      if (!check(fold.count <= 4 && (i == 0 || text.folds[i - 1].code_point < fold.code_point),
                 "has character folds out of order"))
        return false;
      for (uint32_t k = 0; k < fold.count; ++k)
        if (!check(fold.text[k] <= 0x10ffff, "folds to what is no character"))
          return false;
    }
    return true;
  }

  heddle_text &text;
  const uint8_t *data;
  size_t size;
  char *message;
  size_t messageSize;
  Status failure = HEDDLE_TEXT_OK;
};

} // namespace
} // namespace heddle::text

using namespace heddle::text;

heddle_text_status heddle_text_open(const void *data, size_t size, heddle_text **out_text, char *message,
                                    size_t message_size) {
  if (!out_text)
    return fail(HEDDLE_TEXT_INVALID_ARGUMENT, message, message_size, "expected 'out_text', found NULL");
  *out_text = nullptr;
  auto *text = static_cast<heddle_text *>(calloc(1, sizeof(heddle_text)));
  if (!text)
    return fail(HEDDLE_TEXT_OUT_OF_MEMORY, message, message_size, "no memory for the text library");
  Status status = Validator(*text, static_cast<const uint8_t *>(data), size, message, message_size).run();
  if (status != HEDDLE_TEXT_OK) {
    free(text);
    return status;
  }
  *out_text = text;
  return HEDDLE_TEXT_OK;
}

void heddle_text_close(heddle_text *text) { free(text); }

heddle_text_status heddle_text_get_info(const heddle_text *text, heddle_text_info *info) {
  if (!text || !info || info->struct_size != sizeof *info)
    return HEDDLE_TEXT_INVALID_ARGUMENT;
  const heddle_text_header &h = *text->header;
  bool wordPiece = h.kind == HEDDLE_TEXT_WORD_PIECE;
  // A held-back character, a space between words, and each invalid byte as U+FFFD.
  uint32_t bytes = (h.max_token_bytes + 5) * 3;
  *info = {sizeof *info,
           h.kind,
           h.token_count,
           h.bos,
           h.eos,
           h.eot,
           h.unk,
           h.sep,
           h.cls,
           h.pad,
           h.mask,
           wordPiece || h.flags & HEDDLE_TEXT_ADD_BOS ? 1u : 0u,
           wordPiece || h.flags & HEDDLE_TEXT_ADD_EOS ? 1u : 0u,
           h.chat_template,
           bytes};
  return HEDDLE_TEXT_OK;
}

const char *heddle_text_token(const heddle_text *text, int32_t id, size_t *out_size, uint32_t *out_type) {
  if (!text || id < 0 || uint32_t(id) >= text->header->token_count)
    return nullptr;
  Bytes token = tokenText(*text, uint32_t(id));
  if (out_size)
    *out_size = token.size;
  if (out_type)
    *out_type = tokenType(*text, uint32_t(id));
  return reinterpret_cast<const char *>(token.data);
}

int32_t heddle_text_find(const heddle_text *text, const char *token, size_t size) {
  if (!text || !token)
    return -1;
  return findToken(*text, {reinterpret_cast<const uint8_t *>(token), size});
}

const int32_t *heddle_text_stop_tokens(const heddle_text *text, size_t *out_count) {
  if (!text || !out_count)
    return nullptr;
  *out_count = text->header->stops.count;
  return text->stops;
}

int heddle_text_is_stop(const heddle_text *text, int32_t id) {
  for (uint64_t i = 0; text && i < text->header->stops.count; ++i)
    if (text->stops[i] == id)
      return 1;
  return 0;
}
