// Attention, and the caches that it reads.
#include "ir/interpreter/Scalar.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

/// Nearest f16, ties to even, as a cache of f16 holds it.
static double roundToHalf(double x) {
  bool lost;
  APFloat value(x);
  value.convert(APFloat::IEEEhalf(), APFloat::rmNearestTiesToEven, &lost);
  value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
  return value.convertToDouble();
}

/// Distance of neighbours in f16 at x.
static double halfStep(double x) {
  return std::ldexp(1.0, std::max(std::ilogb(std::max(std::abs(x), 0x1p-14)), -14) - 10);
}

llvm::Error interpreter::evaluateCacheAppend(Operation *op, Cache &cache, const Numbers &keys,
                                             const Numbers &values, const Integers &slots,
                                             const Integers &positions, Context &context) {
  int64_t rows = keys.shape[0];
  if (values.shape[0] != rows || slots.shape[0] != rows || positions.shape[0] != rows)
    return fail(op, Twine("expected values, slots and positions for each of ") + Twine(rows) +
                        " rows of keys, but found " + Twine(values.shape[0]) + ", " + Twine(slots.shape[0]) +
                        " and " + Twine(positions.shape[0]));
  bool half = cache.type.getElementType().isF16();
  size_t keySize = cache.type.getHeads() * cache.type.getKeyDim(),
         valueSize = cache.type.getHeads() * cache.type.getValueDim();
  if (llvm::Error error = context.spend(op, {uint64_t(rows), keySize + valueSize}))
    return error;

  auto store = [&](const Numbers &from, int64_t row, size_t size, std::vector<double> &to,
                   std::vector<double> &tolerance, int64_t position) {
    for (size_t i = 0; i < size; ++i) {
      double x = from.data[row * size + i], moved = from.toleranceAt(row * size + i);
      double stored = half ? roundToHalf(x) : context.arithmetic.round(x);
      to[position * size + i] = stored;
      if (context.tracks()) {
        // What lies as near to a tie as it is uncertain may round to the neighbour.
        bool flips = half && moved > 0 && std::abs(x - stored) + moved >= halfStep(stored) / 2;
        tolerance[position * size + i] = flips  ? std::hypot(moved, ::heddle::kStepFactor * halfStep(stored))
                                         : half ? 0
                                                : moved;
      }
    }
  };
  for (int64_t row = 0; row < rows; ++row) {
    int64_t slot = slots.data[row], position = positions.data[row];
    if (slot < 0 || slot >= context.options.maxSlots)
      return fail(op, Twine("expected slots from 0 to ") + Twine(context.options.maxSlots - 1) +
                          ", but found " + Twine(slot));
    if (position < 0 || position >= context.options.maxContext)
      return fail(op, Twine("expected positions from 0 to ") + Twine(context.options.maxContext - 1) +
                          ", but found " + Twine(position));
    Cache::Slot &target = cache.slots[slot];
    if (size_t(position) >= target.written.size()) {
      auto charge = context.charge(op, position + 1 - target.written.size(),
                                   (keySize + valueSize) * (context.tracks() ? 16 : 8));
      if (!charge)
        return charge.takeError();
      target.charges.push_back(std::move(*charge));
      target.written.resize(position + 1);
      target.keys.resize((position + 1) * keySize);
      target.values.resize((position + 1) * valueSize);
      if (context.tracks()) {
        target.keyTolerance.resize((position + 1) * keySize);
        target.valueTolerance.resize((position + 1) * valueSize);
      }
    }
    store(keys, row, keySize, target.keys, target.keyTolerance, position);
    store(values, row, valueSize, target.values, target.valueTolerance, position);
    target.written[position] = true;
  }
  return llvm::Error::success();
}

