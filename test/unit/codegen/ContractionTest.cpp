// Contractions of every format, activation, way and CPU level against a plain C++ loop, bit for bit.
#include "codegen/cpu/Contraction.h"
#include "ir/Bfloat16.h"
#include "ir/interpreter/Tolerance.h"
#include "test/unit/codegen/ContractionReference.h"
#include "test/unit/codegen/LoadedImage.h"
#include <catch2/catch.hpp>

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::cpu::testing;

namespace {

template <typename T> void fill(GuardedBuffer<T> &buffer, const std::vector<T> &from) {
  memcpy(buffer.data(), from.data(), from.size() * sizeof(T));
}

bool sameBits(float a, float b) { return memcmp(&a, &b, 4) == 0; }

/// A compiled contraction with its weights, run over any number of input rows.
class Case {
public:
  Case(const CpuLevel &level, ContractionSpec given, uint32_t seed) : spec(std::move(given)), random(seed) {
    REQUIRE(checkContraction(spec) == "");
    mlir::MLIRContext context;
    loadKernelDialects(context);
    auto module = mlir::OwningOpRef<mlir::ModuleOp>(mlir::ModuleOp::create(mlir::UnknownLoc::get(&context)));
    buildContraction(*module, level, spec);
    image = std::make_unique<LoadedImage>(*module, level, std::vector<std::string>{spec.symbol});
    for (StorageFormat format : spec.weights) {
      stored.emplace_back(format, spec.rows, spec.columns, random);
      auto packed = stored.back().packed();
      buffers.push_back(std::make_unique<GuardedBuffer<uint8_t>>(packed.size()));
      fill(*buffers.back(), packed);
    }
    launch = contractionLaunch(spec);
    scratch = std::make_unique<GuardedBuffer<uint8_t>>(std::max<uint64_t>(launch.scratchBytes, 1));
  }

  /// Runs `m` rows, the items cut at `cuts`, and compares with the reference. `extra` are epilogue operands.
  void check(int64_t m, std::vector<int64_t> cuts,
             const std::function<float(int64_t row, int64_t column, const std::vector<float> &)> &finish = {},
             std::vector<void *> extra = {}, std::vector<float> before = {}) {
    INFO("rows " << m);
    const ActivationLayout layout{spec.columns, spec.planes};
    std::vector<float> x = randomActivations(m, spec.columns, random);
    GuardedBuffer<float> dense(spec.planes ? 1 : m * spec.columns), out(m * spec.rows);
    GuardedBuffer<uint8_t> quantized(spec.planes ? m * layout.stride() : 1);
    if (!before.empty())
      std::copy_n(before.begin(), m * spec.rows, out.data());
    if (spec.planes)
      for (int64_t row = 0; row < m; ++row)
        quantizeRow(&x[row * spec.columns], layout, quantized.data() + row * layout.stride());
    else
      fill(dense, x);
    std::vector<void *> operands = {out.data(), spec.planes ? (void *)quantized.data() : dense.data()};
    for (auto &buffer : buffers)
      operands.push_back(buffer->data());
    for (void *operand : extra)
      operands.push_back(operand ? operand : out.data());
    int64_t dims[HEDDLE_DIM_COUNT] = {};
    dims[spec.rowDimension] = m;
    memset(scratch->data(), 0xff, launch.scratchBytes);
    cuts.insert(cuts.begin(), 0);
    cuts.push_back(launch.items);
    for (size_t i = 0; i + 1 < cuts.size(); ++i)
      image->function(0)(operands.data(), dims, scratch->data(), cuts[i], cuts[i + 1]);
    int wrong = 0;
    for (int64_t row = 0; row < m; ++row)
      for (int64_t column = 0; column < spec.rows; ++column) {
        std::vector<float> sums;
        for (const StoredMatrix &w : stored)
          sums.push_back(spec.planes
                             ? referenceQuantized(w, column, quantized.data() + row * layout.stride(), layout)
                             : referenceDense(w, column, &x[row * spec.columns]));
        float expected = finish ? finish(row, column, sums) : sums[0], found = out[row * spec.rows + column];
        if (!sameBits(expected, found) && ++wrong <= 3)
          UNSCOPED_INFO("[" << row << "][" << column << "]: expected " << expected << ", found " << found);
      }
    CHECK(wrong == 0);
  }

