// The rows generator against plain references.
#include "codegen/package/Pack.h"
#include "ir/ActivationLayout.h"
#include "test/unit/codegen_rows/KernelTest.h"
#include <cmath>

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::cpu::testing;

namespace {

struct QuantizedRow {
  std::vector<int8_t> high, low;
  std::vector<float> scale, sum;
  std::vector<int32_t> isum;
};

/// docs/kernel-abi.md, "Quantized activations".
QuantizedRow quantizeReference(const float *x, const ActivationLayout &layout) {
  QuantizedRow row;
  for (int64_t block = 0; block < layout.columns; block += 32) {
    float amax = 0;
    bool finite = true;
    for (int i = 0; i < 32; ++i) {
      finite &= std::isfinite(x[block + i]);
      amax = std::max(amax, std::fabs(x[block + i]));
    }
    bool keep = finite && amax != 0;
    float scale = keep ? amax / layout.limit() : 0;
    row.scale.push_back(scale);
    int32_t sums[2] = {};
    for (int i = 0; i < 32; ++i) {
      int q = keep ? int(std::nearbyintf(x[block + i] * (1 / scale))) : 0;
      sums[i / 16] += q;
      if (layout.planes == 1) {
        row.high.push_back(q);
        continue;
      }
      int low = int8_t(q & 255);
      row.low.push_back(low);
      row.high.push_back((q - low) / 256);
    }
    for (int32_t sum : sums) {
      row.isum.push_back(sum);
      row.sum.push_back(scale * float(sum));
    }
  }
  return row;
}

void checkQuantized(const float *x, const uint8_t *stored, const ActivationLayout &layout) {
  QuantizedRow row = quantizeReference(x, layout);
  CHECK(memcmp(stored, row.high.data(), layout.columns) == 0);
  if (layout.planes == 2)
    CHECK(memcmp(stored + layout.low(), row.low.data(), layout.columns) == 0);
  CHECK(memcmp(stored + layout.scale(), row.scale.data(), row.scale.size() * 4) == 0);
  CHECK(memcmp(stored + layout.sum(), row.sum.data(), row.sum.size() * 4) == 0);
  CHECK(memcmp(stored + layout.isum(), row.isum.data(), row.isum.size() * 4) == 0);
}

void checkClose(float found, double expected, double tolerance) {
  INFO(found << " " << expected);
  CHECK(std::fabs(found - expected) <= tolerance * (1 + std::fabs(expected)));
}

const char *kNormQuantize = R"(
heddle.kernel @k family <rows> target "cpu" {
^bb0(%x: tensor<?x$Cxf32>, %w: tensor<$Cxf32>):
  %0 = heddle.rms_norm %x, %w {epsilon = 2.000000e-03 : f32} : tensor<?x$Cxf32>, tensor<$Cxf32>
  %1 = heddle.quantize %0 : tensor<?x$Cxf32> -> !heddle.stored<?x$Cxf32, #heddle.enc<$Q>>
  heddle.yield %0, %1 : tensor<?x$Cxf32>, !heddle.stored<?x$Cxf32, #heddle.enc<$Q>>
})";
} // namespace

TEST_CASE("rms_norm and quantize") {
  for (int planes : {1, 2}) {
    for (int64_t columns : {32, 64, 576, 640}) {
      for (int64_t rows : {1, 40}) {
        ActivationLayout layout{columns, planes};
        std::string text = substitute(
            kNormQuantize, {{"C", std::to_string(columns)}, {"Q", planes == 1 ? "act_i8" : "act_i16"}});
        GuardedBuffer<float> first(rows * columns);
        bool haveFirst = false;
        forLevels([&](const CpuLevel &level) {
          TestKernel kernel(text, level);
          REQUIRE(kernel.error == "");
          GuardedBuffer<float> x(rows * columns), w(columns), y(rows * columns);
          GuardedBuffer<uint8_t> q(rows * layout.stride());
          fillRandom(x, columns);
          fillRandom(w, 2);
          kernel({x.data(), w.data(), y.data(), q.data()}, rows);
          for (int64_t r = 0; r < rows; ++r) {
            double squares = 0;
            for (int64_t c = 0; c < columns; ++c)
              squares += double(x[r * columns + c]) * x[r * columns + c];
            for (int64_t c = 0; c < columns; ++c)
              checkClose(y[r * columns + c],
                         x[r * columns + c] * double(w[c]) / std::sqrt(squares / columns + 2e-3), 4e-7);
            checkQuantized(&y[r * columns], &q[r * layout.stride()], layout);
          }
          if (haveFirst)
            CHECK(sameBits(first, y)); // levels agree
          std::copy(y.begin(), y.end(), first.begin());
          haveFirst = true;
        });
      }
    }
  }
}

