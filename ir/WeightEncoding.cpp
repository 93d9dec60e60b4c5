#include "ir/WeightEncoding.h"
#include "ir/Vectorized.h"
#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>

namespace heddle {
namespace {

using enum StorageFormat;

constexpr WeightScheme kSchemes[] = {
    {"int4-channel", I4},
    {"int4-channel-asymmetric", I4_MIN},
    {"int4-g128", I4_128},
    {"int4-g128-asymmetric", I4_MIN_128},
    {"int4", Q4_0},
    {"int4-asymmetric", Q4_1},
    {"int5", Q5_0},
    {"int5-asymmetric", Q5_1},
    {"int8-tensor", I8, ScaleSharing::Tensor},
    {"int8", I8},
    {"int8-asymmetric", I8_MIN},
    {"int8-g32", Q8_0},
    {"fp8-tensor", F8E4M3, ScaleSharing::Tensor},
    {"fp8", F8E4M3},
    {"fp8-block", F8E4M3_128, ScaleSharing::Tile},
    {"fp8-e5m2", F8E5M2},
    {"bf16", BF16},
    {"f16", F16},
};

/// The values of codes 0 to 126 (e4m3) or 123 (e5m2), ascending: what is finite and not negative.
struct F8Values {
  std::array<float, 127> values;
  int count;

  explicit F8Values(StorageFormat format) : count(format == F8E5M2 ? 124 : 127) {
    for (int code = 0; code < count; ++code)
      values[code] = decodeF8(format, static_cast<uint8_t>(code));
  }
  float largest() const { return values[count - 1]; }

  /// The nearest, of two that are equally near the even code; too large ones saturate.
  uint8_t nearest(float magnitude) const {
    auto above = std::lower_bound(values.begin(), values.begin() + count, magnitude);
    if (above == values.begin() + count)
      return static_cast<uint8_t>(count - 1);
    int code = static_cast<int>(above - values.begin());
    if (code == 0)
      return 0;
    float up = *above - magnitude, down = magnitude - values[code - 1];
    return static_cast<uint8_t>(up < down || (up == down && code % 2 == 0) ? code : code - 1);
  }
};

const F8Values &f8Values(StorageFormat format) {
  static const F8Values e4m3(F8E4M3), e5m2(F8E5M2);
  return format == F8E5M2 ? e5m2 : e4m3;
}

void store16(uint8_t *to, uint16_t value) { std::memcpy(to, &value, 2); }

/// The reverse of what decoding does to 16-bit formats.
void encodeDense16(StorageFormat format, std::span<const float> values, uint8_t *stored) {
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits;
    std::memcpy(&bits, &values[i], 4);
    bool isNan = (bits & 0x7fffffff) > 0x7f800000;
    uint32_t bf16 = isNan ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    store16(stored + 2 * i, format == F16 ? floatToHalf(values[i]) : static_cast<uint16_t>(bf16));
  }
}

/// Where the bytes of a scale and minimum stand: in front of its group, or of the row.
void storeGrid(StorageFormat format, const Grid &grid, uint8_t *to) {
  const FormatInfo &info = formatInfo(format);
  if (!info.scheme) {
    std::memcpy(to, &grid.scale, 4);
    return;
  }
  store16(to, floatToHalf(grid.scale));
  if (!info.scheme->hasMin)
    return;
  // GGUF's formats add their m, ours subtract M.
  bool adds = info.ggufType != FormatInfo::kNoGgufType;
  store16(to + 2, floatToHalf(adds ? -grid.minimum : grid.minimum));
}

void joinNibbles(const uint8_t *code, uint8_t *bytes) {
  for (int j = 0; j < 16; ++j)
    bytes[j] = static_cast<uint8_t>((code[j] & 15) | code[j + 16] << 4);
}

/// The codes of one block behind its scale, in the file's order.
void storeCodes(StorageFormat format, const uint8_t *code, uint8_t *to) {
  switch (format) {
  case Q5_0:
  case Q5_1: {
    uint32_t high = 0;
    for (int j = 0; j < 32; ++j)
      high |= static_cast<uint32_t>(code[j] >> 4 & 1) << j;
    std::memcpy(to, &high, 4);
    return joinNibbles(code, to + 4);
  }
  case Q8_0:
    for (int j = 0; j < 32; ++j)
      to[j] = code[j] ^ 0x80;
    return;
  case I8:
  case I8_MIN:
    std::memcpy(to, code, 32);
    return;
  default:
    for (int run = 0; run < formatInfo(format).blockElements / 32; ++run)
      joinNibbles(code + run * 32, to + run * 16);
  }
}

int gridBytes(StorageFormat format) {
  const FormatInfo &info = formatInfo(format);
  return !info.scheme || info.scheme->hasMin ? 4 : 2;
}

} // namespace

