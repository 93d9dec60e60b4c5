#include "core/Archive.h"
#include "core/Json.h"
#include "core/Sha256.h"
#include <inttypes.h>

namespace heddle::runtime {

static constexpr uint64_t maxManifest = 16u << 20;

static uint64_t get(const uint8_t *at, int bytes) {
  uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i)
    value = value << 8 | at[i];
  return value;
}

[[gnu::cold]] static heddle_status bad(heddle_error *error, const char *what, uint64_t offset) {
  return fail(error, HEDDLE_INVALID_FILE, "artifact: %s at byte %" PRIu64, what, offset);
}

/// Compares the file with `expected`, followed by `zeros` zero bytes.
static heddle_status expectBytes(const Source &source, uint64_t offset, const uint8_t *expected, size_t size,
                                 uint64_t zeros, heddle_error *error) {
  uint8_t found[1024];
  for (uint64_t done = 0; done < size + zeros;) {
    uint64_t piece = smaller<uint64_t>(size + zeros - done, sizeof(found));
    HEDDLE_TRY(source.read(offset + done, found, piece, error));
    for (uint64_t i = 0; i < piece; ++i, ++done)
      if (found[i] != (done < size ? expected[done] : 0))
        return bad(error, "the container is not in canonical form", offset + done);
  }
  return HEDDLE_OK;
}

/// Reads the directory's record at `at` of the member whose local header must start at `start`, and checks
/// both.
heddle_status Archive::readRecord(Member &member, uint64_t start, uint64_t &at, uint64_t directory,
                                  heddle_error *error) {
  uint8_t raw[46 + HEDDLE_ZIP_MAX_NAME + 12], header[HEDDLE_ZIP_HEADER_BYTES];
  HEDDLE_TRY(source->read(at, raw, 46, error));
  size_t nameLength = get(raw + 28, 2);
  // The name, and the first value of a zip64 field if there is one: the size, when it does not fit 32 bits.
  uint64_t size = get(raw + 24, 4);
  size_t wide = size == 0xffffffffu ? 12 : 0;
  if (nameLength > HEDDLE_ZIP_MAX_NAME)
    return bad(error, "a member's name is too long", at);
  HEDDLE_TRY(source->read(at + 46, raw + 46, nameLength + wide, error));
  memcpy(member.name, raw + 46, nameLength);
  member.name[nameLength] = 0;
  if (wide)
    size = get(raw + 46 + nameLength + 4, 8);
  uint32_t crc = get(raw + 16, 4), padding = heddle_zip_padding(nameLength, size, start);
  // The rule on sizes makes every padding expressible.
  if (!heddle_zip_name_is_valid(member.name, nameLength) || size == 0 || size % HEDDLE_ZIP_SIZE_MULTIPLE ||
      size > HEDDLE_ZIP_MAX_SIZE)
    return bad(error, "a member has an invalid name or size", at);
  uint64_t zeros = padding ? padding - 4 : 0;
  size_t length = heddle_zip_header(header, 1, member.name, size, crc, start);
  HEDDLE_TRY(expectBytes(*source, at, header, length, zeros, error));
  at += length + zeros;
  length = heddle_zip_header(header, 0, member.name, size, crc, start);
  HEDDLE_TRY(expectBytes(*source, start, header, length, zeros, error));
  member.offset = start + length + zeros;
  member.size = size;
  return inRange(member.offset, size, directory)
             ? HEDDLE_OK
             : bad(error, "a member is larger than the file", member.offset);
}

