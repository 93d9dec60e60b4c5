// A strict scanner for JSON (RFC 8259) that allocates nothing: the caller walks the values that it knows and
// skips others, and all of the text is checked on the way. Duplicate keys, escapes in keys, invalid UTF-8 and
// nesting deeper than 16 are errors. After the first error every call returns false.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace heddle::runtime {

struct Slice {
  const char *data;
  size_t size;
  bool equals(const char *text) const;
};

class JsonScanner {
public:
  JsonScanner(const char *text, size_t size) : text(text), size(size) {}

  /// while (enterObject() then nextKey(key)) { exactly one value }
  bool enterObject() { return enter('{'); }
  bool nextKey(Slice &key);
  bool enterArray() { return enter('['); }
  bool nextElement();

  /// A string without escapes.
  bool string(Slice &value);
  bool unsignedNumber(uint64_t &value);
  bool skip();
  /// Only white space is left.
  bool end();

  /// Ends the scan with an error of the caller's; the first one counts.
  bool fail(const char *what);
  const char *error() const { return message; }
  size_t offset() const { return at; }

private:
  static constexpr int maxDepth = 16;
  static constexpr int maxKeys = 1024; // of all objects that are open at one time

  struct Level {
    char kind;
    bool first;
    int keysBefore;
  };

  const char *text;
  size_t size, at = 0;
  const char *message = nullptr;
  Level levels[maxDepth];
  int depth = 0;
  Slice keys[maxKeys];
  int keyCount = 0;

  void space();
  bool take(char c);
  bool enter(char open);
  bool separator(char close, bool &done);
  bool scanString(Slice &raw, bool &escapes);
  bool utf8();
  bool word(const char *expected);
  bool number();
};

} // namespace heddle::runtime