static std::vector<WeightScheme> &knownSchemes() {
  static std::vector<WeightScheme> schemes(std::begin(kSchemes), std::end(kSchemes));
  return schemes;
}

std::span<const WeightScheme> weightSchemes() { return knownSchemes(); }

const WeightScheme *weightSchemeByName(std::string_view name) {
  for (const WeightScheme &scheme : knownSchemes())
    if (scheme.name == name)
      return &scheme;
  return nullptr;
}

bool registerWeightScheme(const WeightScheme &scheme) {
  if (weightSchemeByName(scheme.name))
    return false;
  knownSchemes().push_back(scheme);
  return true;
}

// Codes
// -------------------------------------------------------------------------------------------------------------

Coder::Coder(StorageFormat format) : format(format) {
  const FormatInfo &info = formatInfo(format);
  isF8 = !info.scheme;
  hasMin = info.scheme && info.scheme->hasMin;
  assert((!isF8 || denseBytes(format) == 1) && (isF8 || !info.scheme->subScales) &&
         "not a target of encoding");
  if (isF8)
    return;
  zero = hasMin ? 0 : info.scheme->zero;
  most = (1 << (info.scheme->lowBits + info.scheme->highBits)) - 1;
  least = most == 255 && !hasMin ? 1 : 0; // symmetric bytes: -127 .. 127
}

Grid Coder::rounded(float scale, float minimum) const {
  // Finite whatever the weights are; a weight that is then out of reach saturates.
  if (!std::isfinite(scale) || !std::isfinite(minimum))
    scale = minimum = 0;
  if (isF8)
    return {scale, 0};
  auto half = [](float x) { return halfToFloat(floatToHalf(std::clamp(x, -65504.0f, 65504.0f))); };
  return {half(scale), half(minimum)};
}

Grid Coder::gridFor(float smallest, float largest) const {
  if (isF8)
    return rounded(std::max(-smallest, largest) / f8Values(format).largest(), 0);
  if (hasMin) {
    smallest = std::min(smallest, 0.0f); // zero stays a weight
    return rounded((std::max(largest, 0.0f) - smallest) / static_cast<float>(most), -smallest);
  }
  // The side with one code more takes the larger extreme; then the scale may be negative.
  float below = static_cast<float>(zero - least), extreme = largest > -smallest ? largest : smallest;
  return rounded(below == static_cast<float>(most - zero) ? std::abs(extreme) / below : -extreme / below, 0);
}

uint8_t Coder::encode(const Grid &grid, float value) const {
  if (grid.scale == 0 || std::isnan(value))
    return static_cast<uint8_t>(zero);
  if (isF8) {
    uint8_t sign = std::signbit(value / grid.scale) ? 0x80 : 0;
    return sign | f8Values(format).nearest(std::abs(value / grid.scale));
  }
  float steps = std::nearbyint(hasMin ? (value + grid.minimum) / grid.scale : value / grid.scale);
  return static_cast<uint8_t>(
      std::clamp(steps, static_cast<float>(least - zero), static_cast<float>(most - zero)) +
      static_cast<float>(zero));
}

