// Compiles kernels and makes them callable in this process, for tests and benchmarks of generators.
#pragma once
#include "codegen/cpu/Backend.h"
#include "codegen/cpu/Emit.h"
#include "codegen/cpu/Image.h"
#include "heddle/program.h"
#include "mlir/IR/MLIRContext.h"
#include "tools/HostFeatures.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <sys/mman.h>

namespace heddle::cpu::testing {

/// Does this host run code of `level`?
inline bool hostHas(const CpuLevel &level) { return (level.features & ~hostCpuFeatures()) == 0; }

/// An image mapped as the runtime maps it: its file offsets are its addresses.
class LoadedImage {
public:
  LoadedImage(mlir::ModuleOp module, const CpuLevel &level, std::vector<std::string> functions,
              const CompileOptions &options = {}) {
    auto object = compile(module, level, options);
    if (!object)
      stop(object.takeError());
    auto linked = linkImage({&*object}, functions);
    if (!linked)
      stop(linked.takeError());
    image = std::move(*linked);
    base = mmap(nullptr, image.bytes.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
      abort();
    memcpy(base, image.bytes.data(), image.bytes.size());
    mprotect(base, image.bytes.size(), PROT_READ | PROT_EXEC);
  }
  ~LoadedImage() { munmap(base, image.bytes.size()); }
  LoadedImage(const LoadedImage &) = delete;

  heddle_kernel_fn function(size_t index) const {
    return reinterpret_cast<heddle_kernel_fn>(static_cast<char *>(base) + image.offsets[index]);
  }
  Image image;

private:
  [[noreturn]] static void stop(llvm::Error error) {
    fprintf(stderr, "%s\n", llvm::toString(std::move(error)).c_str());
    abort();
  }
  void *base;
};

/// 64-byte aligned memory followed by a page that faults, so that reads past the end are found.
template <typename T> class GuardedBuffer {
public:
  explicit GuardedBuffer(size_t count) : count(count) {
    size_t page = 4096, used = (count * sizeof(T) + 63) / 64 * 64;
    mapped = (used + page - 1) / page * page + page;
    memory = static_cast<char *>(
        mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory + mapped - page, page, PROT_NONE);
    start = reinterpret_cast<T *>(memory + mapped - page - used);
  }
  ~GuardedBuffer() { munmap(memory, mapped); }
  GuardedBuffer(const GuardedBuffer &) = delete;
  T *data() { return start; }
  T &operator[](size_t i) { return start[i]; }
  T *begin() { return start; }
  T *end() { return start + count; }
  size_t size() const { return count; }

private:
  size_t count, mapped;
  char *memory;
  T *start;
};

} // namespace heddle::cpu::testing
