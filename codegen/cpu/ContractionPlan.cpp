#include "codegen/cpu/ContractionPlan.h"
#include "ir/ActivationLayout.h"

namespace heddle::cpu {

/// Without vpdpbusd, panels of 8-bit codes and tiles of two planes take half the operations on s16: codes
/// less their zero point times whole activations, in vpmaddwd.
static bool wideCodes(const CpuLevel &level, const BlockScheme &scheme, int planes) {
  return !level.vnni && (planes == 2 || scheme.lowBits + scheme.highBits == 8);
}

static Tiling tilingFor(const CpuLevel &level, const ContractionSpec &spec) {
  if (level.lanes == 16) // two planes need two integer sums a cell
    return {spec.planes == 2 ? 2 : 3, 4, 4, 16, {4, 2, 1}, {6, 4, 2, 1}};
  // 16 registers: an f32 sum per cell and what its integer sum takes, beside weights, a broadcast and a
  // temporary.
  int sums = 1, budget = 12;
  for (StorageFormat format : spec.weights) {
    const auto &scheme = formatInfo(format).scheme;
    if (!scheme || wideCodes(level, *scheme, spec.planes))
      continue;
    if (!level.vnni)
      budget = 10; // products need a register before they are added
    const bool flushed = !level.vnni && scheme->lowBits + scheme->highBits > 4; // s16 sums and the i32 one
    sums = std::max(sums, level.vnni ? spec.planes : flushed ? 2 : 1);
  }
  const int rows = std::max(1, budget / (1 + sums) / 2);
  return {rows, rows, 2, 8, {2, 1}, {6, 4, 2, 1}};
}

ContractionPlan::ContractionPlan(const CpuLevel &level, const ContractionSpec &spec)
    : tiling(tilingFor(level, spec)) {
  vectorsPerProduct = std::max<int>(1, tiling.vectors / int(spec.weights.size()));
  unitColumns = int64_t(vectorsPerProduct) * level.lanes;
  for (StorageFormat format : spec.weights)
    addProduct(spec, format);
  if (spec.planes == 0)
    return;
  auto align = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
  correctionStride = align(correctionStride);
  scratchBytes = correctionStride * spec.maxRows;
  auto take = [&](int64_t bytes) {
    int64_t offset = scratchBytes;
    scratchBytes += align(bytes);
    return offset;
  };
  if (spec.maxRows < tiling.panelFrom)
    return;
  wideStride = align(spec.columns * 2);
  for (size_t p = 0; p < products.size(); ++p)
    if (p > 0 && products[p].format == products[0].format)
      panels[0].products.push_back(p);
    else
      panels.push_back({{p}, wideCodes(level, products[p].layout.scheme, spec.planes), 0, 0, 0});
  for (Panel &panel : panels) {
    const BlockScheme &scheme = products[panel.products[0]].layout.scheme;
    const int64_t cells = spec.columns * unitColumns * int64_t(panel.products.size());
    panel.codes = take(panel.wide ? cells * 2 : cells);
    panel.scales = take(cells / scheme.sub * 4);
    panel.minimums = scheme.hasMin ? take(cells / scheme.sub * 4) : 0;
    if (panel.wide && !wideRows)
      wideRows = take(wideStride * spec.maxRows);
  }
}

void ContractionPlan::addProduct(const ContractionSpec &spec, StorageFormat format) {
  Product product{format, {}, int64_t(packedGroupBytes(format, spec.columns))};
  if (formatInfo(format).scheme) {
    product.layout.scheme = schemeOf(format, spec.columns);
    const BlockScheme *scheme = &product.layout.scheme;
    if (scheme->hasMin && scheme->sub == 16) {
      product.correction = Correction::Sum;
      product.inActivation = true;
      product.correctionOffset = ActivationLayout{spec.columns, spec.planes}.sum();
    } else if (scheme->hasMin || scheme->zero != 0) {
      product.correction = scheme->hasMin ? Correction::Sum : Correction::Start;
      const Product *same = nullptr;
      for (const Product &other : products)
        if (other.correction == product.correction && !other.inActivation &&
            other.layout.scheme.sub == scheme->sub && other.layout.scheme.zero == scheme->zero)
          same = &other;
      product.correctionOffset = same ? same->correctionOffset : correctionStride;
      if (!same)
        correctionStride += spec.columns / scheme->sub * 4;
    }
  }
  products.push_back(product);
}

} // namespace heddle::cpu
