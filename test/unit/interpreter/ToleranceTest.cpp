#include "ir/interpreter/Tolerance.h"
#include "ir/interpreter/Scalar.h"
#include "mlir/Parser/Parser.h"
#include <catch2/catch.hpp>

using namespace mlir;
using namespace mlir::heddle::interpreter;

TEST_CASE("agreement of finite numbers, infinities and NaN") {
  const double nan = NAN, inf = INFINITY;
  CHECK(::heddle::agrees(1.5, 1.0, 0.5));
  CHECK_FALSE(::heddle::agrees(1.5, 1.0, 0.49));
  CHECK(::heddle::agrees(nan, nan, 0));
  CHECK_FALSE(::heddle::agrees(1.0, nan, inf));
  CHECK_FALSE(::heddle::agrees(nan, 1.0, inf));
  CHECK(::heddle::agrees(inf, inf, 0));
  CHECK_FALSE(::heddle::agrees(inf, -inf, inf));
  CHECK_FALSE(::heddle::agrees(1.0, inf, inf));
  CHECK_FALSE(::heddle::agrees(inf, 1.0, 5));
  CHECK(::heddle::agrees(inf, 1e39, 0)); // out of f32's range
  CHECK_FALSE(::heddle::agrees(-inf, 1e39, 0));
  CHECK(::heddle::agrees(0.0, 1e-39, 0)); // may be flushed
  CHECK_FALSE(::heddle::agrees(1.5, 1.0, nan));
}

TEST_CASE("tolerances pass through operations") {
  Arithmetics exact{false, 0}, single{true, ::heddle::kToleranceFactor * ::heddle::kF32Epsilon};
  Real a{3, 0.5}, b{-2, 0.25};
  CHECK(exact.add(a, b).value == 1);
  CHECK(exact.multiply(a, b).tolerance == 0); // not tracked
  double slack = single.unit * 20;
  CHECK(single.add(a, b).tolerance == Approx(0.75).margin(slack));
  CHECK(single.multiply(a, b).tolerance == Approx(3 * 0.25 + 2 * 0.5 + 0.125).margin(slack));
  CHECK(single.divide({1, 0}, {1, 1}).tolerance == INFINITY);
  CHECK(single.maximum(a, b).tolerance == 0.5);
  CHECK(std::isnan(single.maximum({NAN, 0}, b).value));
  CHECK(std::signbit(single.maximum({-0.0, 0}, {-0.0, 0}).value));
  CHECK_FALSE(std::signbit(single.maximum({-0.0, 0}, {0.0, 0}).value));
}

/// The result of `text`, an op on %a and %b of type `type`, on integers or floats.
static double evaluate(const std::string &op, const std::string &type, const std::string &resultType,
                       double a, double b) {
  DialectRegistry registry;
  registry.insert<func::FuncDialect, arith::ArithDialect, math::MathDialect, mlir::heddle::HeddleDialect>();
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  auto module =
      parseSourceString<ModuleOp>("func.func @f(%a: " + type + ", %b: " + type + ") -> " + resultType +
                                      " {\n  %0 = " + op + "\n  return %0 : " + resultType + "\n}",
                                  &context);
  REQUIRE(module);
  Interpreter interpreter(*module);
  auto datum = [&](double value) {
    return type[0] == 'f' ? Datum(Numbers{{}, {value}, {}, {}}) : Datum(Integers{{}, {int64_t(value)}, {}});
  };
  auto results = interpreter.run("f", {datum(a), datum(b)});
  if (!results)
    FAIL(op + ": " + llvm::toString(results.takeError()));
  Scalar scalar = scalarOf((*results)[0]);
  return resultType[0] == 'f' ? scalar.real.value : double(scalar.integer);
}

TEST_CASE("scalar operations wrap, shift and compare as the dialects say") {
  struct Case {
    const char *op, *type, *result;
    double a, b, expected;
  };
  const Case cases[] = {
      {"arith.addi %a, %b : i32", "i32", "i32", 2147483647, 1, -2147483648.0},
      {"arith.muli %a, %b : i32", "i32", "i32", 65536, 65536, 0},
      {"arith.divsi %a, %b : i32", "i32", "i32", -7, 2, -3},
      {"arith.remsi %a, %b : i32", "i32", "i32", -7, 2, -1},
      {"arith.divui %a, %b : i32", "i32", "i32", -2, 2, 2147483647},
      {"arith.shli %a, %b : i32", "i32", "i32", 1, 31, -2147483648.0},
      {"arith.shrsi %a, %b : i32", "i32", "i32", -8, 1, -4},
      {"arith.shrui %a, %b : i32", "i32", "i32", -8, 1, 2147483644},
      {"arith.cmpi slt, %a, %b : i32", "i32", "i1", -1, 1, 1},
      {"arith.cmpi ult, %a, %b : i32", "i32", "i1", -1, 1, 0},
      {"arith.maxui %a, %b : i32", "i32", "i32", -1, 1, -1},
      {"arith.minsi %a, %b : i32", "i32", "i32", -1, 1, -1},
      {"arith.sitofp %a : i32 to f32", "i32", "f32", 16777217, 0, 16777216},
      {"arith.uitofp %a : i32 to f32", "i32", "f32", -1, 0, 4294967296.0},
      {"arith.fptosi %a : f32 to i32", "f32", "i32", -2.9, 0, -2},
      {"arith.fptosi %a : f32 to i32", "f32", "i32", NAN, 0, 0},
      {"arith.cmpf olt, %a, %b : f32", "f32", "i1", NAN, 1, 0},
      {"arith.cmpf ult, %a, %b : f32", "f32", "i1", NAN, 1, 1},
      {"arith.maxnumf %a, %b : f32", "f32", "f32", NAN, 1, 1},
      {"arith.addf %a, %b : f32", "f32", "f32", 1, 0x1p-24, 1},
      {"arith.addf %a, %b : f64", "f64", "f64", 1, 0x1p-24, 1 + 0x1p-24},
      {"arith.truncf %a : f64 to f32", "f64", "f32", 1 + 0x1p-30, 0, 1},
      {"math.roundeven %a : f32", "f32", "f32", 2.5, 0, 2},
      {"math.absi %a : i32", "i32", "i32", -5, 0, 5},
  };
  for (const Case &c : cases) {
    INFO(c.op);
    CHECK(evaluate(c.op, c.type, c.result, c.a, c.b) == c.expected);
  }
}