namespace {

/// Heads by width of one token's keys or values, with tolerances or null.
struct Token {
  const double *numbers, *tolerance;
};

/// A key that a row may see.
struct Candidate {
  Token key, value;
  int64_t position;
};

class Attention {
public:
  Attention(AttentionOp op, const Numbers &query, ScalarProgram score, std::optional<ScalarProgram> mask,
            Context &context)
      : op(op), query(query), score(std::move(score)), mask(std::move(mask)), context(context),
        a(context.arithmetic), scale(op.getScale().convertToFloat()), heads(query.shape[1]),
        group(op.groupSize()), keyDim(query.shape[2]), valueDim(op.valueDim()) {}

  llvm::Error row(int64_t row, ArrayRef<Candidate> candidates, int64_t slot, int64_t position,
                  Numbers &result) {
    uint64_t steps = keyDim + valueDim + score.size() + (mask ? mask->size() : 0);
    if (llvm::Error error = context.spend(op, {candidates.size(), uint64_t(heads), steps}))
      return error;
    for (int64_t head = 0; head < heads; ++head) {
      if (llvm::Error error = scores(row, head, candidates, slot, position))
        return error;
      average(head / group, result, (row * heads + head) * valueDim);
    }
    return llvm::Error::success();
  }

private:
  llvm::Error scores(int64_t row, int64_t head, ArrayRef<Candidate> candidates, int64_t slot,
                     int64_t position) {
    visible.clear();
    size_t q = (row * heads + head) * keyDim, k = head / group * keyDim;
    for (const Candidate &candidate : candidates) {
      double dot = 0, magnitude = 0, moved = 0;
      for (int64_t i = 0; i < keyDim; ++i) {
        double x = query.data[q + i], y = candidate.key.numbers[k + i];
        dot = a.round(dot + x * y);
        if (!context.tracks())
          continue;
        double xt = query.toleranceAt(q + i),
               yt = candidate.key.tolerance ? candidate.key.tolerance[k + i] : 0;
        magnitude += std::abs(x * y);
        moved += square(std::abs(x) * yt + std::abs(y) * xt + xt * yt);
      }
      Scalar arguments[6] = {{a.multiply({dot, a.unit * magnitude + std::sqrt(moved)}, {scale, 0}), 0}};
      int64_t indices[5] = {head, head / group, position, candidate.position, slot};
      for (int i = 0; i < 5; ++i)
        arguments[i + 1].integer = indices[i];
      if (mask) {
        auto keeps = mask->run(arguments);
        if (!keeps)
          return keeps.takeError();
        if (!keeps->integer)
          continue;
      }
      auto changed = score.run(arguments);
      if (!changed)
        return changed.takeError();
      visible.push_back({candidate.value, changed->real, 0});
    }
    return llvm::Error::success();
  }

  /// Softmax over the visible scores, then the average of their values.
  void average(int64_t kvHead, Numbers &result, size_t target) {
    if (visible.empty())
      return; // zeros
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (const Weighted &key : visible)
      largest = std::isnan(key.score.value) || std::isnan(largest) ? std::numeric_limits<double>::quiet_NaN()
                                                                   : std::max(largest, key.score.value);
    for (Weighted &key : visible) {
      key.weight = a.round(std::exp(a.round(key.score.value - largest)));
      sum = a.round(sum + key.weight);
    }
    for (int64_t d = 0; d < valueDim; ++d) {
      size_t index = kvHead * valueDim + d;
      double acc = 0;
      for (const Weighted &key : visible)
        acc = a.round(acc + key.weight * key.value.numbers[index]);
      double y = a.round(acc / sum);
      result.data[target + d] = y;
      if (!context.tracks())
        continue;
      // d y / d score_j = p_j (v_j - y); a weight is uncertain by its exponent's rounding too, which grows
      // with it.
      double magnitude = 0, ofValues = 0, ofWeights = 0, farthest = 0;
      for (const Weighted &key : visible) {
        double v = key.value.numbers[index], p = key.weight / sum,
               moves = key.value.tolerance ? key.value.tolerance[index] : 0;
        double relative = key.score.tolerance + a.unit * (1 + std::abs(key.score.value - largest));
        ofWeights += square(p * std::abs(v - y) * std::expm1(std::min(2 * relative, 300.0)) / 2);
        farthest = std::max(farthest, std::abs(v - y));
        magnitude += p * std::abs(v);
        ofValues += square(p * moves);
      }
      // Whatever the weights become, the result stays between the values.
      result.tolerance[target + d] =
          a.unit * (magnitude + std::abs(y)) + std::sqrt(ofValues) + std::min(std::sqrt(ofWeights), farthest);
    }
  }

