// Checks a program.bin (heddle/program.h) so that nothing after it needs to: every table, index, string and
// bound.
#pragma once
#include "core/Support.h"
#include <heddle/driver.h>

namespace heddle::runtime {

/// `bytes` is 8-byte aligned and outlives `out`.
heddle_status parseProgram(const void *bytes, uint64_t size, heddle_program &out, heddle_error *error);

/// Bytes of an input or output when the dimensions are `dims`; 0 on overflow. Valid programs have no overflow
/// at their bounds.
uint64_t ioBytes(const heddle_io &io, const int64_t *dims);
uint64_t dtypeBytes(uint32_t dtype);

inline uint32_t inputCount(const heddle_program &program, const heddle_entry &entry) {
  uint32_t count = 0;
  while (count < entry.io_count && !program.ios[entry.first_io + count].is_output)
    ++count;
  return count;
}

inline uint32_t pagesPerSlot(const heddle_program &program) {
  return program.header->max_context / HEDDLE_PAGE_TOKENS;
}

} // namespace heddle::runtime
