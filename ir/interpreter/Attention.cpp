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

/// Distance of neighbouring codes at x, and the code nearest to a number within the limit.
static double codeStep(KvCacheType type, double x) {
  return type.getElementType().isInteger(8) ? 1
                                            : std::ldexp(1.0, std::ilogb(std::max(std::abs(x), 0x1p-6)) - 3);
}
static double nearestCode(KvCacheType type, double x) {
  const double step = codeStep(type, x), limit = type.limit();
  return std::clamp(std::nearbyint(x / step) * step, -limit, limit);
}

/// `width` numbers from `from[begin]` on as codes with one scale: the f32 operations that !heddle.kv_cache
/// states, in both arithmetics, since they decide which codes come out.
static void storeCodes(KvCacheType type, const Numbers &from, size_t begin, size_t width,
                       std::vector<double> &to, std::vector<double> &tolerance, size_t at, Context &context) {
  float most = 0;
  double widest = 0;
  bool finite = true;
  for (size_t i = begin; i < begin + width; ++i) {
    const float x = static_cast<float>(from.data[i]);
    finite &= std::isfinite(x);
    most = std::max(most, std::abs(x));
    widest = std::max(widest, from.toleranceAt(i));
  }
  const float scale = finite ? most / type.limit() : std::numeric_limits<float>::quiet_NaN(),
              inverse = 1 / scale;
  const bool hasCodes = finite && std::isfinite(inverse);
  for (size_t i = 0; i < width; ++i) {
    const float x = static_cast<float>(from.data[begin + i]), scaled = x * inverse;
    double code = hasCodes ? nearestCode(type, scaled) : 0;
    if (context.tracks()) {
      tolerance[at + i] = 0;
      if (hasCodes) {
        // The scale moves with the largest element, a code where its number may lie beyond a tie.
        double moved = from.toleranceAt(begin + i), step = codeStep(type, code);
        double shifted = std::abs(x) * widest / most;
        double reach = (moved + shifted) / scale;
        bool flips = reach > 0 &&
                     std::abs(scaled - code) + reach + std::abs(scaled) * ::heddle::kF32Epsilon >= step / 2;
        if (flips && context.takesOther())
          code =
              std::clamp(code + (scaled < code ? -step : step), -double(type.limit()), double(type.limit()));
        if (flips || context.options.quantizationBound)
          shifted = std::max(shifted, std::hypot(moved, ::heddle::kStepFactor * scale * step));
        tolerance[at + i] = shifted;
      }
    }
    to[at + i] = context.arithmetic.round(scale * code);
  }
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
    if (cache.type.hasScales()) {
      const size_t width = size / cache.type.getHeads();
      for (size_t head = 0; head < size; head += width)
        storeCodes(cache.type, from, row * size + head, width, to, tolerance, position * size + head,
                   context);
      return;
    }
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
        if (flips && context.takesOther())
          to[position * size + i] = roundToHalf(stored + std::copysign(halfStep(stored), x - stored));
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
  Token key, value; // without a value where only scores are asked for
  int64_t position;
};

/// The row that keys are scored for.
struct Row {
  int64_t number, slot, position;
};

Token tokenOf(const std::vector<double> &numbers, const std::vector<double> &tolerance, size_t index,
              size_t size) {
  return {numbers.data() + index * size, tolerance.empty() ? nullptr : tolerance.data() + index * size};
}

/// Scores of keys, as the regions of the op say: what attention and top-k share.
class Scoring {
public:
  static llvm::Expected<Scoring> make(ScoringOpInterface op, const ScoringOperands &operands, Lookup captured,
                                      Context &context) {
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
    return Scoring(op, operands, std::move(*score), std::move(mask), context);
  }

