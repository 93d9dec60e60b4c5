// Norms. An integer has 32 bits, so a row is scaled by its largest number before its squares are added up;
// where that is below one half, by one half.
#include "codegen/npu/RowsBuilder.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::npu {

static constexpr int kScaled = 20; // fraction bits of x / largest
static constexpr int kWeight = 20; // of weights

/// A positive number as an integer times 2^-shift, with the most bits that fit.
static std::pair<int32_t, int> asFixed(double x) {
  if (x <= 0)
    return {0, 0};
  int exponent = 0;
  std::frexp(x, &exponent);
  int shift = std::clamp(30 - exponent, 0, 62);
  return {int32_t(std::min(std::round(std::ldexp(x, shift)), 2147483647.0)), shift};
}

void RowsBuilder::normalize(Value input, Tile dst, Tile x, std::optional<Value> weight, double epsilon,
                            bool isLength) {
  const int64_t width = shapeOf(input.getType()).back(), heads = rowColumns(input.getType()) / width;
  int mark = e.registerMark();
  Extent all = innermost(input), each{1, all.rows}; // numbers of rows lie together
  x.stride = dst.stride = width * 4;
  Tile factor{take(rowTile * heads * 4), 4, S32}, sum{take(rowTile * heads * 4), 4, S32};
  const int sumBits = std::min(18, (30 - int(llvm::Log2_64_Ceil(uint64_t(width)))) / 2 * 2);
  // factor = 2^46 / largest (its own 16 bits make it 2^30 / largest), x / largest
  e.reduce(Reduce::AbsMax, factor, x, all);
  e.binaryScalar(Binary::Max, factor, factor, 1 << 15, each);
  e.fill(sum, each, 1 << 30);
  e.binary(Binary::Div, factor, sum, factor, each, 16);
  e.binaryByRow(Binary::Mul, dst, x, factor, all, 46 - kScaled);
  e.reduce(Reduce::SumSquares, sum, dst, all, 2 * kScaled - sumBits);
  // epsilon joins in the same units: epsilon * width / largest^2. factor^2 / 2^31 = 2^29 / largest^2
  double scaled = isLength ? epsilon * epsilon : epsilon * double(width);
  if (auto [number, shift] = asFixed(std::ldexp(scaled, sumBits - 29)); number != 0) {
    e.binary(Binary::Mul, factor, factor, factor, each, 31);
    e.binaryScalar(Binary::Mul, factor, factor, number, each, shift);
    e.binary(isLength ? Binary::Max : Binary::Add, sum, sum, factor, each);
  }
  e.binaryScalar(Binary::Max, sum, sum, 1, each);
  e.function(npu::Function::Rsqrt, factor, sum, each);    // 2^(30 - sumBits / 2) / sqrt(sum)
  const int factorBits = 30 - sumBits / 2, unitBits = 22; // of x / sqrt(sum), which is at most 1
  e.binaryByRow(Binary::Mul, dst, dst, factor, all, kScaled + factorBits - unitBits);
  double gain = isLength ? 1 : std::sqrt(double(width));
  if (weight) {
    Tile row{take(width * 4), 0, S32};
    auto [number, shift] = asFixed(gain);
    e.binaryScalar(Binary::Mul, row, parameter(*weight, kWeight), number, {1, width}, shift);
    e.binary(Binary::Mul, dst, dst, row, all, unitBits + kWeight - kFraction);
    give(row.at.number, width * 4);
  } else {
    emitScale(e, std::ldexp(gain, kFraction - unitBits), dst, dst, all);
  }
  give(factor.at.number, rowTile * heads * 4);
  give(sum.at.number, rowTile * heads * 4);
  e.releaseRegisters(mark);
}

llvm::Error RowsBuilder::rmsNorm(RmsNormOp op) {
  Tile x = tileOf(op.getInput());
  normalize(op.getInput(), resultTile(*op), x, op.getWeight(), op.getEpsilon().convertToDouble(), false);
  return llvm::Error::success();
}

llvm::Error RowsBuilder::layerNorm(LayerNormOp op) {
  Value input = op.getInput();
  const int64_t width = shapeOf(input.getType()).back(), heads = rowColumns(input.getType()) / width;
  Tile x = tileOf(input), dst = resultTile(*op), mean{take(rowTile * heads * 4), 4, S32};
  int mark = e.registerMark();
  Extent all = innermost(input);
  Tile from = x, to = dst;
  from.stride = to.stride = width * 4;
  // The sum has few bits less than the numbers and is divided by the width at once.
  const int lost = std::max(0, int(llvm::Log2_64_Ceil(uint64_t(width))) - 3);
  e.reduce(Reduce::Sum, mean, from, all, lost);
  emitScale(e, std::ldexp(1.0, lost) / double(width), mean, mean, {1, all.rows});
  e.binaryByRow(Binary::Sub, to, from, mean, all);
  give(mean.at.number, rowTile * heads * 4);
  normalize(input, dst, dst, op.getWeight(), op.getEpsilon().convertToDouble(), false);
  e.binary(Binary::Add, to, to, parameter(op.getBias(), kFraction), all);
  e.releaseRegisters(mark);
  return llvm::Error::success();
}

llvm::Error RowsBuilder::l2Normalize(L2NormalizeOp op) {
  Tile x = tileOf(op.getInput());
  normalize(op.getInput(), resultTile(*op), x, std::nullopt, op.getEpsilon().convertToDouble(), true);
  return llvm::Error::success();
}

} // namespace heddle::npu
