#include "ir/Heddle.h"
#include "passes/Decisions.h"
#include "passes/Passes.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_SPECIALIZEROWSPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

/// The first declaration of dimension `name` among the arguments.
static DimAttr findDim(func::FuncOp function, StringRef name) {
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (auto dims = function.getArgAttrOfType<ArrayAttr>(i, kDimsAttr))
      for (Attribute attr : dims)
        if (auto dim = dyn_cast<DimAttr>(attr); dim && dim.getName() == name)
          return dim;
  return {};
}

/// `dims` with the range of dimension `range` wherever its name stands.
static ArrayAttr narrow(ArrayAttr dims, DimAttr range) {
  SmallVector<Attribute> narrowed;
  for (Attribute attr : dims) {
    auto dim = dyn_cast<DimAttr>(attr);
    narrowed.push_back(dim && dim.getName() == range.getName() ? range : attr);
  }
  return ArrayAttr::get(dims.getContext(), narrowed);
}

/// Is there a product that `choose-precision` will round activations for?
static bool multipliesBlocks(func::FuncOp function) {
  return function
      .walk([](LinearOp linear) {
        return linear.hasBlockWeight() ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

namespace {
struct SpecializeRows : mlir::heddle::impl::SpecializeRowsPassBase<SpecializeRows> {
  using SpecializeRowsPassBase::SpecializeRowsPassBase;

  void runOnOperation() override {
    int64_t previous = 0;
    for (int64_t bound : bounds) {
      if (bound <= previous) {
        getOperation().emitError() << "expected 'bounds' of '" << getArgument()
                                   << "' to be positive and ascending, but found " << bound << " after "
                                   << previous;
        return signalPassFailure();
      }
      previous = bound;
    }
    Decisions decisions(getOperation(), getArgument());
    SymbolTable symbols(getOperation());
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (function->hasAttr(kEntryAttr) && !function->hasAttr(kRowsAttr))
        specialize(function, symbols, decisions);
  }

  void specialize(func::FuncOp function, SymbolTable &symbols, Decisions &decisions) {
    DimAttr rows = findDim(function, dim);
    if (!rows) {
      decisions.record(function, "variant",
                       "one variant: entry '" + function.getName() + "' has no dimension '" + dim + "'");
      return;
    }
    int64_t low = rows.getMin();
    bool tiles = tilesFrom > 0 && rows.getMax() >= tilesFrom && multipliesBlocks(function);
    SmallVector<int64_t> highs(bounds.begin(), bounds.end());
    if (tiles)
      highs.push_back(tilesFrom - 1);
    llvm::sort(highs);
    llvm::erase_if(highs, [&](int64_t bound) { return bound < low || bound >= rows.getMax(); });
    highs.push_back(rows.getMax());
    highs.erase(std::unique(highs.begin(), highs.end()), highs.end());

    OpBuilder builder(function);
    for (int64_t high : highs) {
      auto range = DimAttr::get(&getContext(), rows.getName(), low, high);
      auto variant = cast<func::FuncOp>(builder.clone(*function));
      variant.setName((function.getName() + ".rows_" + Twine(low) + "_" + Twine(high)).str());
      variant->setAttr(kRowsAttr, builder.getDenseI64ArrayAttr({low, high}));
      for (unsigned i = 0; i < variant.getNumArguments(); ++i)
        if (auto dims = variant.getArgAttrOfType<ArrayAttr>(i, kDimsAttr))
          variant.setArgAttr(i, kDimsAttr, narrow(dims, range));
      for (unsigned i = 0; i < variant.getNumResults(); ++i)
        if (auto dims = variant.getResultAttrOfType<ArrayAttr>(i, kDimsAttr))
          variant.setResultAttr(i, kDimsAttr, narrow(dims, range));
      decisions.record(variant, "variant",
                       "'" + variant.getName() + "' serves " + Twine(low) + " to " + Twine(high) + " rows");
      if (tiles && low >= tilesFrom) {
        auto alternative = cast<func::FuncOp>(builder.clone(*variant));
        alternative.setName((variant.getName() + ".tiles").str());
        alternative->setAttr(kTilesAttr, builder.getUnitAttr());
        decisions.record(alternative, "variant",
                         "'" + alternative.getName() + "' replaces '" + variant.getName() +
                             "' where processors multiply tiles of bf16");
      }
      low = high + 1;
    }
    symbols.erase(function);
  }
};
} // namespace
