#include "tools/heddle/ReadBound.h"
#include "tools/HostFeatures.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <immintrin.h>
#include <sys/mman.h>
#include <thread>

namespace heddle::cli {

std::vector<ByteRange> decodeWeightRanges(const heddle_model *model, const std::string &file,
                                          const char *entryName) {
  std::string program = readMember(model, "program.bin").value_or("");
  heddle_program_header header;
  auto bad = [&] { fail(ExitInvalidFile, printable(file) + ": program.bin is damaged"); };
  if (program.size() < sizeof header)
    bad();
  std::memcpy(&header, program.data(), sizeof header);
  // The runtime has validated the program when it opened the model; a second reader still checks what it
  // indexes.
  auto record = [&](const heddle_span &span, uint64_t index, auto &out) {
    uint64_t size = sizeof out;
    if (index >= span.count || span.offset > program.size() || (program.size() - span.offset) / size <= index)
      bad();
    std::memcpy(&out, program.data() + span.offset + index * size, size);
  };
  std::vector<ByteRange> ranges;
  for (uint64_t number = 0; number < header.entries.count; ++number) {
    heddle_entry entry;
    record(header.entries, number, entry);
    uint64_t name = header.strings.offset + entry.name;
    if (name >= program.size() || std::string_view(program).substr(name).find('\0') == std::string_view::npos)
      bad();
    if (std::string_view(program.c_str() + name) != entryName)
      continue;
    heddle_variant variant;
    record(header.variants, entry.first_variant, variant); // the variant of the fewest rows
    for (uint32_t at = 0; at < variant.launch_count; ++at) {
      heddle_launch launch;
      record(header.launches, uint64_t(variant.first_launch) + at, launch);
      if (launch.items_dim >= 0)
        continue;
      for (uint32_t slot = 0; slot < launch.operand_count; ++slot) {
        heddle_operand operand;
        record(header.operands, uint64_t(launch.first_operand) + slot, operand);
        if (operand.kind == HEDDLE_OPERAND_WEIGHT && operand.bytes <= header.weights_size &&
            operand.offset <= header.weights_size - operand.bytes)
          ranges.push_back({operand.offset, operand.offset + operand.bytes});
      }
    }
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const ByteRange &a, const ByteRange &b) { return a.begin < b.begin; });
  std::vector<ByteRange> merged;
  for (const ByteRange &range : ranges) {
    if (!merged.empty() && range.begin <= merged.back().end)
      merged.back().end = std::max(merged.back().end, range.end);
    else
      merged.push_back(range);
  }
  return merged;
}

uint64_t totalBytes(std::span<const ByteRange> ranges) {
  uint64_t sum = 0;
  for (const ByteRange &range : ranges)
    sum += range.end - range.begin;
  return sum;
}

RecordingAllocator::RecordingAllocator() : table(sized<heddle_allocator>()) {
  table.context = this;
  table.allocate = allocate;
  table.release = release;
}

const std::byte *RecordingAllocator::largest(uint64_t size) const {
  return blockSize >= size ? block : nullptr;
}

// As the library's own: large blocks aligned to and made of huge pages, asked for before the first touch.
void *RecordingAllocator::allocate(void *context, size_t size, size_t alignment) {
  constexpr size_t huge = 2 << 20;
  auto *self = static_cast<RecordingAllocator *>(context);
  if (size >= huge)
    alignment = std::max(alignment, huge);
  alignment = std::max(alignment, sizeof(void *));
  void *memory = nullptr;
  if (posix_memalign(&memory, alignment, size) != 0)
    return nullptr;
  if (size >= huge)
    madvise(memory, size, MADV_HUGEPAGE);
  if (size > self->blockSize)
    self->block = static_cast<std::byte *>(memory), self->blockSize = size;
  return memory;
}

void RecordingAllocator::release(void *, void *memory, size_t) { free(memory); }

// Reads whole 64-byte lines into registers; the sums only keep the loads alive.
__attribute__((target("avx512f"))) static uint64_t readWide(const std::byte *at, const std::byte *end) {
  __m512i sums[4] = {};
  for (; at + 256 <= end; at += 256)
    for (int lane = 0; lane < 4; ++lane)
      sums[lane] = _mm512_xor_si512(sums[lane], _mm512_loadu_si512(at + 64 * lane));
  __m512i all = _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(all));
}

__attribute__((target("avx2"))) static uint64_t readNarrow(const std::byte *at, const std::byte *end) {
  __m256i sums[4] = {};
  for (; at + 128 <= end; at += 128)
    for (int lane = 0; lane < 4; ++lane)
      sums[lane] =
          _mm256_xor_si256(sums[lane], _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at + 32 * lane)));
  __m256i all = _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm256_extract_epi64(all, 0) ^ _mm256_extract_epi64(all, 3));
}

double readSeconds(const std::byte *weights, std::span<const ByteRange> ranges, unsigned threads,
                   unsigned passes) {
  bool wide = hostCpuFeatures() & HEDDLE_CPU_X86_64_V4;
  uint64_t total = totalBytes(ranges);
  std::atomic<uint64_t> sink{0};
  // Worker w reads bytes [total * w / threads, total * (w + 1) / threads) of the ranges laid end to end.
  auto readPart = [&](unsigned worker) {
    uint64_t from = total * worker / threads, to = total * (worker + 1) / threads, start = 0, sum = 0;
    for (const ByteRange &range : ranges) {
      uint64_t size = range.end - range.begin;
      uint64_t low = std::max(from, start), high = std::min(to, start + size);
      if (low < high) {
        const std::byte *base = weights + range.begin - start;
        sum += wide ? readWide(base + low, base + high) : readNarrow(base + low, base + high);
      }
      start += size;
    }
    sink += sum;
  };
  std::atomic<unsigned> arrived{0};
  auto meet = [&](unsigned round) {
    arrived.fetch_add(1);
    while (arrived.load() < threads * round)
      _mm_pause();
  };
  std::vector<std::thread> others;
  for (unsigned worker = 1; worker < threads; ++worker)
    others.emplace_back([&, worker] {
      for (unsigned pass = 0; pass < passes; ++pass) {
        meet(2 * pass + 1);
        readPart(worker);
        meet(2 * pass + 2);
      }
    });
  double best = 1e30;
  for (unsigned pass = 0; pass < passes; ++pass) {
    meet(2 * pass + 1);
    auto begin = std::chrono::steady_clock::now();
    readPart(0);
    meet(2 * pass + 2);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  for (std::thread &other : others)
    other.join();
  // The sums must look used.
  volatile uint64_t used = sink.load();
  (void)used;
  return best;
}

} // namespace heddle::cli