TEST_CASE("quantize: zeros, infinities, NaN, ties and sizes") {
  const char *text = R"(
heddle.kernel @k family <rows> target "cpu" {
^bb0(%x: tensor<?x64xf32>):
  %1 = heddle.quantize %x : tensor<?x64xf32> -> !heddle.stored<?x64xf32, #heddle.enc<$Q>>
  %2 = heddle.dequantize %1 : !heddle.stored<?x64xf32, #heddle.enc<$Q>> -> tensor<?x64xf32>
  heddle.yield %1, %2 : !heddle.stored<?x64xf32, #heddle.enc<$Q>>, tensor<?x64xf32>
})";
  for (int planes : {1, 2}) {
    forLevels([&](const CpuLevel &level) {
      TestKernel kernel(substitute(text, {{"Q", planes == 1 ? "act_i8" : "act_i16"}}), level);
      REQUIRE(kernel.error == "");
      ActivationLayout layout{64, planes};
      const int rows = 7;
      GuardedBuffer<float> x(rows * 64), y(rows * 64);
      GuardedBuffer<uint8_t> q(rows * layout.stride());
      fillRandom(x, 3);
      for (int i = 0; i < 64; ++i) {
        x[i] = 0;
        x[2 * 64 + i] = i - 31.5f; // with amax 32.5 in the second block
        x[3 * 64 + i] *= 1e-30f;
        x[4 * 64 + i] *= 1e30f;
      }
      for (int i = 0; i < 32; ++i)
        x[5 * 64 + i] = i == 0 ? 127 : i - 15.5f; // halves: to even
      x[64 + 3] = INFINITY;
      x[64 + 40] = -NAN;
      x[6 * 64] = NAN;
      x[6 * 64 + 1] = -INFINITY;
      kernel({x.data(), q.data(), y.data()}, rows);
      for (int r = 0; r < rows; ++r) {
        checkQuantized(&x[r * 64], &q[r * layout.stride()], layout);
        QuantizedRow row = quantizeReference(&x[r * 64], layout);
        for (int c = 0; c < 64; ++c) {
          int code = planes == 1 ? row.high[c] : row.high[c] * 256 + row.low[c];
          CHECK(y[r * 64 + c] == float(code) * row.scale[c / 32]);
        }
      }
    });
  }
}

