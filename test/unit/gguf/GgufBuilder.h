// Writes GGUF bytes field by field, right or wrong, for tests.
#pragma once
#include "frontends/common/InputError.h"
#include "frontends/gguf/GgufFile.h"
#include <cstring>
#include <string>
#include <vector>

namespace heddle::gguf::test {

enum : uint32_t { kU8 = 0, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10 };

class GgufBuilder {
public:
  std::vector<uint8_t> bytes;

  template <typename T> GgufBuilder &put(T value) {
    size_t at = bytes.size();
    bytes.resize(at + sizeof(T));
    std::memcpy(bytes.data() + at, &value, sizeof(T));
    return *this;
  }
  GgufBuilder &raw(llvm::StringRef text) {
    bytes.insert(bytes.end(), text.begin(), text.end());
    return *this;
  }
  GgufBuilder &string(llvm::StringRef text) { return put<uint64_t>(text.size()).raw(text); }
  GgufBuilder &header(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
    return raw("GGUF").put(version).put(tensors).put(pairs);
  }
  GgufBuilder &text(llvm::StringRef key, llvm::StringRef value) {
    return string(key).put(kString).string(value);
  }
  GgufBuilder &number(llvm::StringRef key, uint32_t value) { return string(key).put(kU32).put(value); }
  /// `dims` innermost first, as the file has them.
  GgufBuilder &tensor(llvm::StringRef name, std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    string(name).put<uint32_t>(dims.size());
    for (uint64_t dim : dims)
      put(dim);
    return put(type).put(offset);
  }
  GgufBuilder &align(uint64_t alignment = 32) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  GgufBuilder &zeros(size_t count) {
    bytes.resize(bytes.size() + count);
    return *this;
  }

  llvm::Expected<File> read(const ReadOptions &options = {}) const {
    return File::read(InputFile::copyOf(bytes, "model.gguf"), "model.gguf", options);
  }
};

/// A small file with every kind of value and two tensors of 128 and 36 bytes.
inline GgufBuilder validFile() {
  GgufBuilder b;
  b.header(2, 9).text("general.architecture", "llama").number("llama.block_count", 2);
  b.string("tokens").put(kArray).put(kString).put<uint64_t>(3).string("a").string("").string("\xc4\xa0the");
  b.string("scores").put(kArray).put(kF32).put<uint64_t>(2).put(1.5f).put(-2.0f);
  b.string("small").put(uint32_t(1)).put<int8_t>(-7);
  b.string("big").put(kU64).put(uint64_t(1) << 40);
  b.string("double").put(uint32_t(12)).put(0.25);
  b.string("flag").put(kBool).put<uint8_t>(1);
  b.string("empty").put(kArray).put(kI32).put<uint64_t>(0);
  b.tensor("blk.0.attn_q.weight", {8, 4}, 0, 0).tensor("blk.0.attn_k.weight", {32, 2}, 2, 128);
  return b.align().zeros(128 + 36);
}

} // namespace heddle::gguf::test
