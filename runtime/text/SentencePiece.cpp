// SentencePiece BPE: a text starts as its characters, spaces as U+2581, and the adjacent pair whose joined
// text is the token of highest score is merged until none is left. Characters without a token become their
// bytes.
#include "Text.h"

namespace heddle::text {
namespace {
constexpr uint32_t None = 0xffffffff;
constexpr int32_t Unknown = -2;

/// The length of a character by its first byte alone.
size_t characterSize(uint8_t first) { return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4; }

bool isSpaceMark(const uint8_t *text, size_t size) {
  return size == 3 && text[0] == 0xe2 && text[1] == 0x96 && text[2] == 0x81;
}
} // namespace

bool SentencePieceEncoder::push(uint32_t left, uint32_t right) {
  if (left == None || right == None)
    return true;
  uint32_t begin = symbols[left].begin, size = symbols[left].size + symbols[right].size;
  if (size > text.header->max_token_bytes)
    return true;
  int32_t id = findToken(text, {escaped.data() + begin, size});
  if (id < 0)
    return true;
  return pushHeap(merges, Merge{text.scores[id], left, right, size, id}, before);
}

/// Merges the symbols that have come together and writes their ids.
bool SentencePieceEncoder::flush(Ids &ids) {
  if (symbols.empty())
    return true;
  symbols.back().next = None;
  merges.clear();
  for (uint32_t i = 1; i < symbols.size(); ++i)
    if (!push(i - 1, i))
      return false;
  while (!merges.empty()) {
    Merge merge = popHeap(merges, before);
    Symbol &left = symbols[merge.left], &right = symbols[merge.right];
    // Symbols only grow, so that an equal size means that neither has changed.
    if (left.size == 0 || right.size == 0 || left.size + right.size != merge.size)
      continue;
    left.size = merge.size;
    left.id = merge.id;
    right.size = 0;
    left.next = right.next;
    if (right.next != None)
      symbols[right.next].previous = merge.left;
    if (!push(left.previous, merge.left) || !push(merge.left, left.next))
      return false;
  }
  for (uint32_t i = 0; i != None; i = symbols[i].next) {
    Symbol &symbol = symbols[i];
    const uint8_t *bytes = escaped.data() + symbol.begin;
    if (symbol.id == Unknown)
      symbol.id = findToken(text, {bytes, symbol.size});
    if (symbol.id >= 0) {
      ids.add(symbol.id);
      continue;
    }
    for (uint32_t k = 0; k < symbol.size; ++k) {
      int32_t id = text.header->byte_tokens[bytes[k]];
      if (id < 0)
        id = text.header->unk;
      if (id >= 0)
        ids.add(id);
    }
  }
  symbols.clear();
  return true;
}

bool SentencePieceEncoder::encode(Bytes fragment, bool spacePrefix, Ids &ids) {
  static constexpr uint8_t SpaceMark[] = {0xe2, 0x96, 0x81};
  escaped.clear();
  if (spacePrefix && !escaped.append(SpaceMark, 3))
    return false;
  for (size_t i = 0; i < fragment.size; ++i)
    if (fragment.data[i] == ' ' ? !escaped.append(SpaceMark, 3) : !escaped.push(fragment.data[i]))
      return false;
  if (escaped.size() >= None)
    return false;

  symbols.clear();
  for (size_t at = 0; at < escaped.size();) {
    size_t size = characterSize(escaped[at]);
    if (size > escaped.size() - at)
      size = escaped.size() - at;
    // No token spans this border, so that the parts can be merged on their own, in the cache.
    if (at > 0 && isSpaceMark(escaped.data() + at, size) && !text.header->joined_after[escaped[at - 1]] &&
        !flush(ids))
      return false;
    uint32_t index = symbols.size();
    if (!symbols.push({uint32_t(at), uint32_t(size), Unknown, index ? index - 1 : None, index + 1}))
      return false;
    at += size;
  }
  return flush(ids);
}

} // namespace heddle::text