TEST_CASE("runs of elementwise ops around norms, with a tail of columns") {
  const char *text = R"(
heddle.kernel @k family <rows> target "cpu" {
^bb0(%a: tensor<?x$Cxf32>, %b: tensor<?x$Cxf32>, %w: tensor<$Cxf32>, %bias: tensor<$Cxf32>):
  %0 = heddle.binary <add> %a, %b : tensor<?x$Cxf32>
  %1 = heddle.layer_norm %0, %w, %bias : tensor<?x$Cxf32>, tensor<$Cxf32>, tensor<$Cxf32>
  %2 = heddle.unary <silu> %1 : tensor<?x$Cxf32>
  %3 = heddle.binary <mul> %2, %a : tensor<?x$Cxf32>
  %4 = heddle.scale %3 by 3.000000e+00 : tensor<?x$Cxf32>
  %5 = heddle.l2_normalize %4 : tensor<?x$Cxf32>
  heddle.yield %0, %4, %5, %0 : tensor<?x$Cxf32>, tensor<?x$Cxf32>, tensor<?x$Cxf32>, tensor<?x$Cxf32>
})";
  for (int64_t columns : {3, 16, 20, 72, 384}) {
    forWidths([&](const CpuLevel &level) {
      TestKernel kernel(substitute(text, {{"C", std::to_string(columns)}}), level);
      REQUIRE(kernel.error == "");
      const int64_t rows = 5, size = rows * columns;
      GuardedBuffer<float> a(size), b(size), w(columns), bias(columns), y0(size), y4(size), y5(size),
          again(size);
      fillRandom(a, 1);
      fillRandom(b, 2);
      fillRandom(w, 3);
      fillRandom(bias, 4);
      kernel({a.data(), b.data(), w.data(), bias.data(), y0.data(), y4.data(), y5.data(), again.data()},
             rows);
      CHECK(sameBits(y0, again));
      for (int64_t r = 0; r < rows; ++r) {
        double mean = 0, variance = 0, squares = 0;
        std::vector<double> y(columns);
        for (int64_t c = 0; c < columns; ++c) {
          CHECK(y0[r * columns + c] == a[r * columns + c] + b[r * columns + c]);
          mean += y0[r * columns + c] / columns;
        }
        for (int64_t c = 0; c < columns; ++c)
          variance += std::pow(y0[r * columns + c] - mean, 2) / columns;
        for (int64_t c = 0; c < columns; ++c) {
          double n = (y0[r * columns + c] - mean) / std::sqrt(variance + 1e-5) * w[c] + bias[c];
          y[c] = 3 * n / (1 + std::exp(-n)) * a[r * columns + c];
          squares += y[c] * y[c];
          checkClose(y4[r * columns + c], y[c], 2e-6);
        }
        for (int64_t c = 0; c < columns; ++c)
          checkClose(y5[r * columns + c], y[c] / std::max(std::sqrt(squares), 1e-12), 2e-6);
      }
    });
  }
}

TEST_CASE("all unary and binary kinds") {
  struct Unary {
    const char *name;
    double (*f)(double);
  };
  const Unary unaries[] = {
      {"silu", [](double x) { return x / (1 + std::exp(-x)); }},
      {"gelu_tanh",
       [](double x) { return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }},
      {"gelu_erf", [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }},
      {"tanh", [](double x) { return std::tanh(x); }},
      {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
      {"relu", [](double x) { return x > 0 ? x : 0; }},
      {"exp", [](double x) { return std::exp(x); }}};
  struct Binary {
    const char *name;
    float (*f)(float, float);
  };
  const Binary binaries[] = {{"add", [](float a, float b) { return a + b; }},
                             {"sub", [](float a, float b) { return a - b; }},
                             {"mul", [](float a, float b) { return a * b; }},
                             {"div", [](float a, float b) { return a / b; }},
                             {"max", [](float a, float b) { return a > b ? a : b; }},
                             {"min", [](float a, float b) { return a < b ? a : b; }}};
  const int64_t columns = 52;
  GuardedBuffer<float> x(columns), z(columns);
  fillRandom(x, 5, 3);
  fillRandom(z, 6);
  forWidths([&](const CpuLevel &level) {
    GuardedBuffer<float> y(columns);
    for (const Unary &unary : unaries) {
      INFO(unary.name);
      TestKernel kernel(substitute(R"(heddle.kernel @k family <rows> target "cpu" {
        ^bb0(%x: tensor<?x52xf32>):
          %0 = heddle.unary <$KIND> %x : tensor<?x52xf32>
          heddle.yield %0 : tensor<?x52xf32> })",
                                   {{"KIND", unary.name}}),
                        level);
      REQUIRE(kernel.error == "");
      kernel({x.data(), y.data()}, 1);
      for (int64_t c = 0; c < columns; ++c)
        checkClose(y[c], unary.f(x[c]), 1e-6);
    }
    for (const Binary &binary : binaries) {
      INFO(binary.name);
      TestKernel kernel(substitute(R"(heddle.kernel @k family <rows> target "cpu" {
        ^bb0(%x: tensor<?x52xf32>, %y: tensor<?x52xf32>):
          %0 = heddle.binary <$KIND> %x, %y : tensor<?x52xf32>
          heddle.yield %0 : tensor<?x52xf32> })",
                                   {{"KIND", binary.name}}),
                        level);
      REQUIRE(kernel.error == "");
      kernel({x.data(), z.data(), y.data()}, 1);
      for (int64_t c = 0; c < columns; ++c)
        CHECK(y[c] == binary.f(x[c], z[c]));
    }
  });
}

