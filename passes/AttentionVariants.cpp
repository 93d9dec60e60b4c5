#include "passes/AttentionVariants.h"
#include <mutex>

using namespace mlir;
using namespace mlir::heddle;

Value mlir::heddle::integerConstant(OpBuilder &builder, Location loc, int64_t value) {
  return builder.create<arith::ConstantOp>(loc, builder.getI32IntegerAttr(value));
}
Value mlir::heddle::realConstant(OpBuilder &builder, Location loc, double value) {
  return builder.create<arith::ConstantOp>(loc, builder.getF32FloatAttr(float(value)));
}

namespace {

Value isCausal(OpBuilder &b, Location loc, const AttentionIndices &indices) {
  return b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::sle, indices.kvPosition, indices.queryPosition);
}

struct Causal : BaseAttention {
  StringRef name() const override { return "causal"; }
  Value mask(OpBuilder &b, Location loc, const AttentionIndices &indices,
             const AttentionParameters &) const override {
    return isCausal(b, loc, indices);
  }
};

/// The last `size` tokens, the row's own included.
struct Window : BaseAttention {
  StringRef name() const override { return "window"; }
  SmallVector<std::pair<StringRef, double>> parameters() const override { return {{"size", 1024}}; }
  std::string check(const AttentionParameters &given) const override {
    return given["size"] >= 1 ? "" : "expected 'size' to be at least 1";
  }
  Value mask(OpBuilder &b, Location loc, const AttentionIndices &indices,
             const AttentionParameters &given) const override {
    Value distance = b.create<arith::SubIOp>(loc, indices.queryPosition, indices.kvPosition);
    Value near = b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::slt, distance,
                                         integerConstant(b, loc, int64_t(given["size"])));
    return b.create<arith::AndIOp>(loc, isCausal(b, loc, indices), near);
  }
};

/// Linear biases (arXiv 2108.12409): head h of H loses slope * 2^(-8 (h + 1) / H) for each token of distance.
struct Alibi : BaseAttention {
  StringRef name() const override { return "alibi"; }
  SmallVector<std::pair<StringRef, double>> parameters() const override {
    return {{"heads", 8}, {"slope", 1}};
  }
  std::string check(const AttentionParameters &given) const override {
    return given["heads"] >= 1 ? "" : "expected 'heads' to be at least 1";
  }
  Value score(OpBuilder &b, Location loc, const AttentionIndices &indices,
              const AttentionParameters &given) const override {
    Value head = b.create<arith::SIToFPOp>(loc, b.getF32Type(), indices.queryHead);
    Value next = b.create<arith::AddFOp>(loc, head, realConstant(b, loc, 1));
    // 2^(-8 x / H) as exp: the one transcendental function that all targets inline.
    Value exponent =
        b.create<arith::MulFOp>(loc, next, realConstant(b, loc, -8 * 0.6931471805599453 / given["heads"]));
    Value slope = b.create<arith::MulFOp>(loc, b.create<math::ExpOp>(loc, exponent),
                                          realConstant(b, loc, given["slope"]));
    Value distance = b.create<arith::SIToFPOp>(
        loc, b.getF32Type(), b.create<arith::SubIOp>(loc, indices.kvPosition, indices.queryPosition));
    return b.create<arith::AddFOp>(loc, indices.score, b.create<arith::MulFOp>(loc, slope, distance));
  }
  Value mask(OpBuilder &b, Location loc, const AttentionIndices &indices,
             const AttentionParameters &) const override {
    return isCausal(b, loc, indices);
  }
};

/// By name. Variants live as long as the process, as plug-ins do.
struct Variants {
  std::mutex mutex;
  std::vector<std::unique_ptr<BaseAttention>> all;
  Variants() {
    all.push_back(std::make_unique<Causal>());
    all.push_back(std::make_unique<Window>());
    all.push_back(std::make_unique<Alibi>());
  }
};
Variants &variants() {
  static Variants instance;
  return instance;
}
} // namespace

LogicalResult mlir::heddle::registerAttention(std::unique_ptr<BaseAttention> variant) {
  if (findAttention(variant->name()))
    return failure();
  std::lock_guard lock(variants().mutex);
  variants().all.push_back(std::move(variant));
  return success();
}

const BaseAttention *mlir::heddle::findAttention(StringRef name) {
  std::lock_guard lock(variants().mutex);
  for (auto &variant : variants().all)
    if (variant->name() == name)
      return variant.get();
  return nullptr;
}

std::string mlir::heddle::attentionNames() {
  std::lock_guard lock(variants().mutex);
  std::string names;
  for (auto &variant : variants().all)
    names += (names.empty() ? "" : ", ") + variant->name().str();
  return names;
}
