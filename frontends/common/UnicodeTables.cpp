#include "frontends/common/UnicodeTables.h"
#include "llvm/ADT/ArrayRef.h"
#include <cassert>
#include <map>

namespace heddle {
namespace {

enum Class : uint8_t {
  Other = HEDDLE_TEXT_OTHER,
  Letter = HEDDLE_TEXT_LETTER,
  Number = HEDDLE_TEXT_NUMBER,
  Punctuation = HEDDLE_TEXT_PUNCTUATION,
  Symbol = HEDDLE_TEXT_SYMBOL,
  Mark = HEDDLE_TEXT_MARK,
  Space = HEDDLE_TEXT_SPACE,
};
struct WordClass {
  enum Value : uint8_t {
    Word = HEDDLE_TEXT_WORD,
    Dropped = HEDDLE_TEXT_WORD_DROPPED,
    Space = HEDDLE_TEXT_WORD_SPACE,
    Punctuation = HEDDLE_TEXT_WORD_PUNCTUATION,
    Ideograph = HEDDLE_TEXT_WORD_IDEOGRAPH,
    Mark = HEDDLE_TEXT_WORD_MARK,
  };
};

struct ClassRange { // up to the next range
  uint32_t first;
  uint8_t kind;
};
struct Mapping {
  uint32_t codePoint;
  uint32_t text[3]; // 0: no more
};

#include "frontends/common/UnicodeTables.inc"

constexpr uint32_t CodePoints = HEDDLE_TEXT_CLASS_PAGES * HEDDLE_TEXT_CLASS_PAGE;

CharacterClasses expand(llvm::ArrayRef<ClassRange> ranges) {
  CharacterClasses classes;
  std::map<std::vector<uint8_t>, uint16_t> known;
  size_t range = 0;
  for (uint32_t first = 0; first < CodePoints; first += HEDDLE_TEXT_CLASS_PAGE) {
    std::vector<uint8_t> page(HEDDLE_TEXT_CLASS_PAGE / 2);
    for (uint32_t i = 0; i < HEDDLE_TEXT_CLASS_PAGE; ++i) {
      while (range + 1 < ranges.size() && ranges[range + 1].first <= first + i)
        ++range;
      page[i / 2] |= ranges[range].kind << i % 2 * 4;
    }
    auto [entry, isNew] = known.try_emplace(page, known.size());
    if (isNew)
      classes.pages.insert(classes.pages.end(), page.begin(), page.end());
    classes.index.push_back(entry->second);
  }
  return classes;
}

std::map<uint32_t, std::vector<uint32_t>> toMap(llvm::ArrayRef<Mapping> mappings) {
  std::map<uint32_t, std::vector<uint32_t>> map;
  for (const Mapping &mapping : mappings)
    for (uint32_t c : mapping.text)
      if (c)
        map[mapping.codePoint].push_back(c);
  return map;
}

} // namespace

CharacterClasses bytePairClasses() { return expand(generalClasses); }
CharacterClasses wordPieceClasses() { return expand(wordClasses); }

CharacterFolds wordPieceFolds(bool lower, bool stripAccents) {
  std::map<uint32_t, std::vector<uint32_t>> toLower, folded;
  if (lower)
    folded = toLower = toMap(lowerCase);
  if (stripAccents) // decomposition comes first, then lower case of what it gives
    for (auto &[codePoint, text] : toMap(decompositions)) {
      std::vector<uint32_t> result;
      for (uint32_t c : text) {
        auto lowered = toLower.find(c);
        if (lowered == toLower.end())
          result.push_back(c);
        else
          result.insert(result.end(), lowered->second.begin(), lowered->second.end());
      }
      folded[codePoint] = result;
    }

  CharacterFolds folds;
  for (unsigned c = 0; c < 128; ++c)
    folds.ascii[c] = lower && c >= 'A' && c <= 'Z' ? c + 32 : c;
  for (auto &[codePoint, text] : folded) {
    if (codePoint < 128)
      continue;
    heddle_text_fold fold = {codePoint, static_cast<uint32_t>(text.size()), {}};
    assert(text.size() <= std::size(fold.text));
    std::copy(text.begin(), text.end(), fold.text);
    folds.folds.push_back(fold);
  }
  return folds;
}

} // namespace heddle
