// How byte-level BPE cuts a text into pieces before it merges: the published regular expressions, written out
// as matchers over character classes. docs/text.md lists the expressions.
#include "Text.h"

namespace heddle::text {
namespace {

constexpr uint32_t End = 0xffffffff; // no code point and no class equals it

class Cursor {
public:
  Cursor(const uint32_t *characters, size_t end) : characters(characters), end(end) {}
  uint32_t point(size_t at) const { return at < end ? characters[at] & 0xffffff : End; }
  uint32_t kind(size_t at) const { return at < end ? characters[at] >> 24 : End; }
  bool letter(size_t at) const { return kind(at) == HEDDLE_TEXT_LETTER; }
  bool number(size_t at) const { return kind(at) == HEDDLE_TEXT_NUMBER; }
  bool space(size_t at) const { return kind(at) == HEDDLE_TEXT_SPACE; }
  bool mark(size_t at) const { return kind(at) == HEDDLE_TEXT_MARK; }
  bool newline(size_t at) const { return point(at) == '\r' || point(at) == '\n'; }
  bool punctuationOrSymbol(size_t at) const {
    return kind(at) == HEDDLE_TEXT_PUNCTUATION || kind(at) == HEDDLE_TEXT_SYMBOL;
  }
  /// [^\s\p{L}\p{N}]
  bool sign(size_t at) const { return at < end && !space(at) && !letter(at) && !number(at); }
  bool inside(size_t at) const { return at < end; }