  ContractionSpec spec;
  std::mt19937 random;
  std::vector<StoredMatrix> stored;
  std::vector<std::unique_ptr<GuardedBuffer<uint8_t>>> buffers;
  std::unique_ptr<LoadedImage> image;
  std::unique_ptr<GuardedBuffer<uint8_t>> scratch;
  ContractionLaunch launch;
};

std::vector<StorageFormat> formats(bool block) {
  std::vector<StorageFormat> result;
  for (int i = 0; i < kStorageFormatCount; ++i)
    if (formatInfo(StorageFormat(i)).scheme.has_value() == block)
      result.push_back(StorageFormat(i));
  return result;
}

} // namespace

TEST_CASE("block formats equal the reference bit for bit on every way and level", "[blocks]") {
  for (const CpuLevel &level : cpuLevels()) {
    if (!hostHas(level)) {
      WARN("skipped: this host cannot run '" << std::string(level.name) << "'");
      continue;
    }
    for (StorageFormat format : formats(true))
      for (int planes : {1, 2}) {
        INFO(std::string(level.name) << " " << std::string(formatInfo(format).name) << " planes " << planes);
        const int block = formatInfo(format).blockElements;
        int64_t columns = block == 32 ? 288 : 2 * block;
        Case test(level, {"contraction", 128, columns, {format}, planes, HEDDLE_DIM_ROWS, 64}, 7 + planes);
        for (int64_t m : {1, 2, 3, 7, 35})
          test.check(m, {1});
      }
  }
}

TEST_CASE("dense formats equal the reference bit for bit on every way and level", "[dense]") {
  for (const CpuLevel &level : cpuLevels()) {
    if (!hostHas(level))
      continue;
    for (StorageFormat format : formats(false))
      for (int64_t columns : {96, 27, 256}) {
        if (columns % formatInfo(format).blockElements)
          continue;
        INFO(std::string(level.name) << " " << std::string(formatInfo(format).name) << " columns "
                                     << columns);
        Case test(level, {"contraction", 96, columns, {format}, 0, HEDDLE_DIM_WANTED, 64}, 11);
        for (int64_t m : {1, 2, 5, 13})
          test.check(m, {1});
      }
  }
}