TEST_CASE("norms of heads, rope of both pairings, clamped positions") {
  const char *text = R"(
heddle.kernel @k family <rows> target "cpu" {
^bb0(%x: tensor<?x$Fxf32>, %w: tensor<$Dxf32>, %table: tensor<10x$Rxf32>, %p: tensor<?xi32>):
  %0 = heddle.reshape %x : tensor<?x$Fxf32> -> tensor<?x3x$Dxf32>
  %1 = heddle.rms_norm %0, %w : tensor<?x3x$Dxf32>, tensor<$Dxf32>
  %2 = heddle.rope <$PAIRING> %1, %table, %p : tensor<?x3x$Dxf32>, tensor<10x$Rxf32>, tensor<?xi32>
  heddle.yield %1, %2 : tensor<?x3x$Dxf32>, tensor<?x3x$Dxf32>
})";
  for (bool interleaved : {false, true}) {
    for (auto [width, rotated] :
         {std::pair(64, 64), std::pair(256, 256), std::pair(32, 32), std::pair(80, 20), std::pair(6, 2)}) {
      forWidths([&](const CpuLevel &level) {
        TestKernel kernel(substitute(text, {{"F", std::to_string(3 * width)},
                                            {"D", std::to_string(width)},
                                            {"R", std::to_string(rotated)},
                                            {"PAIRING", interleaved ? "interleaved" : "half"}}),
                          level);
        REQUIRE(kernel.error == "");
        const int rows = 6, half = rotated / 2;
        GuardedBuffer<float> x(rows * 3 * width), w(width), table(10 * rotated), n(x.size()), y(x.size());
        GuardedBuffer<int32_t> positions(rows);
        fillRandom(x, 1);
        fillRandom(w, 2);
        fillRandom(table, 3);
        const int32_t given[] = {0, 9, 4, -5, 10, INT32_MAX}, used[] = {0, 9, 4, 0, 9, 9};
        std::copy(given, given + rows, positions.begin());
        kernel({x.data(), w.data(), table.data(), positions.data(), n.data(), y.data()}, rows);
        for (int segment = 0; segment < rows * 3; ++segment) {
          float *row = &x[segment * width], *norm = &n[segment * width], *out = &y[segment * width];
          const float *angles = &table[used[segment / 3] * rotated];
          double squares = 0;
          for (int i = 0; i < width; ++i)
            squares += double(row[i]) * row[i] / width;
          for (int i = 0; i < width; ++i)
            checkClose(norm[i], row[i] * double(w[i]) / std::sqrt(squares + 1e-5), 4e-7);
          for (int i = 0; i < half; ++i) {
            int a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
            checkClose(out[a], double(norm[a]) * angles[i] - double(norm[b]) * angles[half + i], 4e-7);
            checkClose(out[b], double(norm[a]) * angles[half + i] + double(norm[b]) * angles[i], 4e-7);
          }
          for (int i = rotated; i < width; ++i)
            CHECK(out[i] == norm[i]);
        }
      });
    }
  }
}

