#include "drivers/cuda_sim/Lexer.h"
#include <bit>
#include <cstdlib>

namespace heddle::cuda_sim {

namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isWordStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%';
}
bool isWordPart(char c) { return isWordStart(c) || isDigit(c); }

int digitOf(char c) {
  if (isDigit(c))
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return 99;
}

/// Text of the user in a message: bounded, without control characters.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text.substr(0, 40))
    out += c >= ' ' && c < 127 ? c : '?';
  return out + "'";
}

} // namespace

void Lexer::skipSpace() {
  while (at < text.size()) {
    char c = text[at];
    if (c == '\n') {
      ++line;
      ++at;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++at;
    } else if (c == '/' && at + 1 < text.size() && text[at + 1] == '/') {
      while (at < text.size() && text[at] != '\n')
        ++at;
    } else if (c == '/' && at + 1 < text.size() && text[at + 1] == '*') {
      uint32_t start = line;
      at += 2;
      while (at + 1 < text.size() && !(text[at] == '*' && text[at + 1] == '/'))
        line += text[at++] == '\n';
      if (at + 1 >= text.size())
        throw TextError{start, "a comment that starts here has no end"};
      at += 2;
    } else {
      return;
    }
  }
}

Token Lexer::number() {
  Token token;
  token.line = line;
  token.kind = Token::Kind::Integer;
  size_t start = at;
  auto rest = [&](size_t offset) { return at + offset < text.size() ? text[at + offset] : '\0'; };
  auto digits = [&](unsigned base, size_t most) {
    size_t first = at;
    uint64_t value = 0;
    while (at < text.size() && digitOf(text[at]) < static_cast<int>(base) && at - first < most) {
      if (value > (UINT64_MAX - digitOf(text[at])) / base)
        throw TextError{line,
                        "number " + quoted(text.substr(first, at - first + 1)) + " does not fit 64 bits"};
      value = value * base + digitOf(text[at++]);
    }
    if (at == first)
      throw TextError{line, "number " + quoted(text.substr(start, at - start + 1)) + " has no digits"};
    return value;
  };
  char second = rest(0) == '0' ? rest(1) : '\0';
  if (second == 'x' || second == 'X') {
    at += 2;
    token.value = digits(16, 32);
  } else if (second == 'b' || second == 'B') {
    at += 2;
    token.value = digits(2, 80);
  } else if (second == 'f' || second == 'F' || second == 'd' || second == 'D') {
    bool wide = second == 'd' || second == 'D';
    at += 2;
    size_t first = at;
    token.value = digits(16, wide ? 16 : 8);
    if (at - first != (wide ? 16u : 8u))
      throw TextError{line, "number " + quoted(text.substr(start, at - start)) + " has " +
                                std::to_string(at - first) + " hexadecimal digits, expected " +
                                (wide ? "16" : "8")};
    token.kind = wide ? Token::Kind::Float64 : Token::Kind::Float32;
  } else {
    size_t end = at;
    while (end < text.size() && isDigit(text[end]))
      ++end;
    bool decimal = end + 1 < text.size() && text[end] == '.' && isDigit(text[end + 1]);
    if (decimal || (end < text.size() && (text[end] == 'e' || text[end] == 'E'))) {
      ++end;
      while (end < text.size() && end - at < 64 &&
             (isDigit(text[end]) || text[end] == 'e' || text[end] == 'E' ||
              ((text[end] == '-' || text[end] == '+') && (text[end - 1] == 'e' || text[end - 1] == 'E'))))
        ++end;
      token.kind = Token::Kind::Float64;
      token.value =
          std::bit_cast<uint64_t>(std::strtod(std::string(text.substr(at, end - at)).c_str(), nullptr));
      at = end;
    } else {
      bool octal = rest(0) == '0' && isDigit(rest(1));
      token.value = digits(octal ? 8 : 10, 80);
    }
  }
  if (token.kind == Token::Kind::Integer && at < text.size() && text[at] == 'U')
    ++at;
  if (at < text.size() && isWordPart(text[at]))
    throw TextError{line, "number " + quoted(text.substr(start, at - start + 1)) + " ends in a letter"};
  token.text = text.substr(start, at - start);
  return token;
}

Token Lexer::next() {
  skipSpace();
  Token token;
  token.line = line;
  if (at >= text.size())
    return token;
  size_t start = at;
  char c = text[at];
  if (isDigit(c))
    return number();
  if (isWordStart(c)) {
    while (at < text.size() && isWordPart(text[at]))
      ++at;
    token.kind = Token::Kind::Word;
  } else if (c == '.' && at + 1 < text.size() && isWordPart(text[at + 1])) {
    ++at;
    ++start;
    // .L2::128B and .shared::cta are one name.
    while (at < text.size() && (isWordPart(text[at]) || (text[at] == ':' && at + 2 < text.size() &&
                                                         text[at + 1] == ':' && isWordPart(text[at + 2])))) {
      if (text[at] == ':')
        ++at;
      ++at;
    }
    token.kind = Token::Kind::Dotted;
  } else if (c == '"') {
    ++at;
    ++start;
    while (at < text.size() && text[at] != '"' && text[at] != '\n')
      ++at;
    if (at >= text.size() || text[at] != '"')
      throw TextError{line, "a string that starts here has no end"};
    token.kind = Token::Kind::String;
    token.text = text.substr(start, at - start);
    ++at;
    return token;
  } else if (std::string_view("{}[]()<>,;:+-@!|=*").find(c) != std::string_view::npos) {
    ++at;
    token.kind = Token::Kind::Punctuation;
  } else {
    throw TextError{line, "unexpected character " + quoted(text.substr(at, 1))};
  }
  token.text = text.substr(start, at - start);
  return token;
}

} // namespace heddle::cuda_sim
