// Text to ids: special tokens are cut out first, the longest ones before all others; what lies between them
// goes to the encoder of the model's kind.
#include "Text.h"

namespace heddle::text {

uint32_t nextCodePoint(const uint8_t *text, size_t size, size_t &at) {
  uint8_t first = text[at];
  size_t length = first < 0x80   ? 1
                  : first < 0xc0 ? 0
                  : first < 0xe0 ? 2
                  : first < 0xf0 ? 3
                  : first < 0xf8 ? 4
                                 : 0;
  if (length == 1) {
    ++at;
    return first;
  }
  uint32_t point = length ? first & (0x7f >> length) : 0;
  bool valid = length && length <= size - at;
  for (size_t i = 1; valid && i < length; ++i) {
    valid = (text[at + i] & 0xc0) == 0x80;
    point = point << 6 | (text[at + i] & 0x3f);
  }
  if (!valid || point > 0x10ffff) {
    ++at;
    return 0xfffd;
  }
  at += length;
  return point;
}

size_t putCodePoint(uint32_t codePoint, uint8_t *out) {
  if (codePoint < 0x80) {
    out[0] = uint8_t(codePoint);
    return 1;
  }
  size_t size = codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
  for (size_t i = size; i-- > 1; codePoint >>= 6)
    out[i] = uint8_t(0x80 | (codePoint & 0x3f));
  out[0] = uint8_t(0xf00 >> size | codePoint);
  return size;
}

namespace {

struct Match {
  size_t begin;
  uint32_t size, id;
};
bool longerFirst(const Match &a, const Match &b) {
  if (a.size != b.size)
    return a.size > b.size;
  return a.id != b.id ? a.id < b.id : a.begin < b.begin;
}
bool inTextOrder(const Match &a, const Match &b) { return a.begin < b.begin; }

class SpecialFinder {
public:
  SpecialFinder(const heddle_text &text, Bytes input, const Region *regions, size_t regionCount)
      : text(text), input(input), regions(regions), regionCount(regionCount) {}

  /// The occurrences that count, in text order. A longer token wins everywhere over a shorter one, an earlier
  /// occurrence over a later one of the same token.
  bool find(Array<Match> &matches) {
    Array<Match> candidates;
    for (size_t at = 0; at < input.size; ++at) {
      uint8_t byte = input.data[at];
      if (text.specialByByte[byte] == text.specialByByte[byte + 1])
        continue;
      Match match = longest(at, input.size - at);
      if (match.size && !candidates.push(match))
        return false;
    }
    if (candidates.empty())
      return true;

    Array<uint8_t> covered; // a bit for each byte of the input
    size_t bytes = input.size / 8 + 1;
    if (!covered.reserve(bytes))
      return false;
    memset(covered.data(), 0, bytes);
    auto isCovered = [&](size_t at) { return covered.data()[at / 8] >> at % 8 & 1; };
    makeHeap(candidates.data(), candidates.size(), longerFirst);
    while (!candidates.empty()) {
      Match match = popHeap(candidates, longerFirst);
      if (isCovered(match.begin))
        continue;
      // Accepted matches are at least as long, so that one that overlaps covers an end of this one.
      if (isCovered(match.begin + match.size - 1)) {
        Match shorter = longest(match.begin, match.size - 1);
        if (shorter.size && !pushHeap(candidates, shorter, longerFirst))
          return false;
        continue;
      }
      for (size_t at = match.begin; at < match.begin + match.size; ++at)
        covered.data()[at / 8] |= uint8_t(1 << at % 8);
      if (!pushHeap(accepted, match, inTextOrder))
        return false;
    }
    while (!accepted.empty())
      if (!matches.push(popHeap(accepted, inTextOrder)))
        return false;
    return true;
  }

private:
  bool allowed(uint32_t id, size_t begin, size_t size) {
    if (!(text.types[id] & HEDDLE_TEXT_TOKEN_PARSED_ONLY))
      return true;
    size_t low = 0, high = regionCount; // the last region that begins at or before `begin`
    while (low < high) {
      size_t middle = low + (high - low) / 2;
      if (regions[middle].begin <= begin)
        low = middle + 1;
      else
        high = middle;
    }
    return low > 0 && begin + size <= regions[low - 1].end;
  }

