// Character classes and foldings that tokenizers need, as the text library reads them from text.bin.
#pragma once
#include "heddle/text_format.h"
#include <array>
#include <cstdint>
#include <vector>

namespace heddle {

/// The class of every code point, in pages of which equal ones are stored once.
struct CharacterClasses {
  std::vector<uint16_t> index; // HEDDLE_TEXT_CLASS_PAGES
  std::vector<uint8_t> pages;  // HEDDLE_TEXT_CLASS_PAGE / 2 bytes each
};

CharacterClasses bytePairClasses();
CharacterClasses wordPieceClasses();

struct CharacterFolds {
  std::vector<heddle_text_fold> folds; // above ASCII, ascending
  std::array<uint8_t, 128> ascii;
};

/// What WordPiece replaces characters by. Hangul syllables are not listed: they decompose by arithmetic.
CharacterFolds wordPieceFolds(bool lowerCase, bool stripAccents);

} // namespace heddle
