// What all of the runtime uses: errors, versioned structs, checked arithmetic. No libstdc++ anywhere below
// runtime/.
#pragma once
#include <heddle/runtime.h>
#include <string.h>

namespace heddle::runtime {

/// Fills `error` (NULL is fine) and returns `status`. Bytes that a terminal could act on become '?', since
/// names in messages come from files.
[[gnu::format(printf, 3, 4), gnu::cold]] heddle_status fail(heddle_error *error, heddle_status status,
                                                            const char *format, ...);

inline heddle_status failMemory(uint64_t size, heddle_error *error) {
  return fail(error, HEDDLE_RESOURCE_LIMIT,
              "%llu bytes of memory are not available, or more than the limit allows",
              static_cast<unsigned long long>(size));
}

heddle_status copyStructIn(void *out, size_t size, const void *in, const char *name, heddle_error *error);
heddle_status copyStructOut(void *out, size_t size, const void *value, const char *name, heddle_error *error);

/// Reads a versioned struct of the caller: missing fields are zero, unknown ones must be.
template <typename T> heddle_status readStruct(T &out, const T *in, const char *name, heddle_error *error) {
  return copyStructIn(&out, sizeof(T), in, name, error);
}
/// Writes as much of `value` as the caller's struct has room for.
template <typename T>
heddle_status writeStruct(T *out, const T &value, const char *name, heddle_error *error) {
  return copyStructOut(out, sizeof(T), &value, name, error);
}

inline bool add(uint64_t a, uint64_t b, uint64_t &out) { return !__builtin_add_overflow(a, b, &out); }
inline bool multiply(uint64_t a, uint64_t b, uint64_t &out) { return !__builtin_mul_overflow(a, b, &out); }
/// Whether [offset, offset + size) lies in [0, limit).
inline bool inRange(uint64_t offset, uint64_t size, uint64_t limit) {
  return offset <= limit && size <= limit - offset;
}
inline uint64_t alignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}
inline uint64_t divideUp(uint64_t value, uint64_t divisor) { return (value + divisor - 1) / divisor; }
template <typename T> T smaller(T a, T b) { return a < b ? a : b; }
template <typename T> T larger(T a, T b) { return a > b ? a : b; }

} // namespace heddle::runtime

#define HEDDLE_TRY(call)                                                                                     \
  do {                                                                                                       \
    if (heddle_status tried = (call))                                                                        \
      return tried;                                                                                          \
  } while (0)
