// The runtime's own SHA-256 and the canonical headers of the container.
#include "core/Sha256.h"
#include <catch2/catch.hpp>
#include <heddle/artifact.h>
#include <string>

using heddle::runtime::Sha256;

static std::string hex(const uint8_t *digest) {
  std::string text;
  for (int i = 0; i < 32; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

static std::string hashOf(const std::string &text, size_t piece, bool portable) {
  Sha256 hash;
  if (portable)
    hash.usePortableCode();
  for (size_t at = 0; at < text.size(); at += piece)
    hash.update(text.data() + at, std::min(piece, text.size() - at));
  uint8_t digest[32];
  hash.finish(digest);
  return hex(digest);
}

TEST_CASE("SHA-256 of the standard's examples") {
  for (bool portable : {false, true}) {
    CHECK(hashOf("", 1, portable) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hashOf("abc", 3, portable) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hashOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 100, portable) ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(hashOf(std::string(1000000, 'a'), 4096, portable) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }
}

TEST_CASE("SHA-256 does not depend on how the bytes arrive") {
  std::string text;
  for (int i = 0; i < 300; ++i)
    text += static_cast<char>(i * 7);
  std::string expected = hashOf(text, 300, true);
  for (size_t piece : {1, 3, 55, 56, 63, 64, 65, 119, 128, 299})
    for (bool portable : {false, true})
      CHECK(hashOf(text, piece, portable) == expected);
}

TEST_CASE("every padding that the writer can meet fits into an extra field") {
  // Starts are sums of aligned data and sizes, so multiples of the size's multiple; all names and both size
  // classes.
  for (uint64_t start = 0; start < HEDDLE_ZIP_ALIGNMENT; start += HEDDLE_ZIP_SIZE_MULTIPLE)
    for (size_t name = 1; name <= HEDDLE_ZIP_MAX_NAME; ++name)
      for (uint64_t size : {uint64_t(256), uint64_t(1) << 32})
        for (uint64_t base : {uint64_t(0), uint64_t(1) << 32}) {
          uint32_t padding = heddle_zip_padding(name, size, base + start);
          uint32_t zip64 = (size >> 32 ? 20 : 0) + (base ? 12 : 0);
          if ((padding > 0 && padding < 4) || padding + zip64 + name > 65535)
            FAIL("start " << base + start << ", name of " << name << ", size " << size << ": padding "
                          << padding);
        }
}