float Coder::decode(const Grid &grid, uint8_t code) const {
  if (isF8)
    return grid.scale * decodeF8(format, code);
  float product = grid.scale * static_cast<float>(code - zero);
  return hasMin ? product - grid.minimum : product;
}

/// What fits of integer grids add up over the elements of a group: of a grid's codes q and the values x.
struct FitSums {
  double error, w, wq, wqq, wx, wqx;
};

namespace {
struct CodeRange {
  float least, most; // codes less the zero
};

/// The nearest code: within +-2^22 this addition rounds half to even.
inline float nearestStep(float value, const Grid &grid, CodeRange range) {
  constexpr float roundsHere = 12582912;
  float steps = (value + grid.minimum) / grid.scale;
  steps = steps > range.least ? steps : range.least;
  steps = steps < range.most ? steps : range.most;
  return (steps + roundsHere) - roundsHere;
}

/// In eight lanes, whatever the processor has.
template <bool isWeighted>
[[gnu::always_inline]] inline FitSums addUp(const Grid &grid, CodeRange range, const float *values,
                                            const float *importance, size_t count) {
  constexpr size_t lanes = 8;
  double error[lanes] = {}, w[lanes] = {}, wq[lanes] = {}, wqq[lanes] = {}, wx[lanes] = {}, wqx[lanes] = {};
  auto add = [&](size_t lane, size_t i) __attribute__((always_inline)) {
    const double weight = isWeighted ? importance[i] : 1, x = values[i];
    const float step = nearestStep(values[i], grid, range);
    const double q = step, difference = values[i] - (grid.scale * step - grid.minimum);
    error[lane] += weight * (difference * difference);
    w[lane] += weight;
    wq[lane] += weight * q;
    wqq[lane] += weight * (q * q);
    wx[lane] += weight * x;
    wqx[lane] += weight * (q * x);
  };
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (size_t lane = 0; lane < lanes; ++lane)
      add(lane, i + lane);
  for (size_t lane = 0; i < count; ++i, ++lane)
    add(lane, i);
  FitSums sums{};
  for (size_t lane = 0; lane < lanes; ++lane) {
    sums.error += error[lane];
    sums.w += w[lane];
    sums.wq += wq[lane];
    sums.wqq += wqq[lane];
    sums.wx += wx[lane];
    sums.wqx += wqx[lane];
  }
  return sums;
}

HEDDLE_VECTORIZED FitSums fitSums(const Grid &grid, CodeRange range, const float *values,
                                  const float *importance, size_t count) {
  return importance ? addUp<true>(grid, range, values, importance, count)
                    : addUp<false>(grid, range, values, nullptr, count);
}
} // namespace

/// The grid that fits the codes of `sums` best: least squares. `grid` is theirs.
Grid Coder::refit(const Grid &grid, const FitSums &sums) const {
  if (!hasMin)
    return sums.wqq > 0 ? rounded(static_cast<float>(sums.wqx / sums.wqq), 0) : grid;
  const double determinant = sums.w * sums.wqq - sums.wq * sums.wq;
  if (!(determinant > 0))
    return grid;
  return rounded(static_cast<float>((sums.w * sums.wqx - sums.wq * sums.wx) / determinant),
                 static_cast<float>(-(sums.wqq * sums.wx - sums.wq * sums.wqx) / determinant));
}

Grid Coder::fit(std::span<const float> values, std::span<const float> importance, ScaleFit how) const {
  auto [least, most] = std::minmax_element(values.begin(), values.end());
  Grid best = gridFor(*least, *most);
  if (how == ScaleFit::Range || isF8 || best.scale == 0)
    return best;
  const CodeRange range{static_cast<float>(this->least - zero), static_cast<float>(this->most - zero)};
  auto sumsOf = [&](const Grid &grid) {
    return fitSums(grid, range, values.data(), importance.empty() ? nullptr : importance.data(),
                   values.size());
  };
  FitSums bestSums = sumsOf(best);
  auto consider = [&](const Grid &grid) {
    if (grid.scale == 0)
      return;
    FitSums sums = sumsOf(grid);
    if (sums.error < bestSums.error) {
      bestSums = sums;
      best = grid;
    }
  };
  auto considerAround = [&](const Grid &grid) {
    if (grid.scale != 0)
      consider(refit(grid, sumsOf(grid)));
  };
  for (int step = 0; step < 10; ++step) {
    float shrink = 1.05f - 0.05f * static_cast<float>(step);
    Grid grid = gridFor(*least * shrink, *most * shrink);
    considerAround(grid);
    if (!hasMin && this->least == 0) { // the other extreme gets the code more
      grid.scale = -grid.scale;
      considerAround(grid);
    }
  }
  consider(refit(best, bestSums));
  return best;
}

