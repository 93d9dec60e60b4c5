#include "tools/heddle/MachineLimits.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <heddle/program.h>
#include <immintrin.h>
#include <thread>
#include <vector>

namespace heddle::cli {

namespace {
// Chains of dependent operations that run side by side: enough of them to hide the latency of each.
constexpr int kChains = 12;
constexpr int kTurns = 20000;
constexpr int kBufferBytes = 256 << 10; // in every core's second-level cache

// Each returns the multiply-adds that it did.
__attribute__((target("avx512f"))) double floatsWide() {
  __m512 sums[kChains], factor = _mm512_set1_ps(0.5f);
  for (auto &sum : sums)
    sum = factor;
  for (int turn = 0; turn < kTurns; ++turn)
    for (auto &sum : sums) {
      sum = _mm512_fmadd_ps(sum, factor, factor);
      __asm__ volatile("" : "+v"(sum));
    }
  return 16.0 * kChains * kTurns;
}

__attribute__((target("avx2,fma"))) double floatsNarrow() {
  __m256 sums[kChains], factor = _mm256_set1_ps(0.5f);
  for (auto &sum : sums)
    sum = factor;
  for (int turn = 0; turn < kTurns; ++turn)
    for (auto &sum : sums) {
      sum = _mm256_fmadd_ps(sum, factor, factor);
      __asm__ volatile("" : "+x"(sum));
    }
  return 8.0 * kChains * kTurns;
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) double integersWide() {
  __m512i sums[kChains], factor = _mm512_set1_epi8(1);
  for (auto &sum : sums)
    sum = factor;
  for (int turn = 0; turn < kTurns; ++turn)
    for (auto &sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, factor, factor);
      __asm__ volatile("" : "+v"(sum));
    }
  return 64.0 * kChains * kTurns;
}

__attribute__((target("avx2,avxvnni"))) double integersNarrow() {
  __m256i sums[kChains], factor = _mm256_set1_epi8(1);
  for (auto &sum : sums)
    sum = factor;
  for (int turn = 0; turn < kTurns; ++turn)
    for (auto &sum : sums) {
      sum = _mm256_dpbusd_avx_epi32(sum, factor, factor);
      __asm__ volatile("" : "+x"(sum));
    }
  return 32.0 * kChains * kTurns;
}

// Without dot product instructions: pairs to 16 bits, pairs of those to 32, sum.
__attribute__((target("avx2"))) double integersPlain() {
  __m256i sums[kChains], factor = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
  for (auto &sum : sums)
    sum = factor;
  for (int turn = 0; turn < kTurns; ++turn)
    for (auto &sum : sums) {
      __m256i fresh = factor; // as loaded: products of one turn are not those of the next
      __asm__ volatile("" : "+x"(fresh));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(fresh, factor), ones));
      __asm__ volatile("" : "+x"(sum));
    }
  return 32.0 * kChains * kTurns;
}

// Four results that take turns, as tiles take long.
__attribute__((target("amx-tile,amx-bf16"))) double tiles() {
  struct alignas(64) {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
  } config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (int turn = 0; turn < kTurns / 8; ++turn) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
  _tile_release();
  return 16.0 * 16 * 32 * 4 * (kTurns / 8);
}

__attribute__((target("avx2"))) double cacheReads() {
  alignas(64) static thread_local char buffer[kBufferBytes];
  constexpr int passes = 20;
  const char *bytes = buffer;
  __asm__ volatile("" : "+r"(bytes)); // what is in there is unknown
  __m256i sums[4] = {};
  for (int pass = 0; pass < passes; ++pass) {
    __asm__ volatile("" : : : "memory"); // each pass reads again
    for (int at = 0; at < kBufferBytes; at += 128)
      for (int lane = 0; lane < 4; ++lane)
        sums[lane] = _mm256_xor_si256(
            sums[lane], _mm256_load_si256(reinterpret_cast<const __m256i *>(bytes + at + 32 * lane)));
  }
  for (auto &sum : sums)
    __asm__ volatile("" : : "x"(sum));
  return double(passes) * kBufferBytes;
}

// What all threads together do in a second, the best of some rounds.
double rate(double (*work)(), unsigned threads) {
  constexpr unsigned rounds = 12;
  std::atomic<unsigned> arrived{0};
  auto meet = [&](unsigned times) {
    arrived.fetch_add(1);
    while (arrived.load() < threads * times)
      _mm_pause();
  };
  double best = 0;
  auto member = [&](bool first) {
    for (unsigned round = 0; round < rounds; ++round) {
      meet(2 * round + 1);
      auto begin = std::chrono::steady_clock::now();
      double done = work();
      meet(2 * round + 2);
      double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (first)
        best = std::max(best, done * threads / seconds);
    }
  };
  std::vector<std::thread> others;
  for (unsigned thread = 1; thread < threads; ++thread)
    others.emplace_back(member, false);
  member(true);
  for (std::thread &other : others)
    other.join();
  return best;
}
} // namespace

MachineLimits measureLimits(uint32_t features, unsigned threads) {
  bool wide = features & HEDDLE_CPU_X86_64_V4;
  return {rate(features & HEDDLE_CPU_AVX512_VNNI ? integersWide
               : features & HEDDLE_CPU_AVX_VNNI  ? integersNarrow
                                                 : integersPlain,
               threads),
          rate(wide ? floatsWide : floatsNarrow, threads),
          features & HEDDLE_CPU_AMX_BF16 ? rate(tiles, threads) : 0, rate(cacheReads, threads)};
}

} // namespace heddle::cli
