#include "core/Sha256.h"
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace heddle::runtime {

// First 32 bits of the fractional parts of the cube roots of the first 64 primes.
alignas(16) static const uint32_t roundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void compressPortable(uint32_t state[8], const uint8_t *data, size_t blocks) {
  for (; blocks; --blocks, data += 64) {
    uint32_t w[16], s[8];
    memcpy(s, state, sizeof(s));
    for (int i = 0; i < 64; ++i) {
      if (i < 16) {
        memcpy(&w[i], data + 4 * i, 4);
        w[i] = __builtin_bswap32(w[i]);
      } else {
        uint32_t a = w[(i + 1) & 15], b = w[(i + 14) & 15];
        w[i & 15] += (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[(i + 9) & 15] +
                     (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
      }
      uint32_t t1 = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                    ((s[4] & s[5]) ^ (~s[4] & s[6])) + roundConstants[i] + w[i & 15];
      uint32_t t2 = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
                    ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
      for (int word = 7; word > 0; --word) // a call of memmove would be larger
        s[word] = s[word - 1];
      s[4] += t1;
      s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; ++i)
      state[i] += s[i];
  }
}

#if defined(__x86_64__)
// The vector types of the builtins; <immintrin.h> would pull in a C++ library with some C libraries.
typedef int Words __attribute__((vector_size(16)));
typedef char Bytes __attribute__((vector_size(16)));

__attribute__((target("sha,sse4.1"))) static void compressInstructions(uint32_t state[8], const uint8_t *data,
                                                                       size_t blocks) {
  const Bytes swap = {3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12};
  auto word = [&](int i) { return static_cast<int>(state[i]); };
  // The instructions want (c d g h) and (a b e f), high word first.
  Words abef = {word(5), word(4), word(1), word(0)};
  Words cdgh = {word(7), word(6), word(3), word(2)};
  for (; blocks; --blocks, data += 64) {
    Words abefBefore = abef, cdghBefore = cdgh, w[4];
    for (int i = 0; i < 16; ++i) {
      Words &now = w[i & 3];
      if (i < 4) {
        Bytes raw;
        memcpy(&raw, data + 16 * i, 16);
        now = reinterpret_cast<Words>(__builtin_ia32_pshufb128(raw, swap));
      } else {
        const Words &next = w[(i + 1) & 3], &third = w[(i + 2) & 3], &last = w[(i + 3) & 3];
        now = __builtin_ia32_sha256msg1(now, next);
        now += __builtin_shufflevector(third, last, 1, 2, 3, 4);
        now = __builtin_ia32_sha256msg2(now, last);
      }
      Words k;
      memcpy(&k, roundConstants + 4 * i, 16);
      k += now;
      cdgh = __builtin_ia32_sha256rnds2(cdgh, abef, k);
      k = __builtin_shufflevector(k, k, 2, 3, 2, 3);
      abef = __builtin_ia32_sha256rnds2(abef, cdgh, k);
    }
    abef += abefBefore;
    cdgh += cdghBefore;
  }
  int out[8] = {abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]};
  memcpy(state, out, sizeof(out));
}

static bool hasInstructions() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
         (b & 1u << 29);
}
#else
static void compressInstructions(uint32_t *, const uint8_t *, size_t) {}
static bool hasInstructions() { return false; }
#endif

Sha256::Sha256()
    : state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19},
      useInstructions(hasInstructions()) {}

void Sha256::compress(const uint8_t *data, size_t blocks) {
  (useInstructions ? compressInstructions : compressPortable)(state, data, blocks);
}

void Sha256::update(const void *data, size_t size) {
  const uint8_t *at = static_cast<const uint8_t *>(data);
  size_t held = length % 64;
  length += size;
  if (held) {
    size_t take = size < 64 - held ? size : 64 - held;
    memcpy(block + held, at, take);
    at += take;
    size -= take;
    if (held + take < 64)
      return;
    compress(block, 1);
  }
  compress(at, size / 64);
  memcpy(block, at + size / 64 * 64, size % 64);
}

void Sha256::finish(uint8_t digest[32]) {
  uint64_t bits = __builtin_bswap64(length * 8);
  uint8_t padding[72] = {0x80};
  size_t zeros = (55 - length % 64 + 64) % 64;
  memcpy(padding + 1 + zeros, &bits, 8);
  update(padding, 1 + zeros + 8);
  for (int i = 0; i < 8; ++i) {
    uint32_t word = __builtin_bswap32(state[i]);
    memcpy(digest + 4 * i, &word, 4);
  }
}

} // namespace heddle::runtime
