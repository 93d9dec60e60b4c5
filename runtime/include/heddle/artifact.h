// The artifact's container: zip in one canonical form, so that the list of (name, size, CRC-32) determines
// every byte that is not a member's data. Writer and reader share the functions below: the reader makes the
// headers again from what it has read and compares. docs/artifact.md has the reasons.
#ifndef HEDDLE_ARTIFACT_H
#define HEDDLE_ARTIFACT_H
#include <stdint.h>
#include <string.h>

#define HEDDLE_ZIP_ALIGNMENT 65536u // of every member's data in the file
#define HEDDLE_ZIP_SIZE_MULTIPLE                                                                             \
  256u // of every member's size: makes every padding expressible as an extra field
#define HEDDLE_ZIP_MAX_NAME 63u
#define HEDDLE_ZIP_MAX_MEMBERS 32u
#define HEDDLE_ZIP_MAX_SIZE ((uint64_t)1 << 46)
#define HEDDLE_ZIP_HEADER_BYTES 256u  // room for any header below, padding not included
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
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
          (c == '.' && !starts_word) || (c == '/' && !starts_word && i + 1 < length)))
      return 0;
  }
  return 1;
}

// Bytes of the padding field (its header of 4 included, or 0) that puts the data of a member whose local
// header starts at `start` on the next multiple of the alignment. Never 1 to 3 when `start` and sizes keep
// the rules.
static inline uint32_t heddle_zip_padding(size_t name_length, uint64_t size, uint64_t start) {
  uint64_t end = start + 30 + name_length + (size >= 0xffffffffu ? 20 : 0);
  return (uint32_t)((HEDDLE_ZIP_ALIGNMENT - end % HEDDLE_ZIP_ALIGNMENT) % HEDDLE_ZIP_ALIGNMENT);
}

// A record of the central directory. A local header is a signature and the fields from `needed` to
// `extra_length`. Little-endian, as the machines are that the compiler makes code for.
#pragma pack(push, 1)
typedef struct heddle_zip_record {
  uint32_t signature;
  uint16_t made_by, needed, flags, method, time, date;
  uint32_t crc, stored_size, size;
  uint16_t name_length, extra_length, comment_length, disk, internal_attributes;
  uint32_t external_attributes, start;
} heddle_zip_record;
#pragma pack(pop)

// Writes a member's local header, or its record in the central directory, up to the padding's zeros; returns
// its length. `padding - 4` zero bytes follow if there is padding. `start` is where the local header is.
static inline size_t heddle_zip_header(uint8_t *out, int central, const char *name, uint64_t size,
                                       uint32_t crc, uint64_t start) {
  size_t length = strlen(name);
  uint32_t padding = heddle_zip_padding(length, size, start);
  int wide_size = size >= 0xffffffffu, wide_start = start >= 0xffffffffu;
  uint32_t zip64 = (wide_size ? 16 : 0) + (wide_start && central ? 8 : 0);
  heddle_zip_record record;
  memset(&record, 0, sizeof record);
  record.signature = 0x02014b50;
  record.made_by = 45; // version 4.5, no operating system's attributes
  record.needed = wide_size || wide_start ? 45 : 10;
  record.date = 0x0021; // 1 January 1980, the earliest there is
  record.crc = crc;
  record.stored_size = record.size = heddle_zip_clamp(size);
  record.name_length = (uint16_t)length;
  record.extra_length = (uint16_t)((zip64 ? zip64 + 4 : 0) + padding);
  record.start = heddle_zip_clamp(start);

  uint8_t *at = out;
  if (central) {
    memcpy(at, &record, sizeof record);
    at += sizeof record;
  } else {
    at = heddle_zip_put(at, 0x04034b50, 4);
    memcpy(at, (const uint8_t *)&record + 6, 26);
    at += 26;
  }
  memcpy(at, name, length);
  at += length;
  if (zip64)
    at = heddle_zip_put(at, 1 | zip64 << 16, 4);
  if (wide_size) {
    at = heddle_zip_put(at, size, 8);
    at = heddle_zip_put(at, size, 8);
  }
  if (wide_start && central)
    at = heddle_zip_put(at, start, 8);
  if (padding)
    at = heddle_zip_put(at, HEDDLE_ZIP_PADDING_ID | (padding - 4) << 16, 4);
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
