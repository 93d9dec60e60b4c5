// Tokens of PTX text.
#pragma once
#include "drivers/cuda_sim/Syntax.h"

namespace heddle::cuda_sim {

struct Token {
  enum class Kind : uint8_t {
    Word,        // %r1, $L__BB0_3, add
    Dotted,      // .f32, without its dot
    Integer,     // value
    Float32,     // value: bits
    Float64,     // value: bits
    String,      // without quotes
    Punctuation, // one character
    End
  };
  Kind kind = Kind::End;
  std::string_view text;
  uint64_t value = 0;
  uint32_t line = 1;
  bool is(char c) const { return kind == Kind::Punctuation && text[0] == c; }
};

class Lexer {
public:
  explicit Lexer(std::string_view text) : text(text) {}
  /// Throws TextError for a character or number that PTX does not have.
  Token next();

private:
  void skipSpace();
  Token number();
  std::string_view text;
  size_t at = 0;
  uint32_t line = 1;
};

} // namespace heddle::cuda_sim