  /// The keys of the row's slot or sequence, none of which the mask has seen yet.
  llvm::Expected<ArrayRef<Candidate>> keysOf(const Row &row) {
    candidates.clear();
    size_t keySize = kvHeads * keyDim;
    if (Cache *cache = operands.cache) {
      size_t valueSize = kvHeads * cache->type.getValueDim();
      auto found = cache->slots.find(row.slot);
      int64_t length = found == cache->slots.end() ? 0 : found->second.written.size();
      for (int64_t p = 0; p <= row.position; ++p) {
        if (p >= length || !found->second.written[p])
          return fail(op, Twine("expected slot ") + Twine(row.slot) + " to hold positions 0 to " +
                              Twine(row.position) + ", but nothing was appended at " + Twine(p));
        const Cache::Slot &from = found->second;
        candidates.push_back({tokenOf(from.keys, from.keyTolerance, p, keySize),
                              tokenOf(from.values, from.valueTolerance, p, valueSize), p});
      }
      return candidates;
    }
    const Integers &sequences = operands.keySequences ? *operands.keySequences : operands.slots;
    int64_t count = 0;
    for (int64_t other = 0; other < operands.keys->shape[0]; ++other) {
      if (sequences.data[other] != row.slot)
        continue;
      Token value = operands.values ? tokenOf(operands.values->data, operands.values->tolerance, other,
                                              kvHeads * operands.values->shape[2])
                                    : Token{};
      candidates.push_back({tokenOf(operands.keys->data, operands.keys->tolerance, other, keySize), value,
                            operands.keySequences ? count : operands.positions.data[other]});
      ++count;
    }
    return candidates;
  }

  /// The region's score of one key, or nothing when the mask says no.
  llvm::Expected<std::optional<Real>> score(const Row &row, int64_t head, const Candidate &candidate) {
    size_t q = (row.number * heads + head) * keyDim, k = head / group * keyDim;
    double dot = 0, magnitude = 0, moved = 0;
    for (int64_t i = 0; i < keyDim; ++i) {
      double x = operands.query.data[q + i], y = candidate.key.numbers[k + i];
      dot = a.round(dot + x * y);
      if (!context.tracks())
        continue;
      double xt = operands.query.toleranceAt(q + i),
             yt = candidate.key.tolerance ? candidate.key.tolerance[k + i] : 0;
      magnitude += std::abs(x * y);
      moved += square(std::abs(x) * yt + std::abs(y) * xt + xt * yt);
    }
    Scalar arguments[7] = {{a.multiply({dot, a.unit * magnitude + std::sqrt(moved)}, {scale, 0}), 0}};
    int64_t indices[6] = {head, head / group, row.position, candidate.position, row.slot, row.number};
    for (int i = 0; i < 6; ++i)
      arguments[i + 1].integer = indices[i];
    if (mask) {
      auto keeps = mask->run(arguments);
      if (!keeps)
        return keeps.takeError();
      if (!keeps->integer)
        return std::nullopt;
    }
    auto changed = program.run(arguments);
    if (!changed)
      return changed.takeError();
    return changed->real;
  }

  uint64_t steps() const { return keyDim + program.size() + (mask ? mask->size() : 0); }

private:
  Scoring(ScoringOpInterface op, const ScoringOperands &operands, ScalarProgram program,
          std::optional<ScalarProgram> mask, Context &context)
      : op(op), operands(operands), program(std::move(program)), mask(std::move(mask)), context(context),
        a(context.arithmetic), scale(op.getScale().convertToFloat()), heads(operands.query.shape[1]),
        kvHeads(op.kvHeads()), group(op.groupSize()), keyDim(op.keyDim()) {}

  Operation *op;
  const ScoringOperands &operands;
  ScalarProgram program;
  std::optional<ScalarProgram> mask;
  Context &context;
  const Arithmetics &a;
  double scale;
  int64_t heads, kvHeads, group, keyDim;
  std::vector<Candidate> candidates;
};

/// Tokens of a chunk, as docs/kernel-abi.md has them.
constexpr int64_t kChunkTokens = 256;

/// A visible key of one head.
struct Weighted {
  Token value;
  Real score;
  int64_t position;
  double weight;
};