heddle_status Archive::readDirectory(heddle_error *error) {
  uint64_t fileSize = source->size();
  uint8_t end[22], wide[8], expected[HEDDLE_ZIP_HEADER_BYTES];
  uint64_t endAt = fileSize - sizeof(end);
  if (fileSize < sizeof(end) + 46 || source->read(endAt, end, sizeof(end), error) ||
      get(end, 4) != 0x06054b50)
    return bad(error, "not an artifact, or cut: no zip directory at the end", fileSize);
  count = get(end + 10, 2);
  uint64_t directorySize = get(end + 12, 4), directory = get(end + 16, 4);
  if (directory == 0xffffffffu && endAt >= 76) {
    HEDDLE_TRY(source->read(endAt - 76 + 48, wide, sizeof(wide), error));
    directory = get(wide, 8);
  }
  size_t length = heddle_zip_end(expected, count, directorySize, directory);
  if (count == 0 || count > HEDDLE_ZIP_MAX_MEMBERS || !inRange(directory, directorySize, fileSize) ||
      directory + directorySize + length != fileSize)
    return bad(error, "the container is not in canonical form", endAt);
  HEDDLE_TRY(expectBytes(*source, fileSize - length, expected, length, 0, error));

  uint64_t start = 0, at = directory;
  for (uint32_t i = 0; i < count; ++i) {
    Member &member = members[i];
    HEDDLE_TRY(readRecord(member, start, at, directory, error));
    start = member.offset + member.size;
    if (find(member.name) != &member)
      return bad(error, "two members have one name", at);
  }
  if (start != directory || at != directory + directorySize)
    return bad(error, "the container is not in canonical form", directory);
  return strcmp(members[count - 1].name, "manifest.json") == 0
             ? HEDDLE_OK
             : bad(error, "expected 'manifest.json' as the last member", directory);
}

static bool parseDigest(const Slice &text, uint8_t digest[32]) {
  if (text.size != 64)
    return false;
  memset(digest, 0, 32);
  for (int i = 0; i < 64; ++i) {
    char c = text.data[i];
    int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (value < 0)
      return false;
    digest[i / 2] |= value << (i % 2 ? 0 : 4);
  }
  return true;
}

/// One {"name", "size_bytes", "sha256"} of the manifest's list. False when the text is wrong or does not
/// match.
static bool parseMember(JsonScanner &json, Member &member) {
  Slice key, text;
  uint64_t size;
  int found = 0;
  if (!json.enterObject())
    return false;
  while (json.nextKey(key)) {
    if (key.equals("name")) {
      if (!json.string(text) || !text.equals(member.name))
        return false;
      found |= 1;
    } else if (key.equals("size_bytes")) {
      if (!json.unsignedNumber(size) || size != member.size)
        return false;
      found |= 2;
    } else if (key.equals("sha256")) {
      if (!json.string(text) || !parseDigest(text, member.digest))
        return false;
      found |= 4;
    } else if (!json.skip()) {
      return false;
    }
  }
  return !json.error() && found == 7;
}

heddle_status Archive::readManifest(heddle_error *error) {
  Member &self = members[count - 1];
  if (self.size > maxManifest)
    return bad(error, "manifest.json is too large", self.offset);
  manifestText = static_cast<char *>(memory->allocate(self.size, 64));
  if (!manifestText)
    return failAllocation(*memory, self.size, error);
  HEDDLE_TRY(source->read(self.offset, manifestText, self.size, error));
  sha256(manifestText, self.size, self.digest);

  JsonScanner json(manifestText, self.size);
  Slice key;
  uint64_t format = 0;
  uint32_t listed = 0;
  json.enterObject();
  while (json.nextKey(key)) {
    if (key.equals("format")) {
      // Before the rest of the manifest, which a newer format may write differently.
      if (json.unsignedNumber(format) && format > HEDDLE_ARTIFACT_FORMAT)
        return fail(error, HEDDLE_UNSUPPORTED,
                    "artifact: format %" PRIu64
                    " is newer than %u, which this library reads; use a newer Heddle",
                    format, HEDDLE_ARTIFACT_FORMAT);
    } else if (key.equals("members")) {
      json.enterArray();
      while (json.nextElement()) {
        if (listed + 1 >= count || !parseMember(json, members[listed]))
          json.fail("a member is not the one that the container holds");
        ++listed;
      }
    } else {
      json.skip();
    }
  }
  json.end();
  if (!json.error() && (format == 0 || listed + 1 != count))
    json.fail("the format or a member of the container is missing");
  return json.error() ? fail(error, HEDDLE_INVALID_FILE, "artifact: manifest.json: %s at byte %zu",
                             json.error(), json.offset())
                      : HEDDLE_OK;
}

heddle_status Archive::open(const Source &from, Memory &with, heddle_error *error) {
  source = &from;
  memory = &with;
  HEDDLE_TRY(readDirectory(error));
  return readManifest(error);
}

void Archive::close() {
  if (manifestText)
    memory->release(manifestText, manifestSize());
  manifestText = nullptr;
}

const Member *Archive::find(const char *name) const {
  for (uint32_t i = 0; i < count; ++i)
    if (strcmp(members[i].name, name) == 0)
      return &members[i];
  return nullptr;
}

} // namespace heddle::runtime
