// What SSA values are while a program is interpreted.
#pragma once
#include "ir/Heddle.h"
#include "mlir/IR/BuiltinOps.h"
#include <memory>
#include <variant>
#include <vector>

namespace mlir::heddle::interpreter {

using Shape = SmallVector<int64_t, 4>;

/// The product of `shape`, or nothing when it is negative or does not fit.
std::optional<int64_t> elementCount(ArrayRef<int64_t> shape);

/// Gives bytes back to the memory budget when the last copy goes; empty for values that callers made.
using Charge = std::shared_ptr<void>;

/// Real numbers, row-major. In f32 arithmetic each of them is an f32 value.
struct Numbers {
  Shape shape;
  std::vector<double> data;
  std::vector<double> tolerance; // of each number (Tolerance.h); empty: exact
  Charge charge;

  double toleranceAt(size_t i) const { return tolerance.empty() ? 0 : tolerance[i]; }
};

struct Integers {
  Shape shape;
  std::vector<int64_t> data;
  Charge charge;
};

/// A weight as the file holds it. Layouts do not matter here: `pack` keeps values.
struct Weights {
  Shape shape;
  ::heddle::StorageFormat format;
  ArrayRef<uint8_t> bytes; // the parameter source's, or those of `owned`
  std::shared_ptr<const std::vector<uint8_t>> owned = {};

  int64_t columns() const { return shape.back(); }
  int64_t rows() const { return shape.size() == 1 ? 1 : shape[0]; }
  ArrayRef<uint8_t> row(int64_t index) const {
    uint64_t size = ::heddle::storedBytes(format, columns());
    return bytes.slice(index * size, size);
  }
};

/// Dynamically quantized activations (docs/kernel-abi.md). Sums follow from the codes.
struct Activations {
  Shape shape;
  int planes;                    // 1: act_i8, 2: act_i16; 0: act_bf16, where only `values` are
  std::vector<int32_t> codes;    // [rows][columns]
  std::vector<float> scales;     // [rows][columns / 32]
  std::vector<double> tolerance; // of scale * code, or of each value
  Charge charge;
  std::vector<double> values = {};

  int64_t rows() const { return shape[0]; }
  int64_t columns() const { return shape[1]; }
};

/// Keys and values of one layer: state of a session, changed by `cache_append`.
class Cache {
public:
  Cache(KvCacheType type) : type(type) {}

  struct Slot {
    std::vector<double> keys, values;                 // [position][heads][width]
    std::vector<double> keyTolerance, valueTolerance; // the same; only where tolerances are tracked
    std::vector<bool> written;                        // by position
    std::vector<Charge> charges;
  };
  KvCacheType type;
  llvm::DenseMap<int64_t, Slot> slots;
};

/// A value, cheap to copy and never changed (a cache's contents are).
class Datum {
public:
  Datum() = default;
  Datum(Numbers value) : content(std::make_shared<const Content>(std::move(value))) {}
  Datum(Integers value) : content(std::make_shared<const Content>(std::move(value))) {}
  Datum(Weights value) : content(std::make_shared<const Content>(std::move(value))) {}
  Datum(Activations value) : content(std::make_shared<const Content>(std::move(value))) {}
  Datum(Cache *cache) : content(std::make_shared<const Content>(cache)) {}

  explicit operator bool() const { return content != nullptr; }

  /// The value as what it is asked for, or null.
  const Numbers *numbers() const { return get<Numbers>(); }
  const Integers *integers() const { return get<Integers>(); }
  const Weights *weights() const { return get<Weights>(); }
  const Activations *activations() const { return get<Activations>(); }
  Cache *cache() const {
    auto *cache = get<Cache *>();
    return cache ? *cache : nullptr;
  }

  /// Empty for caches.
  ArrayRef<int64_t> shape() const;

  /// Whether kind, rank and static sizes are those of `type`.
  bool fits(Type type) const;

  /// "tensor of 2x32 numbers", for messages.
  std::string describe() const;

private:
  using Content = std::variant<Numbers, Integers, Weights, Activations, Cache *>;
  template <typename T> const T *get() const { return content ? std::get_if<T>(content.get()) : nullptr; }

  std::shared_ptr<const Content> content;
};

/// The numbers of a constant: any float or integer element type. Nothing for other attributes.
std::optional<Datum> datumOf(ElementsAttr attribute);

} // namespace mlir::heddle::interpreter
