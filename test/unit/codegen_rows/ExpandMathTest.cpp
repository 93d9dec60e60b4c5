// exp, tanh and erf of heddle-expand-math: errors in ulp over all of f32, special values.
#include "codegen/cpu/Emit.h"
#include "ir/Heddle.h"
#include "passes/Passes.h"
#include "test/unit/codegen/LoadedImage.h"
#include <catch2/catch.hpp>
#include <cfloat>
#include <cmath>
#include <string>

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::cpu::testing;

namespace {

enum class Function { Exp, Tanh, Erf };

Value apply(Emitter &e, Function function, Value x) {
  switch (function) {
  case Function::Exp:
    return e.create<mlir::math::ExpOp>(x);
  case Function::Tanh:
    return e.create<mlir::math::TanhOp>(x);
  case Function::Erf:
    return e.create<mlir::math::ErfOp>(x);
  }
  return {};
}

double exact(Function function, double x) {
  return function == Function::Exp ? std::exp(x) : function == Function::Tanh ? std::tanh(x) : std::erf(x);
}

/// A kernel that maps 16 floats per item, as vectors of `width` or scalars (width 1).
class Mapped {
public:
  Mapped(Function function, const CpuLevel &level, int width) {
    loadKernelDialects(context);
    context.loadDialect<mlir::heddle::HeddleDialect>();
    mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    Emitter e(*module, level);
    e.kernel("k", [&](const KernelArguments &arguments) {
      Value y = e.operand(arguments, 0), x = e.operand(arguments, 1);
      Type type = width == 1 ? e.f32() : Type(e.vec(e.f32(), width));
      e.forRange(arguments.begin, arguments.end, e.cI64(1), [&](Value item) {
        for (int i = 0; i < 16; i += width) {
          Value offset = e.add(e.mul(item, 64), i * 4);
          e.store(apply(e, function, e.load(type, e.at(x, offset))), e.at(y, offset));
        }
      });
    });
    CompileOptions options;
    options.expandMath = [](mlir::OpPassManager &passes) {
      passes.addPass(mlir::heddle::createExpandMathPass());
    };
    image = std::make_unique<LoadedImage>(*module, level, std::vector<std::string>{"k"}, options);
  }
  void operator()(float *y, const float *x, int64_t items) {
    void *operands[] = {y, const_cast<float *>(x)};
    image->function(0)(operands, nullptr, nullptr, 0, items);
  }

private:
  mlir::MLIRContext context;
  std::unique_ptr<LoadedImage> image;
};

/// Distance in units of the last place of the exact result, which denormals share.
double ulps(float found, double expected) {
  if (std::isnan(found) || std::isnan(expected))
    return std::isnan(found) && std::isnan(expected) ? 0 : INFINITY;
  float nearest = float(expected);
  if (found == nearest)
    return std::isinf(found)
               ? 0
               : std::fabs(found - expected) /
                     std::ldexp(1.0, std::max(std::ilogb(expected == 0 ? 0x1p-126 : expected), -126) - 23);
  if (std::isinf(found) || std::isinf(nearest))
    return INFINITY;
  return std::fabs(found - expected) /
         std::ldexp(1.0, std::max(std::ilogb(expected == 0 ? 0x1p-126 : expected), -126) - 23);
}
} // namespace

TEST_CASE("errors of exp, tanh and erf stay within what the pass states") {
  const CpuLevel *level = nullptr;
  for (const CpuLevel &candidate : cpuLevels())
    if (hostHas(candidate))
      level = &candidate;
  REQUIRE(level);
  const double limits[] = {1.0, 2.5, 1.5}; // as in Passes.td
  for (Function function : {Function::Exp, Function::Tanh, Function::Erf}) {
    INFO(int(function));
    Mapped kernel(function, *level, 16);
    GuardedBuffer<float> x(1 << 16), y(1 << 16);
    double worst = 0;
    float worstAt = 0;
    size_t filled = 0;
    auto run = [&] {
      while (filled % 16 != 0)
        x[filled++] = 0;
      kernel(y.data(), x.data(), filled / 16);
      for (size_t i = 0; i < filled; ++i)
        if (double error = ulps(y[i], exact(function, x[i])); error > worst)
          worst = error, worstAt = x[i];
      filled = 0;
    };
    // A prime step through all bit patterns: 4 million values, every exponent and sign.
    for (uint64_t bits = 0; bits < (uint64_t(1) << 32); bits += 1009) {
      uint32_t pattern = uint32_t(bits);
      memcpy(&x[filled++], &pattern, 4);
      if (filled == x.size())
        run();
    }
    run();
    // The range in which results are neither constant nor the argument.
    for (double v = -110; v < 95; v += 0.0001) {
      x[filled++] = float(v);
      if (filled == x.size())
        run();
    }
    run();
    for (double v = -5; v < 5; v += 0.00001) {
      x[filled++] = float(v);
      if (filled == x.size())
        run();
    }
    run();
    INFO("largest error at " << worstAt);
    CHECK(worst <= limits[int(function)]);
  }
}

TEST_CASE("special values, and the same bits for scalars and all widths and levels") {
  GuardedBuffer<float> x(256), y(256), first(256);
  const float special[] = {0.0f,       -0.0f,  INFINITY, -INFINITY, NAN,     0x1p-149f, -0x1p-149f,
                           88.722839f, 88.73f, -87.4f,   -103.9f,   -104.1f, 1e-20f,    0.99999994f,
                           1.0f,       9.1f,   -9.1f,    3.9f,      4.0f,    FLT_MAX,   -FLT_MAX};
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = i < std::size(special) ? special[i] : (float(i) - 128) * 0.37f;
  for (Function function : {Function::Exp, Function::Tanh, Function::Erf}) {
    bool haveFirst = false;
    for (const CpuLevel &level : cpuLevels()) {
      if (!hostHas(level))
        continue;
      for (int width : {1, 4, 8, 16}) {
        INFO(int(function) << " " << std::string(level.name) << " " << width);
        Mapped kernel(function, level, width);
        kernel(y.data(), x.data(), 16);
        if (haveFirst)
          for (int i = 0; i < 256; ++i)
            CHECK((memcmp(&y[i], &first[i], 4) == 0 || (std::isnan(y[i]) && std::isnan(first[i]))));
        std::copy(y.begin(), y.end(), first.begin());
        haveFirst = true;
        CHECK(std::isnan(y[4]));
        if (function == Function::Exp) {
          CHECK(y[0] == 1);
          CHECK(y[1] == 1);
          CHECK(y[2] == INFINITY);
          CHECK(y[3] == 0);
          CHECK(y[8] == INFINITY);
          CHECK(y[9] == float(std::exp(double(x[9])))); // denormal
          CHECK(y[11] == 0);
        } else {
          CHECK((y[0] == 0 && !std::signbit(y[0])));
          CHECK((y[1] == 0 && std::signbit(y[1])));
          CHECK(y[2] == 1);
          CHECK(y[3] == -1);
          CHECK(y[19] == 1);
          CHECK(y[20] == -1);
          if (function == Function::Tanh)
            CHECK(y[5] == x[5]);
        }
      }
    }
  }
}
