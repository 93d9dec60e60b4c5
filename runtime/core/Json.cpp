#include "core/Json.h"
#include <string.h>

namespace heddle::runtime {

bool Slice::equals(const char *other) const {
  return strlen(other) == size && memcmp(data, other, size) == 0;
}

static bool isOneOf(const char *set, char c) {
  while (*set && *set != c)
    ++set;
  return *set;
}

bool JsonScanner::fail(const char *what) {
  if (!message)
    message = what;
  return false;
}

void JsonScanner::space() {
  while (at < size && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r'))
    ++at;
}

bool JsonScanner::take(char c) {
  if (message || at >= size || text[at] != c)
    return false;
  ++at;
  return true;
}

bool JsonScanner::enter(char open) {
  space();
  if (!take(open))
    return fail(open == '{' ? "expected '{'" : "expected '['");
  if (depth == maxDepth)
    return fail("nested deeper than 16");
  levels[depth++] = {open, true, keyCount};
  return true;
}

/// Steps over the comma before the next item; `done` when the container ends instead.
bool JsonScanner::separator(char close, bool &done) {
  Level &level = levels[depth - 1];
  done = false;
  space();
  if (take(close)) {
    keyCount = level.keysBefore;
    --depth;
    done = true;
    return true;
  }
  if (!level.first && !take(','))
    return fail("expected ',' or the end of the list");
  level.first = false;
  space();
  return !message;
}

bool JsonScanner::nextKey(Slice &key) {
  bool done, escapes;
  if (message || !separator('}', done) || done || !scanString(key, escapes))
    return false;
  if (escapes)
    return fail("a key has an escape");
  for (int i = levels[depth - 1].keysBefore; i < keyCount; ++i)
    if (keys[i].size == key.size && memcmp(keys[i].data, key.data, key.size) == 0)
      return fail("duplicate key");
  if (keyCount == maxKeys)
    return fail("more than 1024 keys");
  keys[keyCount++] = key;
  space();
  return take(':') || fail("expected ':'");
}

bool JsonScanner::nextElement() {
  bool done;
  return !message && separator(']', done) && !done;
}

/// One code point of two bytes or more: shortest form, no surrogates, at most U+10FFFF.
bool JsonScanner::utf8() {
  unsigned char lead = text[at];
  int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  if (lead < 0xc2 || lead > 0xf4 || size - at <= static_cast<size_t>(more))
    return fail("invalid UTF-8");
  uint32_t code = lead & (0x3f >> more);
  for (int i = 1; i <= more; ++i) {
    unsigned char c = text[at + i];
    if ((c & 0xc0) != 0x80)
      return fail("invalid UTF-8");
    code = code << 6 | (c & 0x3f);
  }
  if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000) || code > 0x10ffff ||
      (code >= 0xd800 && code < 0xe000))
    return fail("invalid UTF-8");
  at += more + 1;
  return true;
}

bool JsonScanner::scanString(Slice &raw, bool &escapes) {
  escapes = false;
  if (!take('"'))
    return fail("expected a string");
  size_t start = at;
  while (at < size) {
    unsigned char c = text[at];
    if (c == '"') {
      raw = {text + start, at - start};
      ++at;
      return true;
    }
    if (c < 0x20)
      return fail("a string has a control character");
    if (c >= 0x80) {
      if (!utf8())
        return false;
      continue;
    }
    ++at;
    if (c != '\\')
      continue;
    escapes = true;
    if (at == size)
      break;
    char kind = text[at++];
    int digits = kind == 'u' ? 4 : 0;
    if (!digits && !isOneOf("\"\\/bfnrt", kind))
      return fail("unknown escape");
    for (; digits; --digits, ++at)
      if (at >= size || !isOneOf("0123456789abcdefABCDEF", text[at]))
        return fail("expected four hexadecimal digits");
  }
  return fail("a string does not end");
}

bool JsonScanner::string(Slice &value) {
  bool escapes;
  space();
  if (message || !scanString(value, escapes))
    return false;
  return !escapes || fail("unexpected escape");
}

bool JsonScanner::unsignedNumber(uint64_t &value) {
  space();
  size_t start = at;
  value = 0;
  for (; !message && at < size && text[at] >= '0' && text[at] <= '9'; ++at)
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(text[at] - '0'), &value))
      return fail("number too large");
  if (message || at == start || (text[start] == '0' && at - start > 1) ||
      (at < size && isOneOf(".eE", text[at])))
    return fail("expected a whole number");
  return true;
}

bool JsonScanner::word(const char *expected) {
  size_t length = strlen(expected);
  if (size - at < length || memcmp(text + at, expected, length) != 0)
    return fail("expected a value");
  at += length;
  return true;
}

bool JsonScanner::number() {
  auto digits = [&] {
    size_t start = at;
    while (at < size && text[at] >= '0' && text[at] <= '9')
      ++at;
    return at > start || fail("expected a digit");
  };
  take('-');
  if (!take('0') && !digits())
    return false;
  if (take('.') && !digits())
    return false;
  if (take('e') || take('E')) {
    if (!take('+'))
      take('-');
    return digits();
  }
  return !message;
}

bool JsonScanner::skip() {
  space();
  if (message || at >= size)
    return fail("expected a value");
  Slice raw;
  bool escapes;
  switch (text[at]) {
  case '{': // at most 16 deep: enter() refuses more
    if (!enter('{'))
      return false;
    while (nextKey(raw))
      if (!skip())
        return false;
    return !message;
  case '[':
    if (!enter('['))
      return false;
    while (nextElement())
      if (!skip())
        return false;
    return !message;
  case '"':
    return scanString(raw, escapes);
  case 't':
    return word("true");
  case 'f':
    return word("false");
  case 'n':
    return word("null");
  default:
    return number();
  }
}

bool JsonScanner::end() {
  space();
  return !message && (at == size || fail("unexpected text after the end"));
}

} // namespace heddle::runtime