TEST_CASE("cache_append") {
  const char *text = R"(
heddle.kernel @k family <rows> target "cpu" {
^bb0(%c: !heddle.kv_cache<2x$KDx$VDxf16>, %keys: tensor<?x2x$KDxf32>, %values: tensor<?x2x$VDxf32>, %s: tensor<?xi32>, %p: tensor<?xi32>):
  heddle.cache_append %c, %keys, %values at %s, %p : !heddle.kv_cache<2x$KDx$VDxf16>, tensor<?x2x$KDxf32>, tensor<?x2x$VDxf32>, tensor<?xi32>, tensor<?xi32>
  heddle.yield
})";
  const int slots = 3, pagesPerSlot = 2, pages = 7;
  for (auto [keyDim, valueDim] : {std::pair(64, 64), std::pair(20, 37)}) {
    forWidths([&](const CpuLevel &level) {
      TestKernel kernel(substitute(text, {{"KD", std::to_string(keyDim)}, {"VD", std::to_string(valueDim)}}),
                        level, {.maxContext = pagesPerSlot * 128, .maxRows = 8, .maxSlots = slots});
      REQUIRE(kernel.error == "");
      const size_t pageElements = 128 * 2 * (keyDim + valueDim);
      GuardedBuffer<uint16_t> cache(pages * pageElements), expected(cache.size());
      for (size_t i = 0; i < cache.size(); ++i)
        cache[i] = expected[i] = 0xbeef;
      GuardedBuffer<int32_t> table(slots * pagesPerSlot), slotOf(6), positions(6);
      const int32_t numbers[] = {6, 1, 0, 4, 2, 5};
      std::copy(numbers, numbers + 6, table.begin());
      const int32_t givenSlots[] = {0, 0, 1, 1, -1, 9}, usedSlots[] = {0, 0, 1, 1, 0, 2};
      const int32_t givenPositions[] = {127, 128, 16, 255, 31, 1000},
                    usedPositions[] = {127, 128, 16, 255, 31, 255};
      std::copy(givenSlots, givenSlots + 6, slotOf.begin());
      std::copy(givenPositions, givenPositions + 6, positions.begin());
      GuardedBuffer<float> keys(6 * 2 * keyDim), values(6 * 2 * valueDim);
      fillRandom(keys, 1, 100);
      fillRandom(values, 2);
      kernel({cache.data(), table.data(), keys.data(), values.data(), slotOf.data(), positions.data()}, 6);
      auto half = [](float x) {
        _Float16 h = _Float16(x);
        uint16_t bits;
        memcpy(&bits, &h, 2);
        return bits;
      };
      for (int r = 0; r < 6; ++r) {
        int p = usedPositions[r], page = numbers[usedSlots[r] * pagesPerSlot + p / 128], t = p % 128;
        for (int h = 0; h < 2; ++h) {
          for (int d = 0; d < keyDim; ++d)
            expected[page * pageElements + ((h * 8 + t / 16) * keyDim + d) * 16 + t % 16] =
                half(keys[(r * 2 + h) * keyDim + d]);
          for (int d = 0; d < valueDim; ++d)
            expected[page * pageElements + 2 * 128 * keyDim + (h * 128 + t) * valueDim + d] =
                half(values[(r * 2 + h) * valueDim + d]);
        }
      }
      CHECK(memcmp(cache.data(), expected.data(), cache.size() * 2) == 0);
    });
  }
}

