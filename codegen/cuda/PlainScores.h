// Scores of one query row against keys, a key a lane: what plain attention and top-k share.
#pragma once
#include "codegen/cuda/Attention.h"

namespace heddle::cuda {

class PlainScores {
public:
  PlainScores(Emitter &e, mlir::heddle::ScoringOpInterface op, const KernelContext &context,
              const AttentionOperands &operands);

  /// A row and a query head; i32.
  struct Vector {
    Value row, head, position; // `row` of the call
    Value query;               // address of its f32 elements
  };
  /// A lane's key.
  struct Key {
    Value number; // of the slot or sequence
    Value position;
    Value exists; // i1
    Value row;    // where it lies: token of the slot, or row of the keys
  };

  /// The next 32 keys of `head`'s, from `first` on, below `end`. `known` is the number of keys before them.
  Key key(Value first, Value end, Value known);
  /// How many of the 32 keys at `key` there are: what `known` grows by.
  Value count(const Key &key);
  /// Where a row's keys end, as `first` of `key`.
  Value keyEnd(Value position);
  Value score(const Vector &vector, Value head, const Key &key);
  Value region(mlir::Region &region, const Vector &vector, Value head, const Key &key, Value score);
  /// Addresses of the key's first element and of its values of `valueDim` numbers, for KV head `head`.
  std::pair<Value, Value> addresses(Value head, const Key &key, int64_t valueDim);
  Value loadNumber(Value address);

  int64_t numberBytes() const { return bytes; }

private:
  /// Bytes between elements of a key.
  int64_t keyStep() const { return cached ? 16 * bytes : bytes; }

  Emitter &e;
  mlir::heddle::ScoringOpInterface op;
  const KernelContext &context;
  const AttentionOperands &operands;
  const bool cached;
  const int64_t kvHeads, keyDim;
  Type element; // of keys and values in memory
  int64_t bytes;
};

} // namespace heddle::cuda