  struct Weighted {
    Token value;
    Real score;
    double weight;
  };

  AttentionOp op;
  const Numbers &query;
  ScalarProgram score;
  std::optional<ScalarProgram> mask;
  Context &context;
  const Arithmetics &a;
  double scale;
  int64_t heads, group, keyDim, valueDim;
  std::vector<Weighted> visible;
};

Token tokenOf(const std::vector<double> &numbers, const std::vector<double> &tolerance, size_t index,
              size_t size) {
  return {numbers.data() + index * size, tolerance.empty() ? nullptr : tolerance.data() + index * size};
}

} // namespace

Result interpreter::evaluateAttention(AttentionOp op, const Numbers &query, const Numbers *keys,
                                      const Numbers *values, Cache *cache, const Integers &slots,
                                      const Integers &positions, Lookup captured, Context &context) {
  int64_t rows = query.shape[0];
  if (slots.shape[0] != rows || positions.shape[0] != rows)
    return fail(op, Twine("expected a slot and a position for each of ") + Twine(rows) + " rows, but found " +
                        Twine(slots.shape[0]) + " and " + Twine(positions.shape[0]));
  if (cache && keys)
    if (llvm::Error error = evaluateCacheAppend(op, *cache, *keys, *values, slots, positions, context))
      return std::move(error);
  if (!cache && (keys->shape[0] != rows || values->shape[0] != rows))
    return fail(op, Twine("expected keys and values for each of ") + Twine(rows) + " rows, but found " +
                        Twine(keys->shape[0]) + " and " + Twine(values->shape[0]));

  auto score = ScalarProgram::compile(op.getScore().front(), captured, context);
  if (!score)
    return score.takeError();
  std::optional<ScalarProgram> mask;
  if (!op.getMask().empty()) {
    auto compiled = ScalarProgram::compile(op.getMask().front(), captured, context);
    if (!compiled)
      return compiled.takeError();
    mask = std::move(*compiled);
  }
  auto result = context.numbers(op, {rows, query.shape[1], op.valueDim()});
  if (!result)
    return result.takeError();

  Attention attention(op, query, std::move(*score), std::move(mask), context);
  size_t keySize = op.kvHeads() * query.shape[2], valueSize = op.kvHeads() * op.valueDim();
  std::vector<Candidate> candidates;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t slot = slots.data[row], position = positions.data[row];
    candidates.clear();
    if (cache) {
      auto found = cache->slots.find(slot);
      int64_t length = found == cache->slots.end() ? 0 : found->second.written.size();
      for (int64_t p = 0; p <= position; ++p) {
        if (p >= length || !found->second.written[p])
          return fail(op, Twine("expected slot ") + Twine(slot) + " to hold positions 0 to " +
                              Twine(position) + ", but nothing was appended at " + Twine(p));
        const Cache::Slot &from = found->second;
        candidates.push_back({tokenOf(from.keys, from.keyTolerance, p, keySize),
                              tokenOf(from.values, from.valueTolerance, p, valueSize), p});
      }
    } else {
      for (int64_t other = 0; other < rows; ++other)
        if (slots.data[other] == slot)
          candidates.push_back({tokenOf(keys->data, keys->tolerance, other, keySize),
                                tokenOf(values->data, values->tolerance, other, valueSize),
                                positions.data[other]});
    }
    if (llvm::Error error = attention.row(row, candidates, slot, position, *result))
      return std::move(error);
  }
  return std::move(*result);
}
