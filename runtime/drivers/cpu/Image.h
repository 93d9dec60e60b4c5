// The ELF image of a code member, checked and mapped so that it is never writable and executable at once.
#pragma once
#include "core/Support.h"
#include <heddle/driver.h>

namespace heddle::runtime {

struct Image {
  const uint8_t *base = nullptr;       // address of the image's byte 0
  uint64_t size = 0;                   // of its bytes
  bool isLinked = false;               // into the program, not mapped
  uint64_t textBegin = 0, textEnd = 0; // offsets of the executable segment
};

/// Copies the member into a sealed memory file, compares the copy with the member's SHA-256, checks it and
/// maps it. Linked code is used where it is. With `forPerf` the code ends up in anonymous memory, where perf
/// looks names up in its map file.
heddle_status mapImage(const heddle_host &host, const char *member, bool forPerf, Image &out,
                       heddle_error *error);
void unmapImage(Image &image);

} // namespace heddle::runtime
