#include "ir/Sha256.h"
#include "llvm/Support/Alignment.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace heddle {

#if defined(__x86_64__)
// FIPS 180-4, 4.2.2.
alignas(16) static constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

__attribute__((target("sha,sse4.1"))) static void compress(std::array<uint32_t, 8> &state,
                                                           const uint8_t *data, size_t blocks) {
  auto [a, b, c, d, e, f, g, h] = state;
  // Two rounds' instruction takes the state as these halves.
  __m128i abef = _mm_set_epi32(a, b, e, f), cdgh = _mm_set_epi32(c, d, g, h);
  const __m128i bigEndian = _mm_set_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
  for (; blocks != 0; --blocks, data += 64) {
    const __m128i abefBefore = abef, cdghBefore = cdgh;
    __m128i words[4]; // of the message schedule, the last sixteen
    for (int quad = 0; quad < 16; ++quad) {
      __m128i &now = words[quad % 4];
      if (quad < 4) {
        now = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i *>(data) + quad), bigEndian);
      } else {
        const __m128i last = words[(quad + 3) % 4];
        now = _mm_add_epi32(_mm_sha256msg1_epu32(now, words[(quad + 1) % 4]),
                            _mm_alignr_epi8(last, words[(quad + 2) % 4], 4));
        now = _mm_sha256msg2_epu32(now, last);
      }
      const __m128i sum =
          _mm_add_epi32(now, _mm_load_si128(reinterpret_cast<const __m128i *>(kRound) + quad));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
    }
    abef = _mm_add_epi32(abef, abefBefore);
    cdgh = _mm_add_epi32(cdgh, cdghBefore);
  }
  auto lane = [](__m128i half, int index) {
    uint32_t lanes[4];
    std::memcpy(lanes, &half, sizeof(lanes));
    return lanes[index];
  };
  state = {lane(abef, 3), lane(abef, 2), lane(cdgh, 3), lane(cdgh, 2),
           lane(abef, 1), lane(abef, 0), lane(cdgh, 1), lane(cdgh, 0)};
}

static bool hasInstructions() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_SSE4_1) != 0 &&
         __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA) != 0;
}
#else
static void compress(std::array<uint32_t, 8> &, const uint8_t *, size_t) {}
static bool hasInstructions() { return false; }
#endif

Sha256::Sha256()
    : instructions(hasInstructions()),
      state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {}

void Sha256::update(llvm::ArrayRef<uint8_t> data) {
  if (!instructions)
    return portable.update(data);
  size_t held = length % 64;
  length += data.size();
  if (held != 0) {
    size_t taken = std::min(data.size(), 64 - held);
    std::copy_n(data.begin(), taken, block + held);
    data = data.drop_front(taken);
    if (held + taken < 64)
      return;
    compress(state, block, 1);
  }
  compress(state, data.data(), data.size() / 64);
  std::copy_n(data.end() - data.size() % 64, data.size() % 64, block);
}

std::array<uint8_t, 32> Sha256::final() {
  if (!instructions)
    return portable.final();
  uint8_t tail[72] = {0x80};
  size_t size = llvm::offsetToAlignment(length + 9, llvm::Align(64)) + 9;
  llvm::support::endian::write64be(tail + size - 8, length * 8);
  update({tail, size});
  std::array<uint8_t, 32> digest;
  for (int i = 0; i < 8; ++i)
    llvm::support::endian::write32be(digest.data() + 4 * i, state[i]);
  return digest;
}

} // namespace heddle
