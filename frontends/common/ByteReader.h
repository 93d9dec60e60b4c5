// Reads little-endian values from a span that it never leaves.
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Endian.h"
#include <bit>
#include <optional>
#include <type_traits>

namespace heddle {

class ByteReader {
public:
  explicit ByteReader(llvm::ArrayRef<uint8_t> bytes) : bytes(bytes) {}

  uint64_t offset() const { return position; }
  uint64_t left() const { return bytes.size() - position; }

  /// The next value, or nothing (and no movement) when too few bytes are left.
  template <typename T> std::optional<T> read() {
    static_assert(std::is_arithmetic_v<T>);
    using Bits = std::conditional_t<
        sizeof(T) == 1, uint8_t,
        std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;
    if (left() < sizeof(T))
      return std::nullopt;
    Bits bits = llvm::support::endian::read<Bits, llvm::endianness::little>(bytes.data() + position);
    position += sizeof(T);
    return std::bit_cast<T>(bits);
  }

  /// A view of the next `count` bytes, or nothing when fewer are left.
  std::optional<llvm::ArrayRef<uint8_t>> take(uint64_t count) {
    if (left() < count)
      return std::nullopt;
    llvm::ArrayRef<uint8_t> view = bytes.slice(position, count);
    position += count;
    return view;
  }

private:
  llvm::ArrayRef<uint8_t> bytes;
  uint64_t position = 0;
};

inline llvm::StringRef asString(llvm::ArrayRef<uint8_t> bytes) {
  return llvm::StringRef(reinterpret_cast<const char *>(bytes.data()), bytes.size());
}

/// a * b and a + b, or nothing when the result does not fit.
inline std::optional<uint64_t> multiplyChecked(uint64_t a, uint64_t b) {
  uint64_t result;
  return __builtin_mul_overflow(a, b, &result) ? std::nullopt : std::optional(result);
}
inline std::optional<uint64_t> addChecked(uint64_t a, uint64_t b) {
  uint64_t result;
  return __builtin_add_overflow(a, b, &result) ? std::nullopt : std::optional(result);
}

} // namespace heddle