/// Softmax over the scores, then the average of the values of `kvHead`.
void average(MutableArrayRef<Weighted> visible, int64_t kvHead, int64_t valueDim, Context &context,
             Numbers &result, size_t target) {
  const Arithmetics &a = context.arithmetic;
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

/// What a chunk of keys comes to: its sum of weighted values, of weights, and the score they are relative to.
void sumChunk(MutableArrayRef<Weighted> visible, int64_t kvHead, int64_t valueDim, Context &context,
              Numbers &result, size_t target) {
  const Arithmetics &a = context.arithmetic;
  if (visible.empty())
    return; // zeros
  double largest = -std::numeric_limits<double>::infinity(), sum = 0, sumMoves = 0;
  for (const Weighted &key : visible)
    largest = std::isnan(key.score.value) || std::isnan(largest) ? std::numeric_limits<double>::quiet_NaN()
                                                                 : std::max(largest, key.score.value);
  auto moves = [&](const Weighted &key) {
    double relative = key.score.tolerance + a.unit * (1 + std::abs(key.score.value - largest));
    return key.weight * std::expm1(std::min(2 * relative, 300.0)) / 2;
  };
  for (Weighted &key : visible) {
    key.weight = a.round(std::exp(a.round(key.score.value - largest)));
    sum = a.round(sum + key.weight);
    if (context.tracks())
      sumMoves += square(moves(key));
  }
  for (int64_t d = 0; d < valueDim; ++d) {
    size_t index = kvHead * valueDim + d;
    double acc = 0, magnitude = 0, moved = 0;
    for (const Weighted &key : visible) {
      double v = key.value.numbers[index];
      acc = a.round(acc + key.weight * v);
      if (!context.tracks())
        continue;
      magnitude += std::abs(key.weight * v);
      moved += square(moves(key) * v) +
               square(key.weight * (key.value.tolerance ? key.value.tolerance[index] : 0));
    }
    result.data[target + d] = acc;
    if (context.tracks())
      result.tolerance[target + d] = a.unit * magnitude + std::sqrt(moved);
  }
  result.data[target + valueDim] = sum;
  result.data[target + valueDim + 1] = largest; // the sums are relative to this very number
  if (context.tracks())
    result.tolerance[target + valueDim] = a.unit * sum + std::sqrt(sumMoves);
}

llvm::Error checkRows(Operation *op, const ScoringOperands &operands) {
  int64_t rows = operands.query.shape[0];
  if (operands.slots.shape[0] != rows || operands.positions.shape[0] != rows)
    return fail(op, Twine("expected a slot and a position for each of ") + Twine(rows) + " rows, but found " +
                        Twine(operands.slots.shape[0]) + " and " + Twine(operands.positions.shape[0]));
  if (operands.cache)
    return llvm::Error::success();
  int64_t keys = operands.keys->shape[0], values = operands.values ? operands.values->shape[0] : keys;
  int64_t expected = operands.keySequences ? operands.keySequences->shape[0] : rows;
  if (keys != expected || values != expected)
    return fail(op, Twine("expected keys and values for each of ") + Twine(expected) + " rows, but found " +
                        Twine(keys) + " and " + Twine(values));
  return llvm::Error::success();
}

} // namespace