/// Each product of two bf16 numbers is exact; only the order of a row's additions is the machine's.
TEST_CASE("tiles multiply what bf16 leaves of activations and weights", "[tiles]") {
  for (const CpuLevel &level : cpuLevels()) {
    if (!level.tiles)
      continue;
    if (!hostHas(level)) {
      WARN("skipped: this host cannot run '" << std::string(level.name) << "'");
      continue;
    }
    for (StorageFormat format : formats(true)) {
      INFO(std::string(formatInfo(format).name));
      const int64_t columns = 288 % formatInfo(format).blockElements ? 512 : 288, width = 75;
      ContractionSpec spec{"tiled", width, columns, {format}, 0, HEDDLE_DIM_ROWS, 96};
      spec.tiles = true;
      Case test(level, spec, 3);
      const ActivationLayout layout{columns, 0};
      for (int64_t m : {32, 33, 75, 96}) {
        INFO("rows " << m);
        std::vector<float> x = randomActivations(m, columns, test.random);
        GuardedBuffer<uint16_t> input(m * layout.stride() / 2);
        for (size_t i = 0; i < x.size(); ++i) {
          input[i / columns * layout.stride() / 2 + i % columns] = bfloat16Bits(x[i]);
          x[i] = roundToBfloat16(x[i]);
        }
        GuardedBuffer<float> out(m * width);
        void *operands[] = {out.data(), input.data(), test.buffers[0]->data()};
        int64_t dims[HEDDLE_DIM_COUNT] = {m};
        memset(test.scratch->data(), 0xff, test.launch.scratchBytes);
        for (auto [begin, end] : {std::pair<int64_t, int64_t>{0, 3}, {3, 5}})
          test.image->function(0)(operands, dims, test.scratch->data(), begin, end);
        int wrong = 0;
        for (int64_t r = 0; r < width; ++r) {
          std::vector<float> w(columns);
          decode(format, {test.stored[0].row(r), test.stored[0].rowBytes()}, w);
          for (int64_t row = 0; row < m; ++row) {
            double sum = 0, magnitude = 0;
            for (int64_t k = 0; k < columns; ++k) {
              double product = double(x[row * columns + k]) * roundToBfloat16(w[k]);
              sum += product;
              magnitude += std::abs(product);
            }
            if (!agrees(out[row * width + r], sum, kToleranceFactor * kF32Epsilon * magnitude) &&
                ++wrong <= 3)
              UNSCOPED_INFO("[" << row << "][" << r << "]: expected " << sum << ", found "
                                << out[row * width + r]);
          }
        }
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("two matrices of one or two formats share input and epilogue; odd widths are masked", "[pairs]") {
  for (const CpuLevel &level : cpuLevels()) {
    if (!hostHas(level))
      continue;
    INFO(std::string(level.name));
    for (auto [planes, first, second] : {std::tuple(0, StorageFormat::F32, StorageFormat::BF16),
                                         std::tuple(1, StorageFormat::Q4_1, StorageFormat::Q6_K),
                                         std::tuple(1, StorageFormat::Q5_0, StorageFormat::Q5_0)}) {
      INFO(std::string(formatInfo(first).name) << " " << std::string(formatInfo(second).name));
      ContractionSpec spec{"pair", 75, 256, {first, second}, planes, HEDDLE_DIM_ROWS, 64};
      spec.epilogueOperands = 2; // bias, residual (the output itself)
      spec.epilogue = [](EpilogueContext &context, ValueRange sums) {
        Emitter &e = context.e;
        Value product = e.mulF(sums[0], e.addF(sums[1], context.loadF32(context.operands[0], 0)));
        return e.addF(context.loadF32(context.operands[1], 75), product);
      };
      Case test(level, spec, 5);
      GuardedBuffer<float> bias(75);
      for (int i = 0; i < 75; ++i)
        bias[i] = float(i) - 20;
      for (int64_t m : {1, 6, 41}) {
        std::vector<float> before = randomActivations(m, 75, test.random);
        test.check(
            m, {2},
            [&](int64_t row, int64_t column, const std::vector<float> &sums) {
              volatile float shifted = sums[1] + bias[column], product = sums[0] * shifted;
              return before[row * 75 + column] + product;
            },
            {bias.data(), nullptr}, before);
      }
    }
  }
}

TEST_CASE("contractions that cannot be made say why", "[check]") {
  CHECK(checkContraction({"c", 0, 64, {StorageFormat::F16}, 0, 0, 8}) == "expected positive sizes");
  CHECK(checkContraction({"c", 16, 0, {StorageFormat::F16}, 0, 0, 8}) == "expected positive sizes");
  CHECK(checkContraction({"c", 16, 48, {StorageFormat::Q4_0}, 1, 0, 8}) ==
        "expected rows of whole blocks of 32 for 'q4_0', but found 48 columns");
  CHECK(checkContraction({"c", 16, 64, {StorageFormat::Q4_0}, 0, 0, 8}) ==
        "expected a dense format with f32 activations, but found 'q4_0'");
  CHECK(checkContraction({"c", 16, 64, {StorageFormat::F16}, 1, 0, 8}) ==
        "expected a block format with quantized activations, but found 'f16'");
  CHECK(checkContraction({"c", 16, 64, {StorageFormat::Q4_0, StorageFormat::Q4_0}, 1, 0, 8}) ==
        "expected an epilogue that joins two weight matrices");
}
