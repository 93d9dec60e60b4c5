#include "tools/heddle-run-ir/GuardedMemory.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>
#include <sys/mman.h>

namespace heddle::run_ir {

constexpr size_t kPage = 4096, kAlignment = 64;
constexpr unsigned char kPattern = 0xff;

/// What lies between the two guard pages.
static size_t bytesWithin(size_t size) { return llvm::alignTo(size + kAlignment, kPage); }

GuardedMemory::GuardedMemory(size_t size) : bytes(size) {
  const size_t within = bytesWithin(size);
  void *memory =
      mmap(nullptr, within + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    llvm::report_bad_alloc_error("no memory for a buffer between guard pages");
  mapped = static_cast<char *>(memory);
  if (mprotect(mapped + kPage, within, PROT_READ | PROT_WRITE) != 0)
    llvm::report_bad_alloc_error("no memory for a buffer between guard pages");
  std::memset(mapped + kPage, kPattern, within);
  begin = mapped + kPage + within - llvm::alignTo(size, kAlignment);
}

GuardedMemory::~GuardedMemory() {
  if (mapped)
    munmap(mapped, bytesWithin(bytes) + 2 * kPage);
}

ptrdiff_t GuardedMemory::firstWritten(size_t used) const {
  const char *end = mapped + kPage + bytesWithin(bytes);
  for (const char *at = mapped + kPage; at != end; ++at) {
    if (at == begin && used)
      at += used - 1;
    else if (static_cast<unsigned char>(*at) != kPattern)
      return at - begin;
  }
  return ptrdiff_t(used);
}

} // namespace heddle::run_ir
