// How fast this machine reads the very weights that a decode step reads: the limit that decoding is measured
// against.
#ifndef HEDDLE_TOOLS_READ_BOUND_H
#define HEDDLE_TOOLS_READ_BOUND_H

#include "tools/heddle/Common.h"
#include <span>

namespace heddle::cli {

struct ByteRange {
  uint64_t begin, end;
};

// The parts of weights.bin that one step of one row reads in full: operands of launches whose items do not
// depend on the rows, sorted and merged. Tables that are looked up by row (embeddings) are read only in part
// and not counted.
std::vector<ByteRange> decodeWeightRanges(const heddle_model *model, const std::string &file,
                                          const char *entry);
uint64_t totalBytes(std::span<const ByteRange> ranges);

// An allocator for heddle_model_options that remembers its largest block: the weights.
class RecordingAllocator {
public:
  RecordingAllocator();
  const heddle_allocator *get() const { return &table; }
  const std::byte *largest(uint64_t size) const; // the largest block; nullptr when it is smaller than `size`

private:
  static void *allocate(void *context, size_t size, size_t alignment);
  static void release(void *context, void *memory, size_t size);

  heddle_allocator table;
  std::byte *block = nullptr;
  size_t blockSize = 0;
};

// Seconds to read all ranges once with this many threads, each an equal contiguous part; the best of
// `passes`.
double readSeconds(const std::byte *weights, std::span<const ByteRange> ranges, unsigned threads,
                   unsigned passes);

} // namespace heddle::cli

#endif
