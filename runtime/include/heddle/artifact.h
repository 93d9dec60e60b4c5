// The artifact's container: zip in one canonical form, so that the list of (name, size, CRC-32) determines every byte
// that is not a member's data. Writer and reader share the functions below: the reader makes the headers again from
// what it has read and compares. docs/artifact.md has the reasons.
#ifndef HEDDLE_ARTIFACT_H
#define HEDDLE_ARTIFACT_H
#include <stdint.h>
#include <string.h>

#define HEDDLE_ZIP_ALIGNMENT 65536u  // of every member's data in the file
#define HEDDLE_ZIP_SIZE_MULTIPLE 256u // of every member's size: makes every padding expressible as an extra field
#define HEDDLE_ZIP_MAX_NAME 63u
#define HEDDLE_ZIP_MAX_MEMBERS 32u
#define HEDDLE_ZIP_MAX_SIZE ((uint64_t)1 << 46)
#define HEDDLE_ZIP_HEADER_BYTES 256u // room for any header below, padding not included
#define HEDDLE_ZIP_PADDING_ID 0x4448u // extra field of zeros

static inline uint8_t *heddle_zip_put(uint8_t *at, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    *at++ = (uint8_t)(value >> (8 * i));
  return at;
}

static inline uint32_t heddle_zip_clamp(uint64_t value) {
  return value >= 0xffffffffu ? 0xffffffffu : (uint32_t)value;
}

// Names are [a-z0-9._-] words joined by '/'; no word starts with '.'.
static inline int heddle_zip_name_is_valid(const char *name, size_t length) {
  if (length == 0 || length > HEDDLE_ZIP_MAX_NAME)
    return 0;
  for (size_t i = 0; i < length; ++i) {
    char c = name[i];
    int starts_word = i == 0 || name[i - 1] == '/';
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || (c == '.' && !starts_word) ||
          (c == '/' && !starts_word && i + 1 < length)))
      return 0;
  }
  return 1;
}

// Bytes of the padding field (its header of 4 included, or 0) that puts the data of a member whose local header
// starts at `start` on the next multiple of the alignment. Never 1 to 3 when `start` and sizes keep the rules.
static inline uint32_t heddle_zip_padding(size_t name_length, uint64_t size, uint64_t start) {
  uint64_t end = start + 30 + name_length + (size >= 0xffffffffu ? 20 : 0);
  return (uint32_t)((HEDDLE_ZIP_ALIGNMENT - end % HEDDLE_ZIP_ALIGNMENT) % HEDDLE_ZIP_ALIGNMENT);
}

// Writes a member's local header, or its record in the central directory, up to the padding's zeros; returns its
// length. `padding - 4` zero bytes follow if there is padding. `start` is where the local header is.
static inline size_t heddle_zip_header(uint8_t *out, int central, const char *name, uint64_t size, uint32_t crc,
                                       uint64_t start) {
  size_t length = strlen(name);
  uint32_t padding = heddle_zip_padding(length, size, start);
  int wide_size = size >= 0xffffffffu, wide_start = start >= 0xffffffffu;
  uint32_t zip64 = (wide_size ? 16 : 0) + (wide_start && central ? 8 : 0);
  uint8_t *at = heddle_zip_put(out, central ? 0x02014b50 : 0x04034b50, 4);
  if (central)
    at = heddle_zip_put(at, 45, 2); // made by: version 4.5, no operating system's attributes
  at = heddle_zip_put(at, wide_size || wide_start ? 45 : 10, 2); // version needed
  at = heddle_zip_put(at, 0, 6);                                 // flags, method "stored", time
  at = heddle_zip_put(at, 0x0021, 2); // date: 1 January 1980, the earliest there is
  at = heddle_zip_put(at, crc, 4);
  at = heddle_zip_put(at, heddle_zip_clamp(size), 4);
  at = heddle_zip_put(at, heddle_zip_clamp(size), 4);
  at = heddle_zip_put(at, length, 2);
  at = heddle_zip_put(at, (zip64 ? zip64 + 4 : 0) + padding, 2);
  if (central) {
    at = heddle_zip_put(at, 0, 8); // comment, disk, attributes
    at = heddle_zip_put(at, 0, 2);
    at = heddle_zip_put(at, heddle_zip_clamp(start), 4);
  }
  memcpy(at, name, length);
  at += length;
  if (zip64) {
    at = heddle_zip_put(at, 1, 2);
    at = heddle_zip_put(at, zip64, 2);
  }
  if (wide_size) {
    at = heddle_zip_put(at, size, 8);
    at = heddle_zip_put(at, size, 8);
  }
  if (wide_start && central)
    at = heddle_zip_put(at, start, 8);
  if (padding) {
    at = heddle_zip_put(at, HEDDLE_ZIP_PADDING_ID, 2);
    at = heddle_zip_put(at, padding - 4, 2);
  }
  return (size_t)(at - out);
}

// Writes what follows the central directory; returns its length.
static inline size_t heddle_zip_end(uint8_t *out, uint32_t members, uint64_t directory_size,
                                    uint64_t directory_start) {
  uint8_t *at = out;
  if (directory_start >= 0xffffffffu) {
    at = heddle_zip_put(at, 0x06064b50, 4);
    at = heddle_zip_put(at, 44, 8);
    at = heddle_zip_put(at, 45, 2);
    at = heddle_zip_put(at, 45, 2);
    at = heddle_zip_put(at, 0, 8);
    at = heddle_zip_put(at, members, 8);
    at = heddle_zip_put(at, members, 8);
    at = heddle_zip_put(at, directory_size, 8);
    at = heddle_zip_put(at, directory_start, 8);
    at = heddle_zip_put(at, 0x07064b50, 4);
    at = heddle_zip_put(at, 0, 4);
    at = heddle_zip_put(at, directory_start + directory_size, 8);
    at = heddle_zip_put(at, 1, 4);
  }
  at = heddle_zip_put(at, 0x06054b50, 4);
  at = heddle_zip_put(at, 0, 4);
  at = heddle_zip_put(at, members, 2);
  at = heddle_zip_put(at, members, 2);
  at = heddle_zip_put(at, directory_size, 4);
  at = heddle_zip_put(at, heddle_zip_clamp(directory_start), 4);
  at = heddle_zip_put(at, 0, 2);
  return (size_t)(at - out);
}

#endif