Result interpreter::evaluateAttention(AttentionOp op, const ScoringOperands &operands, Lookup captured,
                                      Context &context) {
  if (llvm::Error error = checkRows(op, operands))
    return std::move(error);
  if (operands.cache && operands.keys)
    if (llvm::Error error = evaluateCacheAppend(op, *operands.cache, *operands.keys, *operands.values,
                                                operands.slots, operands.positions, context))
      return std::move(error);
  auto scoring = Scoring::make(op, operands, captured, context);
  if (!scoring)
    return scoring.takeError();
  int64_t rows = operands.query.shape[0], heads = operands.query.shape[1], group = op.groupSize(),
          valueDim = op.valueDim();
  // Of a split attention each chunk has its place; it is as wide as the result where there is but one.
  bool isSplit = op.isSplit();
  int64_t chunks = isSplit ? shapeOf(op.getType())[2] : 1, width = isSplit ? valueDim + 2 : valueDim;
  auto result = isSplit ? context.numbers(op, {rows, heads, chunks, width})
                        : context.numbers(op, {rows, heads, valueDim});
  if (!result)
    return result.takeError();

  Value selection = op.keySelection();
  int64_t block = selection ? cast<SelectionType>(selection.getType()).getBlockTokens() : 1;
  auto selects = [&](int64_t row, int64_t position) {
    if (!operands.tokens)
      return true;
    int64_t count = operands.tokens->shape[1], index = position / block;
    return index < count && operands.tokens->data[row * count + index] != 0;
  };
  std::vector<Weighted> visible;
  for (int64_t number = 0; number < rows; ++number) {
    Row row{number, operands.slots.data[number], operands.positions.data[number]};
    auto candidates = scoring->keysOf(row);
    if (!candidates)
      return candidates.takeError();
    if (llvm::Error error =
            context.spend(op, {candidates->size(), uint64_t(heads), scoring->steps() + valueDim}))
      return std::move(error);
    for (int64_t head = 0; head < heads; ++head) {
      size_t target = (number * heads + head) * chunks * width;
      if (operands.heads && !operands.heads->data[number * heads + head]) {
        for (int64_t d = 0; operands.skip && d < valueDim; ++d) {
          result->data[target + d] = operands.skip->data[head * valueDim + d];
          if (context.tracks())
            result->tolerance[target + d] = operands.skip->toleranceAt(head * valueDim + d);
        }
        if (isSplit)
          result->data[target + valueDim] = 1;
        continue;
      }
      visible.clear();
      for (const Candidate &candidate : *candidates) {
        if (!selects(number, candidate.position))
          continue;
        auto score = scoring->score(row, head, candidate);
        if (!score)
          return score.takeError();
        if (*score)
          visible.push_back({candidate.value, **score, candidate.position, 0});
      }
      if (!isSplit) {
        average(visible, head / group, valueDim, context, *result, target);
        continue;
      }
      // Candidates with a cache ascend.
      MutableArrayRef<Weighted> left = visible;
      for (int64_t chunk = 0; !left.empty(); ++chunk) {
        size_t count = 0;
        while (count < left.size() && left[count].position / kChunkTokens == chunk)
          ++count;
        if (count > 0 && chunk >= chunks)
          return fail(op, Twine("expected positions in ") + Twine(chunks) + " chunks, but found " +
                              Twine(left[0].position));
        sumChunk(left.take_front(count), head / group, valueDim, context, *result, target + chunk * width);
        left = left.drop_front(count);
      }
    }
  }
  return std::move(*result);
}

Result interpreter::evaluateMergeChunks(MergeChunksOp op, const Numbers &parts, const Integers &positions,
                                        Context &context) {
  const Arithmetics &a = context.arithmetic;
  int64_t rows = parts.shape[0], heads = parts.shape[1], chunks = parts.shape[2], width = parts.shape[3] - 2;
  if (positions.shape[0] != rows)
    return fail(op, Twine("expected a position for each of ") + Twine(rows) + " rows, but found " +
                        Twine(positions.shape[0]));
  auto result = context.numbers(op, {rows, heads, width});
  if (!result)
    return result.takeError();
  if (llvm::Error error = context.spend(op, {uint64_t(rows), uint64_t(heads), uint64_t(chunks * width)}))
    return std::move(error);
  for (int64_t i = 0; i < rows * heads; ++i) {
    int64_t count = std::min(std::max<int64_t>(positions.data[i / heads], 0) / kChunkTokens + 1, chunks);
    auto place = [&](int64_t chunk) { return (i * chunks + chunk) * (width + 2); };
    double largest = -std::numeric_limits<double>::infinity(), sum = 0, sumMoves = 0;
    for (int64_t c = 0; c < count; ++c)
      if (parts.data[place(c) + width] != 0)
        largest = std::isnan(parts.data[place(c) + width + 1])
                      ? std::numeric_limits<double>::quiet_NaN()
                      : std::max(largest, parts.data[place(c) + width + 1]);
    std::vector<double> factors(count);
    for (int64_t c = 0; c < count; ++c) {
      if (parts.data[place(c) + width] == 0)
        continue;
      factors[c] = a.round(std::exp(a.round(parts.data[place(c) + width + 1] - largest)));
      sum = a.round(sum + factors[c] * parts.data[place(c) + width]);
      sumMoves += square(factors[c] * parts.toleranceAt(place(c) + width)) +
                  square(a.unit * factors[c] * parts.data[place(c) + width] *
                         (1 + std::abs(parts.data[place(c) + width + 1] - largest)));
    }
    for (int64_t d = 0; sum != 0 && d < width; ++d) {
      double acc = 0, magnitude = 0, moved = 0;
      for (int64_t c = 0; c < count; ++c) {
        if (factors[c] == 0)
          continue;
        double x = factors[c] * parts.data[place(c) + d];
        acc = a.round(acc + x);
        magnitude += std::abs(x);
        moved += square(factors[c] * parts.toleranceAt(place(c) + d)) +
                 square(a.unit * x * (1 + std::abs(parts.data[place(c) + width + 1] - largest)));
      }
      double y = a.round(acc / sum);
      result->data[i * width + d] = y;
      if (context.tracks())
        result->tolerance[i * width + d] =
            (std::sqrt(moved) + std::abs(y) * std::sqrt(sumMoves) + a.unit * magnitude) / std::abs(sum) +
            a.unit * std::abs(y);
    }
  }
  return std::move(*result);
}

