#include "passes/Decisions.h"
#include "passes/Passes.h"
#include "passes/RowDims.h"
#include <map>
#include <set>

namespace mlir::heddle {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

static constexpr int64_t kAlignment = 64;

namespace {
/// The free parts of an arena that grows at its end. Best fit: the smallest part that holds the request, the
/// lowest of equals.
class Arena {
public:
  int64_t take(int64_t bytes) {
    auto fit = bySize.lower_bound({bytes, 0});
    if (fit == bySize.end())
      return grow(bytes);
    auto [size, offset] = *fit;
    erase(offset);
    if (size > bytes)
      insert(offset + bytes, size - bytes);
    return offset;
  }

  void give(int64_t offset, int64_t bytes) {
    auto next = byOffset.lower_bound(offset);
    if (next != byOffset.end() && next->first == offset + bytes) {
      bytes += next->second;
      erase(next->first);
    }
    auto previous = byOffset.lower_bound(offset);
    if (previous != byOffset.begin() && std::prev(previous)->first + std::prev(previous)->second == offset) {
      --previous;
      offset = previous->first;
      bytes += previous->second;
      erase(offset);
    }
    insert(offset, bytes);
  }

  int64_t bytes() const { return end; }

private:
  int64_t grow(int64_t bytes) {
    // A free part at the end only needs the rest.
    int64_t offset = end;
    if (!byOffset.empty() && std::prev(byOffset.end())->first + std::prev(byOffset.end())->second == end) {
      offset = std::prev(byOffset.end())->first;
      erase(offset);
    }
    end = offset + bytes;
    return offset;
  }
  void insert(int64_t offset, int64_t bytes) {
    byOffset[offset] = bytes;
    bySize.insert({bytes, offset});
  }
  void erase(int64_t offset) {
    auto part = byOffset.find(offset);
    bySize.erase({part->second, offset});
    byOffset.erase(part);
  }

  std::map<int64_t, int64_t> byOffset;
  std::set<std::pair<int64_t, int64_t>> bySize;
  int64_t end = 0;
};

/// A launch result in the arena. Times are *epochs*: the launches between two barriers share one, as workers
/// may be at any of them at once.
struct Buffer {
  OpResult value;
  int64_t bytes;
  int64_t begin, end; // first and last epoch that touches it
  int64_t offset = -1;
};

struct PlanMemory : mlir::heddle::impl::PlanMemoryPassBase<PlanMemory> {
  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    SymbolTable symbols(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal() && failed(plan(function, symbols, decisions)))
        return signalPassFailure();
  }

