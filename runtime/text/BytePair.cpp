// Byte-level BPE: text is cut into pieces, each piece starts as its bytes, and the adjacent pair of lowest
// rank is merged until none is left. Pairs wait in a heap, so a piece of n bytes takes O(n log n).
#include "Text.h"

namespace heddle::text {
namespace {
constexpr uint32_t None = 0xffffffff;

const heddle_text_pair_slot *findPair(const heddle_text &text, uint32_t left, uint32_t right) {
  uint64_t mask = text.header->pair_slots.count - 1;
  for (uint64_t at = heddle_text_hash_pair(left, right) & mask;; at = (at + 1) & mask) {
    const heddle_text_pair_slot &slot = text.pairSlots[at];
    if (slot.result1 == 0) // validation made sure that there is an empty slot
      return nullptr;
    if (slot.left == left && slot.right == right)
      return &slot;
  }
}
} // namespace

bool BytePairEncoder::encode(Bytes fragment, Ids &ids) {
  characters.clear();
  if (!characters.reserve(fragment.size))
    return false;
  for (size_t at = 0; at < fragment.size;) {
    uint32_t point = nextCodePoint(fragment.data, fragment.size, at);
    (void)characters.push(classOf(text, point) << 24 | point); // reserved above
  }
  return split(0, 0, characters.size(), ids);
}

bool BytePairEncoder::split(unsigned stage, size_t begin, size_t end, Ids &ids) {
  if (stage == splitStages(text.header->split))
    return encodePiece(begin, end, ids);
  while (begin < end) {
    size_t next = splitPiece(text.header->split, stage, characters.data(), begin, end);
    if (!split(stage + 1, begin, next, ids))
      return false;
    begin = next;
  }
  return true;
}

bool BytePairEncoder::push(uint32_t left, uint32_t right) {
  if (left == None || right == None)
    return true;
  int32_t leftId = symbols[left].id, rightId = symbols[right].id;
  if (leftId < 0 || rightId < 0)
    return true;
  const heddle_text_pair_slot *pair = findPair(text, leftId, rightId);
  if (!pair)
    return true;
  return pushHeap(merges, Merge{pair->rank, left, uint32_t(leftId), uint32_t(rightId), pair->result1 - 1},
                  before);
}

bool BytePairEncoder::encodePiece(size_t begin, size_t end, Ids &ids) {
  piece.clear();
  if (!piece.reserve((end - begin) * 4))
    return false;
  for (size_t i = begin; i < end; ++i) {
    uint8_t bytes[4];
    (void)piece.append(bytes, putCodePoint(characters[i] & 0xffffff, bytes)); // reserved above
  }
  size_t count = piece.size();
  if (count == 1) {
    if (int32_t id = text.header->byte_tokens[piece[0]]; id >= 0)
      ids.add(id);
    return true;
  }
  if (text.header->flags & HEDDLE_TEXT_IGNORE_MERGES)
    if (int32_t id = findToken(text, {piece.data(), count}); id >= 0) {
      ids.add(id);
      return true;
    }

  symbols.clear();
  merges.clear();
  if (count >= None || !symbols.reserve(count))
    return false;
  for (size_t i = 0; i < count; ++i)
    (void)symbols.push({text.header->byte_tokens[piece[i]], i ? uint32_t(i - 1) : None,
                        i + 1 < count ? uint32_t(i + 1) : None});
  for (size_t i = 1; i < count; ++i)
    if (!push(i - 1, i))
      return false;

  while (!merges.empty()) {
    Merge merge = popHeap(merges, before);
    Symbol &left = symbols[merge.at];
    // Ids on either side change with every merge, so that equal ids mean the pair is still there.
    if (left.id != int32_t(merge.left) || left.next == None || symbols[left.next].id != int32_t(merge.right))
      continue;
    Symbol &right = symbols[left.next];
    left.id = merge.result;
    left.next = right.next;
    right.id = -1;
    if (right.next != None)
      symbols[right.next].previous = merge.at;
    if (!push(left.previous, merge.at) || !push(merge.at, left.next))
      return false;
  }
  for (uint32_t i = 0; i != None; i = symbols[i].next)
    if (symbols[i].id >= 0) // a byte that the vocabulary lacks has no id: it is left out, as in llama.cpp
      ids.add(symbols[i].id);
  return true;
}

} // namespace heddle::text
