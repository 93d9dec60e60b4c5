// The PTX simulator: executes kernels of PTX text on the host, checks them and counts. docs/cuda-sim.md says
// what exactly. No function throws or prints; no LLVM is used.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace heddle::cuda_sim {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t(x) * y * z; }
};

/// The global memory of one simulated device. Addresses are the same in every run. Allocations are kept apart
/// by unmapped gaps. allocate, adopt and release are safe from any thread, as long as no kernel that uses the
/// memory runs.
class Memory {
public:
  explicit Memory(uint64_t limit = uint64_t(64) << 30);
  ~Memory();
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  /// Address of `bytes` new bytes, 512-byte aligned; nobody has written them. 0: no memory, or more than the
  /// limit.
  uint64_t allocate(uint64_t bytes, std::string_view name);
  /// Makes memory of the caller visible at the returned address until it is released; it counts as written if
  /// `written`. 0: no memory for the bookkeeping.
  uint64_t adopt(void *host, uint64_t bytes, std::string_view name, bool written = true);
  void release(uint64_t address);

  /// Copies and marks the target as written; false if the range is not inside one allocation.
  bool write(uint64_t address, const void *from, uint64_t bytes);
  bool read(uint64_t address, void *to, uint64_t bytes) const;
  bool fill(uint64_t address, uint8_t value, uint64_t bytes);
  /// Where the host sees `bytes` bytes at `address`; null if they are not inside one allocation.
  void *host(uint64_t address, uint64_t bytes) const;
  /// Forgets that bytes were written, as memory that is used again for something else.
  bool forget(uint64_t address, uint64_t bytes);

  struct Impl;
  Impl &impl() const { return *state; }

private:
  std::unique_ptr<Impl> state;
};

/// The arguments of a launch, in the order of the kernel's parameters.
class Arguments {
public:
  template <class T> Arguments &add(const T &value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return addBytes(&value, sizeof(T));
  }
  Arguments &addBytes(const void *value, size_t size) {
    std::vector<std::byte> bytes(size);
    std::memcpy(bytes.data(), value, size);
    values.push_back(std::move(bytes));
    return *this;
  }
  std::vector<std::vector<std::byte>> values;
};

enum class ProblemKind : uint8_t {
  InvalidLaunch, // unknown kernel, wrong arguments, too much shared memory, no memory
  OutOfBounds,
  Misaligned,
  UnwrittenRead,
  Race,
  PendingCopy,
  UnwaitedCopy,
  DivergentBarrier,
  Deadlock,
  StepLimit,
  Trap,
};
const char *nameOf(ProblemKind kind);

struct Problem {
  ProblemKind kind;
  std::string message; // what happened, without the place
  std::string kernel;
  std::string source; // "file:line:column" of .loc, "" without
  uint32_t line = 0;  // of the PTX text, 1-based; 0: no line
  Dim3 block{0, 0, 0}, thread{0, 0, 0};
  std::string text() const; // all of it in one sentence
};

enum class Class : uint8_t { // of instructions
  Integer,
  Float, // f32 and f64
  Half,  // f16, bf16 and their pairs
  Convert,
  Move, // mov, selp, prmt, cvta
  Compare,
  Special, // ex2, rcp, ...
  DotProduct,
  Matrix,     // mma
  MatrixLoad, // ldmatrix
  LoadGlobal,
  StoreGlobal,
  LoadShared,
  StoreShared,
  LoadOther, // local, param, const
  StoreOther,
  Atomic,
  AsyncCopy,
  Exchange, // shfl, vote, match, redux, activemask
  Barrier,
  Branch,
  Other,
  Count
};
const char *nameOf(Class value);

struct Counters {
  uint64_t instructions[size_t(Class::Count)] = {}; // of warps
  uint64_t lanes = 0;                               // active ones, summed over all instructions
  uint64_t globalLoadRequests = 0, globalLoadSectors = 0, globalLoadBytes = 0;
  uint64_t globalStoreRequests = 0, globalStoreSectors = 0, globalStoreBytes = 0;
  uint64_t sharedRequests = 0, sharedWavefronts = 0, sharedIdealWavefronts = 0;
  uint64_t multiplyAdds = 0; // of mma instructions
  uint64_t blocks = 0, warps = 0;
  uint64_t total() const;
  uint64_t of(Class value) const { return instructions[size_t(value)]; }
  uint64_t bankConflicts() const { return sharedWavefronts - sharedIdealWavefronts; }
  void add(const Counters &other);
  std::string text() const; // lines of "name value"
};

struct Report {
  std::vector<Problem> problems;
  uint64_t suppressed = 0; // problems beyond the limit
  Counters counters;
  bool ok() const { return problems.empty(); }
};

struct Options {
  unsigned threads = 0;                   // of the host; 0: one a core
  uint64_t stepLimit = uint64_t(1) << 36; // warp instructions of one launch
  uint32_t problemLimit = 16;             // kept in the report
  uint64_t sharedLimit = 163 * 1024;      // bytes of shared memory of a block
  bool unwritten = true, races = true;    // checks of shadow state; bounds and alignment are always checked
  bool count = true;                      // sectors and wavefronts; instructions are always counted
  const volatile uint32_t *cancel = nullptr; // stop once this is not 0
};

struct Parameter {
  std::string name;
  uint32_t offset, size;
};

/// What the text says of a kernel.
struct KernelInfo {
  std::string name;
  std::vector<Parameter> parameters;
  uint64_t staticSharedBytes = 0;
  uint32_t instructionCount = 0, registerCount = 0; // registers: 32-bit ones that are alive at once at most
  Dim3 requiredBlock{0, 0, 0};                      // .reqntid, 0 without
};

/// Parsed and decoded PTX. Launches of one module may run at the same time on different memories.
class Module {
public:
  /// Null if the text is not PTX that the simulator knows; `error` says why.
  static std::unique_ptr<Module> parse(std::string_view text, std::string &error);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  const std::vector<KernelInfo> &kernels() const;
  const KernelInfo *kernel(std::string_view name) const;
  /// Allocates and initializes the module's .global and .const variables in `memory`; the first launch does
  /// it otherwise.
  bool bind(Memory &memory) const;
  /// Address of a .global variable once the module is bound to `memory`; 0: there is none.
  uint64_t variable(std::string_view name, const Memory &memory) const;
  Report launch(std::string_view kernel, Dim3 grid, Dim3 block, uint32_t dynamicSharedBytes,
                const Arguments &arguments, Memory &memory, const Options &options = {}) const;

  struct Impl;

private:
  explicit Module(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> state;
};

} // namespace heddle::cuda_sim