TEST_CASE("embedding of every format, packed; dense ones also in file order") {
  const char *text = R"(
heddle.kernel @k family <rows> target "cpu" {
^bb0(%t: !heddle.stored<$Vx$Cxf32, #heddle.enc<$F$L>>, %i: tensor<?xi32>):
  %0 = heddle.embedding %t, %i {scale = $S : f32} : !heddle.stored<$Vx$Cxf32, #heddle.enc<$F$L>>, tensor<?xi32> -> tensor<?x$Cxf32>
  heddle.yield %0 : tensor<?x$Cxf32>
})";
  const int vocabulary = 19;
  for (int f = 0; f < kStorageFormatCount; ++f) {
    auto format = StorageFormat(f);
    const FormatInfo &info = formatInfo(format);
    const int64_t columns = info.blockElements > 1 ? info.blockElements * 3 : 37;
    for (bool packed : {true, false}) {
      if (!packed && (info.scheme || denseScaleSpan(format, columns)))
        continue;
      for (float scale : {1.0f, 25.298221f}) {
        INFO(std::string(info.name) << (packed ? " packed" : ""));
        const uint64_t rowBytes = storedBytes(format, columns);
        std::vector<uint8_t> stored(vocabulary * rowBytes);
        std::mt19937 random(f);
        for (uint8_t &byte : stored)
          byte = random() & 0xbf; // no exponent of f16 or bf16 is that of infinity
        std::vector<float> expected(vocabulary * columns);
        for (int r = 0; r < vocabulary; ++r)
          decode(format, {stored.data() + r * rowBytes, rowBytes},
                 {expected.data() + r * columns, size_t(columns)});
        const uint64_t groupBytes = packedGroupBytes(format, columns);
        GuardedBuffer<uint8_t> table(packed ? 2 * groupBytes : stored.size());
        if (packed) {
          for (int group = 0; group < 2; ++group) {
            std::vector<std::span<const uint8_t>> rows;
            for (int r = group * 16; r < std::min(vocabulary, group * 16 + 16); ++r)
              rows.push_back({stored.data() + r * rowBytes, rowBytes});
            packGroup(format, rows, columns, {table.data() + group * groupBytes, groupBytes});
          }
        } else {
          std::copy(stored.begin(), stored.end(), table.begin());
        }
        char number[32];
        snprintf(number, sizeof number, "%.9e", scale);
        forWidths([&](const CpuLevel &level) {
          TestKernel kernel(substitute(text, {{"V", "19"},
                                              {"C", std::to_string(columns)},
                                              {"F", std::string(info.name)},
                                              {"L", packed ? ", w16" : ""},
                                              {"S", number}}),
                            level);
          REQUIRE(kernel.error == "");
          const int32_t given[] = {0, 5, 15, 16, 18, 19, -1, INT32_MIN, INT32_MAX},
                        used[] = {0, 5, 15, 16, 18, 18, 0, 0, 18};
          GuardedBuffer<int32_t> indices(9);
          std::copy(given, given + 9, indices.begin());
          GuardedBuffer<float> y(9 * columns);
          kernel({table.data(), indices.data(), y.data()}, 9);
          int wrong = 0;
          for (int r = 0; r < 9; ++r)
            for (int64_t c = 0; c < columns; ++c)
              wrong += y[r * columns + c] != expected[used[r] * columns + c] * scale;
          CHECK(wrong == 0);
        });
      }
    }
  }
}

TEST_CASE("gather_rows, f32 tables and a norm in one kernel") {
  const char *text = R"(
heddle.kernel @k family <rows> target "cpu" {
^bb0(%h: tensor<?x48xf32>, %wanted: tensor<?xi32>, %w: tensor<48xf32>, %t: tensor<4x48xf16>):
  %0 = heddle.gather_rows %h, %wanted : tensor<?x48xf32>, tensor<?xi32> -> tensor<?x48xf32>
  %1 = heddle.embedding %t, %wanted : tensor<4x48xf16>, tensor<?xi32> -> tensor<?x48xf32>
  %2 = heddle.binary <add> %0, %1 : tensor<?x48xf32>
  %3 = heddle.rms_norm %2, %w : tensor<?x48xf32>, tensor<48xf32>
  heddle.yield %3 : tensor<?x48xf32>
})";
  forWidths([&](const CpuLevel &level) {
    TestKernel kernel(text, level);
    REQUIRE(kernel.error == "");
    GuardedBuffer<float> h(5 * 48), w(48), y(3 * 48);
    GuardedBuffer<_Float16> table(4 * 48);
    GuardedBuffer<int32_t> wanted(3);
    fillRandom(h, 1);
    fillRandom(w, 2);
    for (size_t i = 0; i < table.size(); ++i)
      table[i] = _Float16(i * 0.01f);
    wanted[0] = 4, wanted[1] = 7, wanted[2] = -3;
    kernel({h.data(), wanted.data(), w.data(), table.data(), y.data()}, 5, 0, 3);
    const int rowOf[] = {4, 4, 0}, tableOf[] = {3, 3, 0};
    for (int r = 0; r < 3; ++r) {
      double squares = 0;
      auto sum = [&](int c) { return h[rowOf[r] * 48 + c] + float(table[tableOf[r] * 48 + c]); };
      for (int c = 0; c < 48; ++c)
        squares += double(sum(c)) * sum(c) / 48;
      for (int c = 0; c < 48; ++c)
        checkClose(y[r * 48 + c], sum(c) * double(w[c]) / std::sqrt(squares + 1e-5), 5e-7);
    }
  });
}