Result interpreter::evaluateTopK(TopKOp op, const ScoringOperands &operands, Lookup captured,
                                 Context &context) {
  if (llvm::Error error = checkRows(op, operands))
    return std::move(error);
  auto scoring = Scoring::make(op, operands, captured, context);
  if (!scoring)
    return scoring.takeError();
  int64_t rows = operands.query.shape[0], heads = operands.query.shape[1], count = shapeOf(op.getType())[1];
  auto charge = context.charge(op, elementCount({rows, count}).value_or(-1), 8);
  if (!charge)
    return charge.takeError();
  Integers result{{rows, count}, std::vector<int64_t>(rows * count), *charge};

  const Arithmetics &a = context.arithmetic;
  std::vector<std::pair<double, int64_t>> sums; // and positions
  for (int64_t number = 0; number < rows; ++number) {
    Row row{number, operands.slots.data[number], operands.positions.data[number]};
    auto candidates = scoring->keysOf(row);
    if (!candidates)
      return candidates.takeError();
    if (llvm::Error error = context.spend(op, {candidates->size(), uint64_t(heads), scoring->steps()}))
      return std::move(error);
    sums.clear();
    for (const Candidate &candidate : *candidates) {
      double sum = 0;
      bool sees = candidate.position < count;
      for (int64_t head = 0; sees && head < heads; ++head) {
        auto score = scoring->score(row, head, candidate);
        if (!score)
          return score.takeError();
        if (*score)
          sum = a.round(sum + (*score)->value);
        else if (head == 0)
          sees = false;
      }
      if (sees)
        sums.push_back(
            {std::isnan(sum) ? -std::numeric_limits<double>::infinity() : sum, candidate.position});
    }
    llvm::sort(sums, [](auto &x, auto &y) {
      return x.first > y.first || (x.first == y.first && x.second < y.second);
    });
    for (auto [sum, position] : ArrayRef(sums).take_front(op.getK()))
      result.data[number * count + position] = 1;
  }
  return std::move(result);
}

Result interpreter::evaluateSelectBlocks(SelectBlocksOp op, const Numbers &mask, const Integers *positions,
                                         Context &context) {
  int64_t rows = positions ? positions->shape[0] : mask.shape[0], count = mask.shape[1],
          block = cast<SelectionType>(op.getType()).getBlockTokens();
  auto charge = context.charge(op, elementCount({rows, count}).value_or(-1), 8);
  if (!charge)
    return charge.takeError();
  Integers result{{rows, count}, std::vector<int64_t>(rows * count), *charge};
  for (int64_t row = 0; row < rows; ++row) {
    int64_t from = positions ? std::clamp<int64_t>(positions->data[row] / block, 0, mask.shape[0] - 1) : row;
    for (int64_t i = 0; i < count; ++i)
      result.data[row * count + i] = mask.data[from * count + i] > 0;
  }
  return std::move(result);
}
