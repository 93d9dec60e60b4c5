// SHA-256 (FIPS 180-4).
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace heddle::runtime {

class Sha256 {
public:
  Sha256();
  void update(const void *data, size_t size);
  void finish(uint8_t digest[32]);
  void usePortableCode() { useInstructions = false; } // for tests

private:
  uint32_t state[8];
  uint64_t length = 0;
  uint8_t block[64];
  bool useInstructions;
  void compress(const uint8_t *data, size_t blocks);
};

inline void sha256(const void *data, size_t size, uint8_t digest[32]) {
  Sha256 hash;
  hash.update(data, size);
  hash.finish(digest);
}

} // namespace heddle::runtime