  /// The longest special token at `begin` of at most `limit` bytes; size 0 if there is none.
  Match longest(size_t begin, size_t limit) {
    Match best = {begin, 0, 0};
    const uint8_t *at = input.data + begin;
    uint32_t low = text.specialByByte[at[0]], high = text.specialByByte[at[0] + 1];
    // [low, high) are the tokens that begin with the first `depth` bytes; the shortest of them comes first.
    for (uint32_t depth = 1; low < high; ++depth) {
      if (tokenText(text, text.special[low]).size == depth) {
        if (allowed(text.special[low], begin, depth))
          best = {begin, depth, text.special[low]};
        ++low;
      }
      if (depth >= limit)
        break;
      low = bound(low, high, depth, at[depth]);
      high = bound(low, high, depth, at[depth] + 1);
    }
    return best;
  }

  /// The first token of [low, high) whose byte at `depth` is at least `byte`.
  uint32_t bound(uint32_t low, uint32_t high, uint32_t depth, uint32_t byte) {
    while (low < high) {
      uint32_t middle = low + (high - low) / 2;
      if (tokenText(text, text.special[middle]).data[depth] < byte)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }

  const heddle_text &text;
  Bytes input;
  const Region *regions;
  size_t regionCount;
  Array<Match> accepted;
};

} // namespace

bool encode(const heddle_text &tokenizer, Bytes text, const Region *regions, size_t regionCount,
            bool addSpecial, Ids &ids) {
  const heddle_text_header &header = *tokenizer.header;
  bool wordPiece = header.kind == HEDDLE_TEXT_WORD_PIECE;
  int32_t first = wordPiece ? header.cls : header.flags & HEDDLE_TEXT_ADD_BOS ? header.bos : -1;
  int32_t last = wordPiece ? header.sep : header.flags & HEDDLE_TEXT_ADD_EOS ? header.eos : -1;

  Array<Match> matches;
  if (header.special.count && !SpecialFinder(tokenizer, text, regions, regionCount).find(matches))
    return false;
  if (addSpecial && first >= 0)
    ids.add(first);

  BytePairEncoder bytePair(tokenizer);
  SentencePieceEncoder sentencePiece(tokenizer);
  WordPieceEncoder words(tokenizer);
  size_t begin = 0;
  for (size_t i = 0; i <= matches.size(); ++i) {
    size_t end = i < matches.size() ? matches[i].begin : text.size;
    if (begin < end) {
      Bytes fragment = {text.data + begin, end - begin};
      bool encoded = false;
      if (header.kind == HEDDLE_TEXT_BYTE_PAIR)
        encoded = bytePair.encode(fragment, ids);
      else if (header.kind ==
               HEDDLE_TEXT_SENTENCE_PIECE) // the prefix belongs to the first text and after specials
        encoded = sentencePiece.encode(fragment, header.flags & HEDDLE_TEXT_SPACE_PREFIX, ids);
      else
        encoded = words.encode(fragment, ids);
      if (!encoded)
        return false;
    }
    if (i < matches.size()) {
      ids.add(int32_t(matches[i].id));
      begin = end + matches[i].size;
    }
  }
  if (addSpecial && last >= 0)
    ids.add(last);
  return true;
}

} // namespace heddle::text

using namespace heddle::text;

heddle_text_status heddle_text_encode(const heddle_text *text, const char *utf8, size_t size, uint32_t flags,
                                      int32_t *ids, size_t capacity, size_t *out_count) {
  if (!text || (!utf8 && size) || (!ids && capacity) || !out_count ||
      flags & ~uint32_t(HEDDLE_TEXT_ENCODE_SPECIAL | HEDDLE_TEXT_PARSE_SPECIAL))
    return HEDDLE_TEXT_INVALID_ARGUMENT;
  Ids out = {ids, capacity};
  Region all = {0, size};
  Bytes bytes = {reinterpret_cast<const uint8_t *>(utf8), size};
  *out_count = 0;
  if (!encode(*text, bytes, &all, flags & HEDDLE_TEXT_PARSE_SPECIAL ? 1 : 0,
              flags & HEDDLE_TEXT_ENCODE_SPECIAL, out))
    return HEDDLE_TEXT_OUT_OF_MEMORY;
  *out_count = out.count;
  return out.status();
}
