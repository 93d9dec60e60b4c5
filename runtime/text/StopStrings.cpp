// Finds stop strings in a stream of text. Each string has its own Knuth-Morris-Pratt automaton; text is held
// back while it could be the beginning of a string.
#include "Text.h"

struct heddle_text_stops {
  size_t count, longest;
  // One allocation holds all below.
  size_t *begins;    // [count + 1]: where a string begins in `strings` and `borders`
  uint32_t *borders; // KMP: length of the longest border of each prefix
  uint32_t *states;  // [count]: how much of the string the stream ends with
  uint8_t *strings;
  uint8_t *held; // [longest]
  size_t heldSize;
  bool done;
};

heddle_text_status heddle_text_stops_create(const char *const *strings, const size_t *sizes, size_t count,
                                            heddle_text_stops **out_stops) {
  if (!out_stops)
    return HEDDLE_TEXT_INVALID_ARGUMENT;
  *out_stops = nullptr;
  if ((!strings || !sizes) && count)
    return HEDDLE_TEXT_INVALID_ARGUMENT;
  size_t total = 0, longest = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!strings[i] || sizes[i] == 0 || sizes[i] > (1u << 30) - total || count > 1u << 20)
      return HEDDLE_TEXT_INVALID_ARGUMENT;
    total += sizes[i];
    longest = sizes[i] > longest ? sizes[i] : longest;
  }
  size_t bytes = sizeof(heddle_text_stops) + (count + 1) * sizeof(size_t) + total * sizeof(uint32_t) +
                 count * sizeof(uint32_t) + total + longest;
  auto *memory = static_cast<uint8_t *>(calloc(1, bytes));
  if (!memory)
    return HEDDLE_TEXT_OUT_OF_MEMORY;
  auto *stops = reinterpret_cast<heddle_text_stops *>(memory);
  stops->count = count;
  stops->longest = longest;
  stops->begins = reinterpret_cast<size_t *>(stops + 1);
  stops->borders = reinterpret_cast<uint32_t *>(stops->begins + count + 1);
  stops->states = stops->borders + total;
  stops->strings = reinterpret_cast<uint8_t *>(stops->states + count);
  stops->held = stops->strings + total;
  for (size_t i = 0; i < count; ++i) {
    size_t begin = stops->begins[i];
    stops->begins[i + 1] = begin + sizes[i];
    uint8_t *string = stops->strings + begin;
    uint32_t *border = stops->borders + begin;
    memcpy(string, strings[i], sizes[i]);
    for (uint32_t at = 1, matched = 0; at < sizes[i]; ++at) {
      while (matched && string[at] != string[matched])
        matched = border[matched - 1];
      matched += string[at] == string[matched];
      border[at] = matched;
    }
  }
  *out_stops = stops;
  return HEDDLE_TEXT_OK;
}

void heddle_text_stops_destroy(heddle_text_stops *stops) { free(stops); }

void heddle_text_stops_reset(heddle_text_stops *stops) {
  if (!stops)
    return;
  memset(stops->states, 0, stops->count * sizeof(uint32_t));
  stops->heldSize = 0;
  stops->done = false;
}

size_t heddle_text_stops_held(const heddle_text_stops *stops) {
  return stops && stops->longest ? stops->longest - 1 : 0;
}

heddle_text_status heddle_text_stops_feed(heddle_text_stops *stops, const char *piece, size_t size, char *out,
                                          size_t capacity, size_t *out_size, int *out_matched) {
  if (!stops || (!piece && size) || (!out && capacity) || !out_size || !out_matched)
    return HEDDLE_TEXT_INVALID_ARGUMENT;
  *out_matched = -1;
  *out_size = stops->heldSize + size;
  if (capacity < *out_size)
    return HEDDLE_TEXT_BUFFER_TOO_SMALL;
  *out_size = 0;
  if (stops->done)
    return HEDDLE_TEXT_OK;

  // `out` holds the undecided text and grows by the piece; its end is taken back into `held` afterwards.
  if (stops->heldSize)
    memcpy(out, stops->held, stops->heldSize);
  size_t written = stops->heldSize;
  for (size_t at = 0; at < size; ++at) {
    uint8_t byte = uint8_t(piece[at]);
    out[written++] = char(byte);
    size_t found = 0;
    for (size_t i = 0; i < stops->count; ++i) {
      const uint8_t *string = stops->strings + stops->begins[i];
      const uint32_t *border = stops->borders + stops->begins[i];
      size_t length = stops->begins[i + 1] - stops->begins[i];
      uint32_t state = stops->states[i];
      while (state && string[state] != byte)
        state = border[state - 1];
      state += string[state] == byte;
      stops->states[i] = state;
      if (state == length && length > found) {
        found = length;
        *out_matched = int(i);
      }
    }
    if (found) {
      stops->done = true;
      stops->heldSize = 0;
      *out_size = written - found;
      return HEDDLE_TEXT_OK;
    }
  }
  size_t undecided = 0;
  for (size_t i = 0; i < stops->count; ++i)
    undecided = stops->states[i] > undecided ? stops->states[i] : undecided;
  *out_size = written - undecided;
  stops->heldSize = undecided;
  if (undecided)
    memcpy(stops->held, out + *out_size, undecided);
  return HEDDLE_TEXT_OK;
}

heddle_text_status heddle_text_stops_end(heddle_text_stops *stops, char *out, size_t capacity,
                                         size_t *out_size) {
  if (!stops || (!out && capacity) || !out_size)
    return HEDDLE_TEXT_INVALID_ARGUMENT;
  *out_size = stops->heldSize;
  if (capacity < stops->heldSize)
    return HEDDLE_TEXT_BUFFER_TOO_SMALL;
  if (stops->heldSize)
    memcpy(out, stops->held, stops->heldSize);
  heddle_text_stops_reset(stops);
  return HEDDLE_TEXT_OK;
}
