// Ids to text, one at a time.
#include "Text.h"

namespace heddle::text {
namespace {

/// Where text goes: counts all of it and stores it if it fits.
struct Output {
  char *out;
  size_t capacity;
  size_t size = 0;
  void put(uint8_t byte) {
    if (size < capacity)
      out[size] = char(byte);
    ++size;
  }
};

int hexDigit(uint8_t c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// The value of a token named "<0x41>", or -1.
int byteValue(Bytes token) {
  if (token.size != 6 || memcmp(token.data, "<0x", 3) != 0 || token.data[5] != '>')
    return -1;
  int high = hexDigit(token.data[3]), low = hexDigit(token.data[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

class Writer {
public:
  Writer(heddle_text_decoder &decoder, Output &out) : decoder(decoder), out(out) {}

  void byte(uint8_t value) {
    if (decoder.flags & HEDDLE_TEXT_RAW_BYTES) {
      out.put(value);
      return;
    }
    if (decoder.pending_size) {
      if (continues(value)) {
        decoder.pending[decoder.pending_size++] = value;
        if (decoder.pending_size == length(decoder.pending[0])) {
          for (unsigned i = 0; i < decoder.pending_size; ++i)
            out.put(decoder.pending[i]);
          decoder.pending_size = 0;
        }
        return;
      }
      replace();
    }
    if (value < 0x80)
      out.put(value);
    else if (value >= 0xc2 && value <= 0xf4)
      decoder.pending[decoder.pending_size++] = value;
    else
      replace();
  }

  /// What is pending, or a byte that begins no character, becomes U+FFFD.
  void replace() {
    decoder.pending_size = 0;
    out.put(0xef);
    out.put(0xbf);
    out.put(0xbd);
  }

private:
  static unsigned length(uint8_t first) { return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4; }

  /// Whether `value` can follow the pending bytes: no overlong form, no surrogate, nothing above U+10FFFF.
  bool continues(uint8_t value) {
    uint8_t low = 0x80, high = 0xbf;
    if (decoder.pending_size == 1) {
      switch (decoder.pending[0]) {
      case 0xe0:
        low = 0xa0;
        break;
      case 0xed:
        high = 0x9f;
        break;
      case 0xf0:
        low = 0x90;
        break;
      case 0xf4:
        high = 0x8f;
        break;
      }
    }
    return value >= low && value <= high;
  }

  heddle_text_decoder &decoder;
  Output &out;
};

void writeToken(heddle_text_decoder &decoder, uint32_t id, Writer &writer) {
  const heddle_text &text = *decoder.text;
  Bytes token = tokenText(text, id);
  uint32_t type = tokenType(text, id);
  bool special = type == HEDDLE_TEXT_TOKEN_CONTROL || type == HEDDLE_TEXT_TOKEN_UNKNOWN;
  if (special && !(decoder.flags & HEDDLE_TEXT_SHOW_SPECIAL))
    return;
  bool first = !decoder.started;
  decoder.started = 1;

  if (text.header->kind == HEDDLE_TEXT_WORD_PIECE) {
    bool continues = !special && token.size > 2 && token.data[0] == '#' && token.data[1] == '#';
    if (!continues && !first)
      writer.byte(' ');
    for (size_t i = continues ? 2 : 0; i < token.size; ++i)
      writer.byte(token.data[i]);
    return;
  }
  if (type == HEDDLE_TEXT_TOKEN_BYTE) {
    if (int value = byteValue(token); value >= 0)
      writer.byte(uint8_t(value));
    return;
  }
  if (type == HEDDLE_TEXT_TOKEN_UNUSED || type == HEDDLE_TEXT_TOKEN_UNDEFINED)
    return;
  bool marks = text.header->kind == HEDDLE_TEXT_SENTENCE_PIECE && type == HEDDLE_TEXT_TOKEN_NORMAL;
  bool dropSpace = marks && first && text.header->flags & HEDDLE_TEXT_SPACE_PREFIX;
  for (size_t i = 0; i < token.size; ++i) {
    if (marks && token.size - i >= 3 && memcmp(token.data + i, "\xe2\x96\x81", 3) == 0) {
      if (!(dropSpace && i == 0))
        writer.byte(' ');
      i += 2;
      continue;
    }
    writer.byte(token.data[i]);
  }
}

} // namespace
} // namespace heddle::text

using namespace heddle::text;

heddle_text_status heddle_text_decoder_start(heddle_text_decoder *decoder, const heddle_text *text,
                                             uint32_t flags) {
  if (!decoder || !text || flags & ~uint32_t(HEDDLE_TEXT_SHOW_SPECIAL | HEDDLE_TEXT_RAW_BYTES))
    return HEDDLE_TEXT_INVALID_ARGUMENT;
  *decoder = {text, flags, {}, 0, 0, {}};
  return HEDDLE_TEXT_OK;
}

heddle_text_status heddle_text_decode(heddle_text_decoder *decoder, int32_t id, char *out, size_t capacity,
                                      size_t *out_size) {
  if (!decoder || !decoder->text || (!out && capacity) || !out_size || id < 0 ||
      uint32_t(id) >= decoder->text->header->token_count)
    return HEDDLE_TEXT_INVALID_ARGUMENT;
  heddle_text_decoder next = *decoder;
  Output output = {out, capacity};
  Writer writer(next, output);
  writeToken(next, uint32_t(id), writer);
  *out_size = output.size;
  if (output.size > capacity)
    return HEDDLE_TEXT_BUFFER_TOO_SMALL;
  *decoder = next;
  return HEDDLE_TEXT_OK;
}

heddle_text_status heddle_text_decode_end(heddle_text_decoder *decoder, char *out, size_t capacity,
                                          size_t *out_size) {
  if (!decoder || !decoder->text || (!out && capacity) || !out_size)
    return HEDDLE_TEXT_INVALID_ARGUMENT;
  *out_size = decoder->pending_size ? 3 : 0;
  if (*out_size > capacity)
    return HEDDLE_TEXT_BUFFER_TOO_SMALL;
  Output output = {out, capacity};
  if (decoder->pending_size)
    Writer(*decoder, output).replace();
  decoder->started = 0;
  return HEDDLE_TEXT_OK;
}
