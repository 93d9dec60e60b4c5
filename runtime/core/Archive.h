// The members of an artifact: its container and manifest, both checked in full (docs/artifact.md).
#pragma once
#include "core/Memory.h"
#include "core/Source.h"
#include <heddle/artifact.h>

namespace heddle::runtime {

struct Member {
  char name[HEDDLE_ZIP_MAX_NAME + 1];
  uint64_t offset, size;
  uint8_t digest[32];
};

class Archive {
public:
  /// Reads the directory of the container and the manifest's list of members.
  heddle_status open(const Source &source, Memory &memory, heddle_error *error);
  void close();

  const Member *find(const char *name) const;
  const char *manifest() const { return manifestText; }
  uint64_t manifestSize() const { return members[count - 1].size; }

  const Source *source = nullptr;
  Member members[HEDDLE_ZIP_MAX_MEMBERS]; // the last one is the manifest
  uint32_t count = 0;

private:
  Memory *memory = nullptr;
  char *manifestText = nullptr;

  heddle_status readDirectory(heddle_error *error);
  heddle_status readRecord(Member &member, uint64_t start, uint64_t &at, uint64_t directory,
                           heddle_error *error);
  heddle_status readManifest(heddle_error *error);
};

} // namespace heddle::runtime
