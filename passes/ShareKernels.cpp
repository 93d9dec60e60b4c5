#include "ir/Heddle.h"
#include "passes/Decisions.h"
#include "passes/Passes.h"
#include "llvm/ADT/Hashing.h"
#include <vector>

namespace mlir::heddle {
#define GEN_PASS_DEF_SHAREKERNELSPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
/// What a kernel is, apart from its name and its locations: equal structures have equal words. Types,
/// attributes and op names are unique in a context, so their addresses stand for them; values are numbered in
/// order of definition.
class Structure {
public:
  Structure(KernelOp kernel, StringAttr rows) {
    add(rows);
    add(kernel.getFamilyAttr());
    add(kernel.getTargetAttr());
    add(kernel.getScheduleAttr());
    add(kernel->getDiscardableAttrDictionary());
    addRegion(kernel.getBody());
  }

  bool operator==(const Structure &other) const { return words == other.words; }
  size_t hash() const { return llvm::hash_combine_range(words.begin(), words.end()); }

private:
  template <typename T> void add(T unique) {
    words.push_back(reinterpret_cast<uintptr_t>(unique.getAsOpaquePointer()));
  }

  void define(Value value) {
    numbers.try_emplace(value, numbers.size());
    add(value.getType());
  }

  void addRegion(Region &region) {
    words.push_back(region.getBlocks().size());
    for (Block &block : region) {
      words.push_back(block.getNumArguments());
      for (BlockArgument argument : block.getArguments())
        define(argument);
      words.push_back(block.getOperations().size());
      for (Operation &op : block) {
        add(op.getName());
        add(op.getAttrDictionary());
        words.push_back(op.getNumOperands());
        for (Value operand : op.getOperands())
          words.push_back(numbers.lookup(operand));
        words.push_back(op.getNumResults());
        for (Value result : op.getResults())
          define(result);
        for (Region &inner : op.getRegions())
          addRegion(inner);
      }
    }
  }

  std::vector<uintptr_t> words;
  DenseMap<Value, uintptr_t> numbers;
};

struct ShareKernels : mlir::heddle::impl::ShareKernelsPassBase<ShareKernels> {
  void runOnOperation() override {
    Decisions decisions(getOperation(), getArgument());
    // A kernel's items run over one dimension, so launches over different ones do not share.
    DenseMap<StringAttr, StringAttr> rows;
    getOperation().walk(
        [&](LaunchOp launch) { rows[launch.getKernelAttr().getAttr()] = launch.getRowsAttr(); });

    struct Shared {
      KernelOp kernel;
      Structure structure;
      int64_t copies;
    };
    std::vector<Shared> kept;
    DenseMap<size_t, SmallVector<size_t, 1>> byHash;
    DenseMap<StringAttr, FlatSymbolRefAttr> replacement;
    for (auto kernel : llvm::make_early_inc_range(getOperation().getOps<KernelOp>())) {
      Structure structure(kernel, rows.lookup(kernel.getSymNameAttr()));
      auto &bucket = byHash[structure.hash()];
      auto same = llvm::find_if(bucket, [&](size_t index) { return kept[index].structure == structure; });
      if (same == bucket.end()) {
        bucket.push_back(kept.size());
        kept.push_back({kernel, std::move(structure), 1});
        continue;
      }
      Shared &shared = kept[*same];
      ++shared.copies;
      replacement[kernel.getSymNameAttr()] = FlatSymbolRefAttr::get(shared.kernel.getSymNameAttr());
      kernel.erase();
    }
    getOperation().walk([&](LaunchOp launch) {
      if (FlatSymbolRefAttr shared = replacement.lookup(launch.getKernelAttr().getAttr()))
        launch.setKernelAttr(shared);
    });
    for (Shared &shared : kept)
      if (shared.copies > 1)
        decisions.record(shared.kernel, "share",
                         "'" + shared.kernel.getSymName() + "' stands for " + Twine(shared.copies) +
                             " equal kernels");
  }
};
} // namespace