  LogicalResult plan(func::FuncOp function, SymbolTable &symbols, Decisions &decisions) {
    SmallVector<LaunchOp> launches(function.getBody().front().getOps<LaunchOp>());
    if (launches.empty())
      return success();
    FailureOr<RowDims> rows = RowDims::compute(function);
    if (failed(rows))
      return failure();
    for (BlockArgument argument : function.getArguments())
      if (isa<KvCacheType>(argument.getType()))
        return function.emitOpError()
               << "expected caches to come from 'heddle.get_cache', but found argument "
               << argument.getArgNumber();
    for (LaunchOp launch : launches)
      if (!rows->knows(launch.getRows()))
        return launch.emitOpError()
               << "expected to run over a dimension of the function's arguments, but found '"
               << launch.getRows() << "'";
    DenseMap<Operation *, int64_t> epochs;
    int64_t barriers = placeBarriers(launches, symbols, epochs);

    SmallVector<Buffer> buffers;
    int64_t total = 0;
    for (LaunchOp launch : launches)
      for (OpResult result : launch->getResults()) {
        if (llvm::any_of(result.getUsers(), [](Operation *user) { return isa<func::ReturnOp>(user); }))
          continue; // an output: the caller's memory
        int64_t bytes = bytesOf(result.getType(), rows->bounds(rows->of(result)).max);
        if (bytes >= kMaxBytes - total)
          return launch.emitOpError()
                 << "expected results of all launches to take fewer than 2^48 bytes, but " << result.getType()
                 << " at " << rows->bounds(rows->of(result)).max << " rows passes that";
        Buffer buffer{result,
                      std::max<int64_t>((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment),
                      epochs.lookup(launch), epochs.lookup(launch)};
        for (Operation *user : result.getUsers())
          buffer.end = std::max(buffer.end, epochs.lookup(user));
        buffers.push_back(buffer);
        total += buffer.bytes;
      }
    int64_t size = place(buffers);

    DenseMap<Value, int64_t> offsets;
    for (const Buffer &buffer : buffers)
      offsets[buffer.value] = buffer.offset;
    for (LaunchOp launch : launches) {
      SmallVector<int64_t> arena;
      for (Value result : launch->getResults()) {
        auto offset = offsets.find(result);
        arena.push_back(offset == offsets.end() ? -1 : offset->second);
      }
      launch.setArena(arena);
    }
    function->setAttr(kArenaBytesAttr, Builder(&getContext()).getI64IntegerAttr(size));
    decisions.record(function, "memory",
                     "'" + function.getName() + "' needs " + Twine(size) + " bytes for " +
                         Twine(buffers.size()) + " results of " + Twine(total) + " bytes together; " +
                         Twine(int64_t(launches.size())) + " launches, " + Twine(barriers) + " barriers",
                     size);
    return success();
  }

  /// Sets `barrier` on every launch that depends on one since the last barrier, numbers epochs, and returns
  /// how many barriers there are.
  static int64_t placeBarriers(ArrayRef<LaunchOp> launches, SymbolTable &symbols,
                               DenseMap<Operation *, int64_t> &epochs) {
    struct CacheUse {
      int64_t read = -1, written = -1; // last epoch
    };
    DenseMap<Attribute, CacheUse> caches;
    int64_t epoch = 0;
    for (LaunchOp launch : launches) {
      bool reads = false, writes = false;
      SmallVector<CacheUse *> touched;
      bool depends = false;
      for (Value input : launch.getInputs()) {
        if (auto maker = input.getDefiningOp<LaunchOp>())
          depends |= epochs.lookup(maker) == epoch;
        if (auto get = input.getDefiningOp<GetCacheOp>())
          caches.try_emplace(get.getCacheAttr());
      }
      for (Value input : launch.getInputs())
        if (auto get = input.getDefiningOp<GetCacheOp>())
          touched.push_back(&caches[get.getCacheAttr()]);
      if (!touched.empty()) {
        auto kernel = symbols.lookup<KernelOp>(launch.getKernel());
        for (Operation &op : kernel.getBody().front()) {
          reads |= hasEffect<MemoryEffects::Read>(&op);
          writes |= hasEffect<MemoryEffects::Write>(&op);
        }
      }
      for (CacheUse *use : touched)
        depends |= (reads && use->written == epoch) || (writes && std::max(use->read, use->written) == epoch);
      if (depends)
        ++epoch;
      launch.setBarrier(depends);
      epochs[launch] = epoch;
      for (CacheUse *use : touched) {
        if (reads)
          use->read = epoch;
        if (writes)
          use->written = epoch;
      }
    }
    return epoch;
  }

  /// Gives every buffer an offset; buffers overlap only where no epoch touches both, so reuse adds no
  /// barrier. Returns the arena's size.
  static int64_t place(MutableArrayRef<Buffer> buffers) {
    SmallVector<size_t> starts(buffers.size());
    for (auto [number, start] : llvm::enumerate(starts))
      start = number;
    // Within an epoch the large ones choose first.
    llvm::sort(starts, [&](size_t a, size_t b) {
      return std::tuple(buffers[a].begin, -buffers[a].bytes, a) <
             std::tuple(buffers[b].begin, -buffers[b].bytes, b);
    });
    SmallVector<size_t> ends = starts;
    llvm::sort(ends, [&](size_t a, size_t b) {
      return std::tuple(buffers[a].end, a) < std::tuple(buffers[b].end, b);
    });
    Arena arena;
    const size_t *ended = ends.begin();
    for (size_t number : starts) {
      Buffer &buffer = buffers[number];
      for (; ended != ends.end() && buffers[*ended].end < buffer.begin; ++ended)
        arena.give(buffers[*ended].offset, buffers[*ended].bytes);
      buffer.offset = arena.take(buffer.bytes);
    }
    return arena.bytes();
  }
};
} // namespace
