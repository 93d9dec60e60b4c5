// WordPiece: characters are cleaned, folded and gathered to words; each word is the longest tokens that fit,
// from the left, or one unknown token.
#include "Text.h"

namespace heddle::text {
namespace {

/// Hangul syllables decompose by arithmetic; returns how many letters were written.
uint32_t decomposeHangul(uint32_t syllable, uint32_t *out) {
  uint32_t index = syllable - 0xac00;
  out[0] = 0x1100 + index / 588;
  out[1] = 0x1161 + index % 588 / 28;
  out[2] = 0x11a7 + index % 28;
  return index % 28 ? 3 : 2;
}

const heddle_text_fold *findFold(const heddle_text &text, uint32_t codePoint) {
  size_t low = 0, high = text.header->folds.count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (text.folds[middle].code_point < codePoint)
      low = middle + 1;
    else
      high = middle;
  }
  bool found = low < text.header->folds.count && text.folds[low].code_point == codePoint;
  return found ? &text.folds[low] : nullptr;
}

} // namespace

bool WordPieceEncoder::add(uint32_t codePoint, bool alone, Ids &ids) {
  if (alone && !flush(ids))
    return false;
  uint8_t bytes[4];
  if (!word.append(bytes, putCodePoint(codePoint, bytes)))
    return false;
  ++wordCharacters;
  return !alone || flush(ids);
}

bool WordPieceEncoder::flush(Ids &ids) {
  if (word.empty())
    return true;
  found.clear();
  bool known = wordCharacters <= text.header->max_word_characters;
  uint32_t start = HEDDLE_TEXT_HASH_START;
  for (size_t at = 0; known && at < word.size();) {
    if (at > 0) // a continuation's token is "##" and its text
      start = heddle_text_hash_byte(heddle_text_hash_byte(HEDDLE_TEXT_HASH_START, '#'), '#');
    size_t prefix = at > 0 ? 2 : 0, longest = 0;
    int32_t id = -1;
    uint32_t hash = start;
    for (size_t size = 1; at + size <= word.size() && size + prefix <= text.header->max_token_bytes; ++size) {
      hash = heddle_text_hash_byte(hash, word[at + size - 1]);
      bool boundary = at + size == word.size() || (word[at + size] & 0xc0) != 0x80;
      if (!boundary)
        continue;
      uint32_t end = heddle_text_hash_end(hash);
      uint64_t mask = text.header->token_slots.count - 1;
      for (uint64_t slot = end & mask; text.tokenSlots[slot].id1; slot = (slot + 1) & mask) {
        if (text.tokenSlots[slot].hash != end)
          continue;
        Bytes token = tokenText(text, text.tokenSlots[slot].id1 - 1);
        if (token.size == prefix + size && (!prefix || (token.data[0] == '#' && token.data[1] == '#')) &&
            memcmp(token.data + prefix, word.data() + at, size) == 0) {
          id = int32_t(text.tokenSlots[slot].id1 - 1);
          longest = size;
          break;
        }
      }
    }
    known = longest > 0;
    if (known && !found.push(id))
      return false;
    at += longest;
  }
  if (known) {
    for (size_t i = 0; i < found.size(); ++i)
      ids.add(found[i]);
  } else if (text.header->unk >= 0) {
    ids.add(text.header->unk);
  }
  word.clear();
  wordCharacters = 0;
  return true;
}

bool WordPieceEncoder::encode(Bytes fragment, Ids &ids) {
  bool strip = text.header->flags & HEDDLE_TEXT_STRIP_ACCENTS;
  word.clear();
  wordCharacters = 0;
  for (size_t at = 0; at < fragment.size;) {
    uint32_t point = nextCodePoint(fragment.data, fragment.size, at);
    uint32_t kind = classOf(text, point);
    if (kind == HEDDLE_TEXT_WORD_DROPPED || (strip && kind == HEDDLE_TEXT_WORD_MARK))
      continue;
    if (kind == HEDDLE_TEXT_WORD_SPACE) {
      if (!flush(ids))
        return false;
      continue;
    }
    bool alone = kind == HEDDLE_TEXT_WORD_IDEOGRAPH;
    uint32_t hangul[3];
    const uint32_t *folded = &point;
    uint32_t count = 1;
    if (point < 0x80) {
      point = text.header->ascii_fold[point];
    } else if (strip && point >= 0xac00 && point <= 0xd7a3) {
      count = decomposeHangul(point, hangul);
      folded = hangul;
    } else if (const heddle_text_fold *fold = findFold(text, point)) {
      folded = fold->text;
      count = fold->count;
    }
    for (uint32_t i = 0; i < count; ++i)
      if (!add(folded[i], alone || classOf(text, folded[i]) == HEDDLE_TEXT_WORD_PUNCTUATION, ids))
        return false;
  }
  return flush(ids);
}

} // namespace heddle::text