TEST_CASE("pool_rows") {
  const char *text = R"(
heddle.kernel @k family <rows> target "cpu" {
^bb0(%h: tensor<?x40xf32>, %s: tensor<?xi32>):
  %0 = heddle.pool_rows <$KIND> %h, %s : tensor<?x40xf32>, tensor<?xi32> -> tensor<?x40xf32>
  heddle.yield %0 : tensor<?x40xf32>
})";
  for (std::string kind : {"mean", "first", "last"}) {
    forWidths([&](const CpuLevel &level) {
      TestKernel kernel(substitute(text, {{"KIND", kind}}), level);
      REQUIRE(kernel.error == "");
      GuardedBuffer<float> h(6 * 40), y(4 * 40);
      GuardedBuffer<int32_t> sequences(6);
      fillRandom(h, 1);
      const int32_t given[] = {0, 0, 0, 1, 3, 3}, first[] = {0, 3, 0, 4}, count[] = {3, 1, 0, 2};
      std::copy(given, given + 6, sequences.begin());
      kernel({h.data(), sequences.data(), y.data()}, 6, 0, 4);
      for (int s = 0; s < 4; ++s) {
        for (int c = 0; c < 40; ++c) {
          float expected = 0;
          for (int i = 0; i < count[s]; ++i)
            expected += h[(first[s] + i) * 40 + c];
          expected /= std::max(count[s], 1);
          if (kind == "first" && count[s])
            expected = h[first[s] * 40 + c];
          if (kind == "last" && count[s])
            expected = h[(first[s] + count[s] - 1) * 40 + c];
          CHECK(y[s * 40 + c] == expected);
        }
      }
    });
  }
}

TEST_CASE("what rows kernels cannot hold is an error that names the op") {
  const CpuLevel &level = cpuLevels().front();
  TestKernel linear(R"(heddle.kernel @k family <rows> target "cpu" {
    ^bb0(%x: tensor<?x32xf32>, %w: !heddle.stored<16x32xf32, #heddle.enc<f32>>):
      %0 = heddle.linear %x, %w : tensor<?x32xf32>, !heddle.stored<16x32xf32, #heddle.enc<f32>> -> tensor<?x16xf32>
      heddle.yield %0 : tensor<?x16xf32> })",
                    level);
  CHECK_THAT(linear.error, Catch::Contains("kernel 'k': 'heddle.linear' is not an op of the family 'rows'"));
  TestKernel table(R"(heddle.kernel @k family <rows> target "cpu" {
    ^bb0(%t: !heddle.stored<16x32xf32, #heddle.enc<q8_0>>, %i: tensor<?xi32>):
      %0 = heddle.embedding %t, %i : !heddle.stored<16x32xf32, #heddle.enc<q8_0>>, tensor<?xi32> -> tensor<?x32xf32>
      heddle.yield %0 : tensor<?x32xf32> })",
                   level);
  CHECK_THAT(table.error,
             Catch::Contains("expected a table in layout 'w16', but found 'q8_0' in file order"));
}
