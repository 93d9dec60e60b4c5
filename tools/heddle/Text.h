// The text side of a compiled model: token ids, chats, streams of output.
#ifndef HEDDLE_TOOLS_TEXT_H
#define HEDDLE_TOOLS_TEXT_H

#include "tools/heddle/Common.h"
#include <heddle/text.h>

namespace heddle::cli {

class Text {
public:
  // Reads the member `text.bin`; exit 4 when the model has none.
  Text(const heddle_model *model, const std::string &file);
  ~Text() { heddle_text_close(text); }
  Text(const Text &) = delete;
  Text &operator=(const Text &) = delete;

  const heddle_text *get() const { return text; }
  const heddle_text_info &info() const { return facts; }
  std::vector<int32_t> encode(std::string_view utf8, uint32_t flags) const;
  // One user message, after a system message unless that is empty, up to where the answer begins.
  std::vector<int32_t> encodeChat(const std::string &system, const std::string &user) const;
  bool isStop(int32_t token) const { return heddle_text_is_stop(text, token); }

private:
  std::string file;
  std::vector<uint64_t> data; // text.bin, aligned to 8 bytes
  heddle_text *text = nullptr;
  heddle_text_info facts;
};

// Turns ids into text piece by piece and stops at stop strings.
class TextStream {
public:
  TextStream(const Text &text, const std::vector<std::string> &stops, uint32_t flags = 0);
  ~TextStream() { heddle_text_stops_destroy(stops); }
  TextStream(const TextStream &) = delete;
  TextStream &operator=(const TextStream &) = delete;

  // Text that is certain after this id.
  std::string feed(int32_t token);
  // The rest, when no stop string was found.
  std::string end();
  bool stopped() const { return matched; }

private:
  std::string throughStops(std::string piece);

  const Text &text;
  heddle_text_decoder decoder;
  heddle_text_stops *stops = nullptr;
  bool matched = false;
};

void checkText(heddle_text_status status, const char *message, const std::string &context);

} // namespace heddle::cli

#endif
