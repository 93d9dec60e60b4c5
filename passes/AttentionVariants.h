// Attention variants: named ways to fill the score and mask regions of an attention (docs/plugins.md).
#pragma once
#include "ir/Heddle.h"
#include "llvm/ADT/StringMap.h"
#include <memory>

namespace mlir::heddle {

/// What a region is given: the score (f32) and the indices (i32) of one query row, head and key.
struct AttentionIndices {
  Value score, queryHead, kvHead, queryPosition, kvPosition, slot;
};

/// Numbers that the user gave a variant, by name; the others have their defaults.
class AttentionParameters {
public:
  void set(StringRef name, double value) { values[name] = value; }
  double operator[](StringRef name) const { return values.lookup(name); }

private:
  llvm::StringMap<double> values;
};

/// One variant. Derive from it, say what it changes, register it: every target then has code for it, as the
/// regions are inlined into its attention kernels. Both functions may create arith and math ops on scalars.
class BaseAttention {
public:
  virtual ~BaseAttention() = default;
  /// As `--attention` names it.
  virtual StringRef name() const = 0;
  /// Names of its parameters and their defaults; others are refused.
  virtual SmallVector<std::pair<StringRef, double>> parameters() const { return {}; }
  /// Why these values make no sense, or an empty string.
  virtual std::string check(const AttentionParameters &) const { return ""; }
  /// The score that softmax sees (f32); without an override, the one it is given.
  virtual Value score(OpBuilder &, Location, const AttentionIndices &indices,
                      const AttentionParameters &) const {
    return indices.score;
  }
  /// Whether the row sees the key (i1). Null: every key; with a cache a row never sees past its own position.
  virtual Value mask(OpBuilder &, Location, const AttentionIndices &, const AttentionParameters &) const {
    return {};
  }
};

/// Makes a variant known; a name that is taken is refused.
LogicalResult registerAttention(std::unique_ptr<BaseAttention> variant);
/// The variant of that name, or null.
const BaseAttention *findAttention(StringRef name);
/// "causal, window, ...", for messages.
std::string attentionNames();

/// i32 and f32 constants, which regions need often.
Value integerConstant(OpBuilder &builder, Location loc, int64_t value);
Value realConstant(OpBuilder &builder, Location loc, double value);

} // namespace mlir::heddle