// Rows
// --------------------------------------------------------------------------------------------------------------

int64_t gridSpan(StorageFormat format, int64_t columns) {
  const FormatInfo &info = formatInfo(format);
  return info.scheme ? schemeOf(format, columns).super : denseScaleSpan(format, columns);
}

void storeRow(StorageFormat format, std::span<const uint8_t> codes, std::span<const Grid> grids,
              std::span<uint8_t> stored) {
  const FormatInfo &info = formatInfo(format);
  assert(stored.size() == storedBytes(format, codes.size()));
  uint8_t *to = stored.data();
  if (info.rowBytes) {
    storeGrid(format, grids[0], to);
    to += info.rowBytes;
  }
  for (size_t block = 0; block < codes.size() / info.blockElements; ++block, to += info.blockBytes) {
    const uint8_t *code = codes.data() + block * info.blockElements;
    int header = 0;
    if (!info.rowBytes) {
      storeGrid(format, grids[block], to);
      header = gridBytes(format);
    }
    if (info.scheme)
      storeCodes(format, code, to + header);
    else
      std::memcpy(to + header, code, info.blockElements);
  }
}

WeightEncoder::WeightEncoder(const WeightScheme &scheme, int64_t columns, ScaleFit how)
    : scheme(scheme), columns(columns), how(how) {}

void WeightEncoder::look(int64_t row, std::span<const float> values) {
  const int64_t span = scheme.sharing == ScaleSharing::Tile ? kTileSide : columns;
  const int64_t perRow = columns / span;
  const size_t first = scheme.sharing == ScaleSharing::Tile ? row / kTileSide * perRow : 0;
  ranges.resize(std::max(ranges.size(), first + perRow));
  for (int64_t at = 0; at < columns; ++at) {
    Range &range = ranges[first + at / span];
    range.least = std::min(range.least, values[at]);
    range.most = std::max(range.most, values[at]);
  }
}

std::vector<Grid> WeightEncoder::grids(int64_t row, std::span<const float> values) const {
  Coder coder(scheme.format);
  const int64_t span = gridSpan(scheme.format, columns), count = columns / span;
  std::vector<Grid> grids(count);
  for (int64_t g = 0; g < count; ++g) {
    if (scheme.sharing == ScaleSharing::Group) {
      auto group = values.subspan(g * span, span);
      grids[g] = scheme.grid ? scheme.grid(coder, group) : coder.fit(group, {}, how);
      continue;
    }
    const Range &range = ranges[scheme.sharing == ScaleSharing::Tile ? row / kTileSide * count + g : 0];
    grids[g] = coder.gridFor(range.least, range.most);
  }
  return grids;
}

void WeightEncoder::encode(int64_t row, std::span<const float> values, std::span<uint8_t> stored) const {
  const FormatInfo &info = formatInfo(scheme.format);
  if (!info.scheme && denseBytes(scheme.format) == 2)
    return encodeDense16(scheme.format, values, stored.data());
  Coder coder(scheme.format);
  std::vector<Grid> grids = this->grids(row, values);
  const int64_t span = gridSpan(scheme.format, columns);
  std::vector<uint8_t> codes(columns);
  for (int64_t k = 0; k < columns; ++k)
    codes[k] = coder.encode(grids[k / span], values[k]);
  storeRow(scheme.format, codes, grids, stored);
}

} // namespace heddle