  template <typename Is> size_t run(size_t at, Is is) const {
    while (is(at))
      ++at;
    return at;
  }

private:
  const uint32_t *characters;
  size_t end;
};

/// 's|'t|'re|'ve|'m|'ll|'d at `at`: its end, or `at`.
size_t contraction(const Cursor &c, size_t at, bool ignoreCase) {
  if (c.point(at) != '\'')
    return at;
  // Only ASCII: no other letter lower-cases to one of these.
  auto lower = [&](size_t i) {
    uint32_t point = c.point(i);
    return ignoreCase && point >= 'A' && point <= 'Z' ? point + 32 : point;
  };
  uint32_t first = lower(at + 1), second = lower(at + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd')
    return at + 2;
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l'))
    return at + 3;
  return at;
}

/// \s+(?!\S)|\s+ : of white space before other text, the last character goes with that text.
size_t whiteSpace(const Cursor &c, size_t at) {
  size_t end = c.run(at, [&](size_t i) { return c.space(i); });
  return end - at > 1 && c.inside(end) ? end - 1 : end;
}

/// \s*[\r\n]+ : the end of the last line break in the white space at `at`, or `at`.
size_t lineBreaks(const Cursor &c, size_t at) {
  size_t end = at;
  for (size_t i = at; c.space(i); ++i)
    if (c.newline(i))
      end = i + 1;
  return end;
}

/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t gpt2(const Cursor &c, size_t at) {
  if (size_t end = contraction(c, at, false); end != at)
    return end;
  size_t body = at + (c.point(at) == ' ');
  if (c.letter(body))
    return c.run(body, [&](size_t i) { return c.letter(i); });
  if (c.number(body))
    return c.run(body, [&](size_t i) { return c.number(i); });
  if (c.sign(body))
    return c.run(body, [&](size_t i) { return c.sign(i); });
  return whiteSpace(c, at);
}

/// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|
/// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
/// \s+(?!\S)|\s+
size_t llama3(const Cursor &c, size_t at, size_t digits) {
  if (size_t end = contraction(c, at, true); end != at)
    return end;
  size_t letters = c.newline(at) || c.number(at) || c.letter(at) ? at : at + 1;
  if (c.letter(letters))
    return c.run(letters, [&](size_t i) { return c.letter(i); });
  if (c.number(at))
    return c.run(at, [&](size_t i) { return i < at + digits && c.number(i); });
  size_t body = at + (c.point(at) == ' ');
  if (c.sign(body)) {
    size_t end = c.run(body, [&](size_t i) { return c.sign(i); });
    return c.run(end, [&](size_t i) { return c.newline(i); });
  }
  if (size_t end = lineBreaks(c, at); end != at)
    return end;
  return whiteSpace(c, at);
}

/// [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
/// ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ at `at`: the end of the match, or `at` where nothing
/// matches.
size_t deepseek3Match(const Cursor &c, size_t at) {
  auto asciiLetter = [&](size_t i) {
    uint32_t point = c.point(i);
    return (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z');
  };
  auto letterOrMark = [&](size_t i) { return c.letter(i) || c.mark(i); };
  if (c.punctuationOrSymbol(at) && c.point(at) < 0x80 && asciiLetter(at + 1))
    return c.run(at + 1, asciiLetter);
  bool optional = !c.newline(at) && !c.letter(at) && !c.punctuationOrSymbol(at);
  if (optional && letterOrMark(at + 1))
    return c.run(at + 1, letterOrMark);
  if (letterOrMark(at))
    return c.run(at, letterOrMark);
  size_t body = at + (c.point(at) == ' ');
  if (c.punctuationOrSymbol(body)) {
    size_t end = c.run(body, [&](size_t i) { return c.punctuationOrSymbol(i); });
    return c.run(end, [&](size_t i) { return c.newline(i); });
  }
  if (size_t end = lineBreaks(c, at); end != at)
    return end;
  return whiteSpace(c, at);
}

size_t deepseek3(const Cursor &c, size_t at) {
  if (size_t end = deepseek3Match(c, at); end != at)
    return end;
  // What matches nothing stays together up to the next match.
  size_t end = at + 1;
  while (c.inside(end) && deepseek3Match(c, end) == end)
    ++end;
  return end;
}

/// A piece of characters that are `is`, at most `most` of them, or all characters up to the next that is.
template <typename Is> size_t isolate(const Cursor &c, size_t at, Is is, size_t most = SIZE_MAX) {
  if (is(at))
    return c.run(at, [&](size_t i) { return i - at < most && is(i); });
  return c.run(at, [&](size_t i) { return c.inside(i) && !is(i); });
}

size_t threeDigits(const Cursor &c, size_t at) {
  auto digit = [&](size_t i) { return c.point(i) >= '0' && c.point(i) <= '9'; };
  auto three = [&](size_t i) { return digit(i) && digit(i + 1) && digit(i + 2); };
  if (three(at))
    return at + 3;
  return c.run(at, [&](size_t i) { return c.inside(i) && !three(i); });
}

size_t defaultSplit(const Cursor &c, unsigned stage, size_t at) {
  switch (stage) {
  case 0: // [\p{P}\$\+<=>\^~\|]+
    return isolate(c, at, [&](size_t i) {
      uint32_t p = c.point(i);
      return c.kind(i) == HEDDLE_TEXT_PUNCTUATION || p == '$' || p == '+' || (p >= '<' && p <= '>') ||
             p == '^' || p == '~' || p == '|';
    });
  case 1:
    return gpt2(c, at);
  case 2: // \p{N}+
    return isolate(c, at, [&](size_t i) { return c.number(i); });
  default: // [0-9][0-9][0-9]
    return threeDigits(c, at);
  }
}

} // namespace

unsigned splitStages(uint32_t split) {
  switch (split) {
  case HEDDLE_TEXT_SPLIT_DEFAULT:
    return 4;
  case HEDDLE_TEXT_SPLIT_DIGITS:
    return 2;
  case HEDDLE_TEXT_SPLIT_DEEPSEEK3:
    return 3;
  default:
    return 1;
  }
}

size_t splitPiece(uint32_t split, unsigned stage, const uint32_t *characters, size_t begin, size_t end) {
  Cursor c(characters, end);
  switch (split) {
  case HEDDLE_TEXT_SPLIT_DIGITS:
    return stage == 0 ? isolate(c, begin, [&](size_t i) { return c.number(i); }, 1) : gpt2(c, begin);
  case HEDDLE_TEXT_SPLIT_LLAMA3:
    return llama3(c, begin, 3);
  case HEDDLE_TEXT_SPLIT_QWEN2:
    return llama3(c, begin, 1);
  case HEDDLE_TEXT_SPLIT_DEEPSEEK3:
    if (stage == 0)
      return isolate(c, begin, [&](size_t i) { return c.number(i); }, 3);
    if (stage == 1) // ideographs and kana
      return isolate(c, begin, [&](size_t i) {
        uint32_t p = c.point(i);
        return (p >= 0x4e00 && p <= 0x9fa5) || (p >= 0x3040 && p <= 0x30ff);
      });
    return deepseek3(c, begin);
  case HEDDLE_TEXT_SPLIT_DEFAULT:
    return defaultSplit(c, stage, begin);
  default:
    return gpt2(c, begin);
  }
}

} // namespace heddle::text
