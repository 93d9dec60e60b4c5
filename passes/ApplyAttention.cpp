// heddle-apply-attention: a named attention variant instead of the model's own.
#include "passes/AttentionVariants.h"
#include "passes/Decisions.h"
#include "passes/Passes.h"
#include "llvm/Support/GlobPattern.h"

namespace mlir::heddle {
#define GEN_PASS_DEF_APPLYATTENTIONPASS
#include "passes/Passes.h.inc"
} // namespace mlir::heddle

using namespace mlir;
using namespace mlir::heddle;

namespace {
struct ApplyAttention : mlir::heddle::impl::ApplyAttentionPassBase<ApplyAttention> {
  using Base = mlir::heddle::impl::ApplyAttentionPassBase<ApplyAttention>;
  using Base::Base;

  void runOnOperation() override {
    const BaseAttention *chosen = findAttention(variant);
    if (!chosen) {
      getOperation().emitError() << "unknown attention '" << variant
                                 << "'; known variants: " << attentionNames();
      return signalPassFailure();
    }
    auto given = readParameters(*chosen);
    auto pattern = llvm::GlobPattern::create(nodes);
    if (!pattern) {
      getOperation().emitError() << "expected 'nodes' to be a pattern, but found '" << nodes
                                 << "': " << llvm::toString(pattern.takeError());
      return signalPassFailure();
    }
    if (failed(given))
      return signalPassFailure();

    Decisions decisions(getOperation(), getArgument());
    size_t changed = 0;
    getOperation().walk([&](AttentionOp attention) {
      if (!pattern->match(sourceNames(attention.getLoc())))
        return;
      apply(attention, *chosen, *given);
      decisions.record(attention, "replace", "its regions are those of variant '" + variant + "'");
      ++changed;
    });
    if (changed != 0)
      return;
    getOperation().emitError() << "expected an attention whose source node matches '" << nodes
                               << "', but found none";
    signalPassFailure();
  }

  FailureOr<AttentionParameters> readParameters(const BaseAttention &chosen) {
    AttentionParameters values;
    std::string known;
    for (auto [name, value] : chosen.parameters()) {
      values.set(name, value);
      known += (known.empty() ? "" : ", ") + name.str();
    }
    for (StringRef parameter : parameters) {
      auto [name, text] = parameter.split('=');
      double value = 0;
      if (!llvm::any_of(chosen.parameters(), [name = name](auto &each) { return each.first == name; })) {
        getOperation().emitError() << "unknown parameter '" << name << "' of attention '" << variant
                                   << "'; known parameters: " << (known.empty() ? "none" : known);
        return failure();
      }
      if (text.getAsDouble(value)) {
        getOperation().emitError() << "expected parameter '" << name << "' of attention '" << variant
                                   << "' to be a number, but found '" << text << "'";
        return failure();
      }
      values.set(name, value);
    }
    if (std::string why = chosen.check(values); !why.empty()) {
      getOperation().emitError() << "attention '" << variant << "': " << why;
      return failure();
    }
    return values;
  }

  static void apply(AttentionOp attention, const BaseAttention &chosen, const AttentionParameters &given) {
    auto fill = [&](Region &region, auto make) {
      region.dropAllReferences();
      region.getBlocks().clear();
      OpBuilder builder(region.getContext());
      SmallVector<Type> types(6, builder.getI32Type());
      types[0] = builder.getF32Type();
      SmallVector<Location> locations(6, attention.getLoc());
      Block *block = builder.createBlock(&region, {}, types, locations);
      AttentionIndices indices{block->getArgument(0), block->getArgument(1), block->getArgument(2),
                               block->getArgument(3), block->getArgument(4), block->getArgument(5)};
      Value value = make(builder, attention.getLoc(), indices, given);
      if (!value) {
        region.getBlocks().clear(); // no mask
        return;
      }
      builder.create<YieldOp>(attention.getLoc(), value);
    };
    fill(attention.getScore(), [&](auto &&...arguments) { return chosen.score(arguments...); });
    fill(attention.getMask(), [&](auto &&...arguments) { return chosen.mask(arguments...); });
  }
};
} // namespace
