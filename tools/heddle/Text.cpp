#include "tools/heddle/Text.h"

namespace heddle::cli {

void checkText(heddle_text_status status, const char *message, const std::string &context) {
  static const std::pair<heddle_text_status, std::pair<Exit, const char *>> meanings[] = {
      {HEDDLE_TEXT_INVALID_ARGUMENT, {ExitUsage, "this request cannot be met"}},
      {HEDDLE_TEXT_CORRUPT, {ExitInvalidFile, "the member 'text.bin' is damaged"}},
      {HEDDLE_TEXT_UNSUPPORTED, {ExitUnsupported, "this model has no such thing"}},
      {HEDDLE_TEXT_OUT_OF_MEMORY, {ExitResourceLimit, "out of memory"}}};
  if (status == HEDDLE_TEXT_OK)
    return;
  for (const auto &[code, meaning] : meanings)
    if (code == status)
      fail(meaning.first, printable(context) + ": " + (message[0] ? message : meaning.second));
  fail(ExitInternal, printable(context) + ": text library status " + std::to_string(status));
}

Text::Text(const heddle_model *model, const std::string &file) : file(file) {
  std::optional<std::string> member = readMember(model, "text.bin");
  if (!member)
    fail(ExitUnsupported, printable(file) + ": the model has no tokenizer (no member 'text.bin')");
  data.resize((member->size() + 7) / 8);
  std::memcpy(data.data(), member->data(), member->size());
  char message[512] = "";
  checkText(heddle_text_open(data.data(), member->size(), &text, message, sizeof message), message, file);
  facts = sized<heddle_text_info>();
  checkText(heddle_text_get_info(text, &facts), "", file);
}

// Calls `encode(ids, capacity, &count)` again with more room when the first guess was too small.
template <typename Encode> static std::vector<int32_t> grow(size_t guess, Encode encode) {
  std::vector<int32_t> ids(guess);
  size_t count = 0;
  if (encode(ids.data(), ids.size(), &count) == HEDDLE_TEXT_BUFFER_TOO_SMALL) {
    ids.resize(count);
    encode(ids.data(), ids.size(), &count);
  }
  ids.resize(count);
  return ids;
}

std::vector<int32_t> Text::encode(std::string_view utf8, uint32_t flags) const {
  return grow(utf8.size() / 2 + 16, [&](int32_t *ids, size_t capacity, size_t *count) {
    heddle_text_status status =
        heddle_text_encode(text, utf8.data(), utf8.size(), flags, ids, capacity, count);
    if (status != HEDDLE_TEXT_BUFFER_TOO_SMALL)
      checkText(status, "", file);
    return status;
  });
}

std::vector<int32_t> Text::encodeChat(const std::string &system, const std::string &user) const {
  std::vector<heddle_text_message> messages;
  auto add = [&](std::string_view role, const std::string &content) {
    messages.push_back({role.data(), role.size(), content.data(), content.size()});
  };
  if (!system.empty())
    add("system", system);
  add("user", user);
  return grow((system.size() + user.size()) / 2 + 64, [&](int32_t *ids, size_t capacity, size_t *count) {
    char message[512] = "";
    heddle_text_status status =
        heddle_text_encode_chat(text, messages.data(), messages.size(), HEDDLE_TEXT_CHAT_GENERATE, ids,
                                capacity, count, message, sizeof message);
    if (status == HEDDLE_TEXT_UNSUPPORTED)
      fail(ExitUnsupported, printable(file) +
                                ": no known chat template was recorded when this model was compiled; "
                                "compile it with --chat-template, or give the whole prompt without --chat");
    if (status != HEDDLE_TEXT_BUFFER_TOO_SMALL)
      checkText(status, message, file);
    return status;
  });
}

TextStream::TextStream(const Text &text, const std::vector<std::string> &strings, uint32_t flags)
    : text(text) {
  checkText(heddle_text_decoder_start(&decoder, text.get(), flags), "", "output");
  std::vector<const char *> pointers;
  std::vector<size_t> sizes;
  for (const std::string &string : strings) {
    pointers.push_back(string.data());
    sizes.push_back(string.size());
  }
  if (!strings.empty())
    checkText(heddle_text_stops_create(pointers.data(), sizes.data(), strings.size(), &stops), "", "--stop");
}

std::string TextStream::throughStops(std::string piece) {
  if (!stops || piece.empty())
    return piece;
  std::string out(heddle_text_stops_held(stops) + piece.size(), '\0');
  size_t size = 0;
  int match = -1;
  checkText(heddle_text_stops_feed(stops, piece.data(), piece.size(), out.data(), out.size(), &size, &match),
            "", "output");
  matched = matched || match >= 0;
  out.resize(size);
  return out;
}

std::string TextStream::feed(int32_t token) {
  std::string piece(text.info().max_piece_bytes, '\0');
  size_t size = 0;
  checkText(heddle_text_decode(&decoder, token, piece.data(), piece.size(), &size), "", "output");
  piece.resize(size);
  return throughStops(std::move(piece));
}

std::string TextStream::end() {
  char rest[8];
  size_t size = 0;
  checkText(heddle_text_decode_end(&decoder, rest, sizeof rest, &size), "", "output");
  std::string out = throughStops(std::string(rest, size));
  if (!stops || matched)
    return out;
  std::string held(heddle_text_stops_held(stops), '\0');
  checkText(heddle_text_stops_end(stops, held.data(), held.size(), &size), "", "output");
  return out + held.substr(0, size);
}

} // namespace heddle::cli
