// The interpreter's limits, errors, state and interfaces; what ops compute is in test/e2e/ops.
#include "ir/interpreter/Interpreter.h"
#include "ir/SourceNames.h"
#include "mlir/IR/AsmState.h"
#include "mlir/Parser/Parser.h"
#include <catch2/catch.hpp>

using namespace mlir;
using namespace mlir::heddle::interpreter;

namespace {

class Fixture {
public:
  Fixture(StringRef text) : context(registry(), MLIRContext::Threading::DISABLED) {
    module = parseSourceString<ModuleOp>(text, &context);
    REQUIRE(module);
  }

  static DialectRegistry registry() {
    DialectRegistry result;
    result.insert<mlir::heddle::HeddleDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect>();
    return result;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

Datum numbers(std::initializer_list<int64_t> shape, std::vector<double> data) {
  return Numbers{Shape(shape), std::move(data), {}, {}};
}
Datum integers(std::vector<int64_t> data) {
  int64_t size = data.size();
  return Integers{{size}, std::move(data), {}};
}

std::string messageOf(llvm::Expected<SmallVector<Datum>> results) {
  REQUIRE(!results);
  return llvm::toString(results.takeError());
}

std::vector<double> valuesOf(llvm::Expected<SmallVector<Datum>> results) {
  if (!results)
    FAIL(llvm::toString(results.takeError()));
  return (*results)[0].numbers()->data;
}

constexpr const char *kAdd = R"(
  func.func @add(%a: tensor<?xf32> {heddle.dims = [#heddle.dim<"n", 1 to 4>]}, %b: tensor<?xf32> {heddle.dims = [#heddle.dim<"n", 1 to 4>]})
      -> tensor<?xf32> {
    %0 = heddle.binary <add> %a, %b : tensor<?xf32> loc("node.a")
    return %0 : tensor<?xf32>
  })";

} // namespace

TEST_CASE("f32 arithmetic rounds every result, f64 none") {
  Fixture fixture(kAdd);
  Datum one = numbers({1}, {1}), small = numbers({1}, {0x1p-24});
  Interpreter single(*fixture.module), wide(*fixture.module, {Arithmetic::F64});
  CHECK(valuesOf(single.run("add", {one, small})) == std::vector<double>{1});
  CHECK(valuesOf(wide.run("add", {one, small})) == std::vector<double>{1 + 0x1p-24});
}

TEST_CASE("inputs are checked against the function") {
  Fixture fixture(kAdd);
  Interpreter interpreter(*fixture.module);
  Datum two = numbers({2}, {1, 2}), five = numbers({5}, {1, 2, 3, 4, 5});
  CHECK(messageOf(interpreter.run("none", {})).find("expected a function 'none'") != std::string::npos);
  CHECK(messageOf(interpreter.run("add", {two})).find("expected 2 inputs for 'add', but found 1") !=
        std::string::npos);
  CHECK(messageOf(interpreter.run("add", {two, integers({1, 2})})).find("but found 2 integers") !=
        std::string::npos);
  CHECK(messageOf(interpreter.run("add", {five, five}))
            .find("expected dimension 'n' to be from 1 to 4, but found 5") != std::string::npos);
  CHECK(messageOf(interpreter.run("add", {two, numbers({1}, {1})}))
            .find("expected dimension 'n' to have one size") != std::string::npos);
}

TEST_CASE("memory and steps are limited, and the error says so") {
  Fixture fixture(R"(
    func.func @grow(%x: tensor<1x4xf32>, %i: tensor<?xi32>) -> tensor<?x4xf32> {
      %0 = heddle.gather_rows %x, %i : tensor<1x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
      return %0 : tensor<?x4xf32>
    })");
  Datum x = numbers({1, 4}, {1, 2, 3, 4}), rows = integers(std::vector<int64_t>(100, 0));
  auto kindOf = [&](Options options) {
    Interpreter interpreter(*fixture.module, options);
    auto results = interpreter.run("grow", {x, rows});
    REQUIRE(!results);
    InterpreterError::Kind kind = InterpreterError::Kind::Invalid;
    llvm::handleAllErrors(results.takeError(),
                          [&](const InterpreterError &error) { kind = error.getKind(); });
    return kind;
  };
  Options little;
  little.memoryLimit = 100 * 4 * 8 - 1;
  CHECK(kindOf(little) == InterpreterError::Kind::Limit);
  Options quick;
  quick.stepLimit = 399;
  CHECK(kindOf(quick) == InterpreterError::Kind::Limit);

  little.memoryLimit = 100 * 4 * 8; // what a run takes, it gives back
  Interpreter interpreter(*fixture.module, little);
  for (int run = 0; run < 3; ++run)
    CHECK(valuesOf(interpreter.run("grow", {x, rows})).size() == 400);
}

TEST_CASE("huge shapes are refused before memory is taken") {
  Fixture fixture(R"(
    heddle.param @w : tensor<9000000000000000000xf32> file 0 at 0
    heddle.param @t : tensor<3000000000x4xf32> derived [] {
      %0 = heddle.rope_table {base = 1.0 : f64} -> tensor<3000000000x4xf32>
      heddle.yield %0 : tensor<3000000000x4xf32>
    })");
  struct Nothing : ::heddle::ParameterSource {
    llvm::Expected<ArrayRef<uint8_t>> bytes(int64_t, uint64_t, uint64_t) const override {
      return llvm::createStringError("no such bytes");
    }
  } source;
  Interpreter interpreter(*fixture.module, {}, &source);
  for (const char *name : {"w", "t"}) {
    auto value = interpreter.parameter(name);
    REQUIRE(!value);
    llvm::consumeError(value.takeError());
  }
}

TEST_CASE("what the types leave open is checked when it runs") {
  Fixture fixture(R"(
    func.func @norm(%x: tensor<?xf32>, %w: tensor<?xf32>) -> tensor<?xf32> {
      %0 = heddle.rms_norm %x, %w : tensor<?xf32>, tensor<?xf32>
      return %0 : tensor<?xf32>
    }
    func.func @heads(%x: tensor<?x?xf32>) -> tensor<?x?xf32> {
      %0 = heddle.scale %x by 2.0 : tensor<?x?xf32>
      return %0 : tensor<?x?xf32>
    }
    func.func @splat() -> tensor<9000000000000xi32> {
      %0 = arith.constant dense<7> : tensor<9000000000000xi32>
      return %0 : tensor<9000000000000xi32>
    })");
  Interpreter interpreter(*fixture.module);
  Datum two = numbers({2}, {1, 2}), three = numbers({3}, {1, 2, 3});
  CHECK(messageOf(interpreter.run("norm", {three, two})).find("expected 'weight' to have 3 elements") !=
        std::string::npos);
  CHECK(messageOf(interpreter.run("heads", {numbers({1, 1}, {1})}))
            .find("expected only the first dimension to be dynamic") != std::string::npos);
  CHECK(messageOf(interpreter.run("splat", {})).find("memory limit") != std::string::npos);
}

TEST_CASE("recipes that derive from themselves end in an error") {
  Fixture fixture(R"(
    heddle.param @a : tensor<1xf32> derived [@b] {
    ^bb0(%x: tensor<1xf32>):
      heddle.yield %x : tensor<1xf32>
    }
    heddle.param @b : tensor<1xf32> derived [@a] {
    ^bb0(%x: tensor<1xf32>):
      heddle.yield %x : tensor<1xf32>
    })");
  Interpreter interpreter(*fixture.module);
  for (int attempt = 0; attempt < 2; ++attempt) { // the first failure leaves nothing behind
    auto value = interpreter.parameter("a");
    REQUIRE(!value);
    CHECK(llvm::toString(value.takeError()).find("expected parameter 'a' not to derive from itself") !=
          std::string::npos);
  }
}

TEST_CASE("a launch that overwrites a live value in the arena is found") {
  Fixture fixture(R"(
    heddle.kernel @twice family <rows> target "cpu" {
    ^bb0(%x: tensor<?x16xf32>):
      %0 = heddle.scale %x by 2.0 : tensor<?x16xf32>
      heddle.yield %0 : tensor<?x16xf32>
    }
    func.func @f(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
      %a = heddle.launch @twice(%x) over "n" arena [0] : (tensor<?x16xf32>) -> tensor<?x16xf32> loc("first")
      %b = heddle.launch @twice(%x) over "n" arena [64] : (tensor<?x16xf32>) -> tensor<?x16xf32> loc("second")
      %c = heddle.launch @twice(%a) over "n" arena [-1] : (tensor<?x16xf32>) -> tensor<?x16xf32> loc("third")
      return %c : tensor<?x16xf32>
    })");
  Interpreter interpreter(*fixture.module);
  CHECK(valuesOf(interpreter.run("f", {numbers({1, 16}, std::vector<double>(16, 1))}))[0] ==
        4); // one row: they lie apart
  std::string message = messageOf(interpreter.run("f", {numbers({2, 16}, std::vector<double>(32, 1))}));
  CHECK(message.find("third: 'heddle.launch': expected its operand from first to be live, but 'second' has "
                     "overwritten its bytes") != std::string::npos);
}

TEST_CASE("row variants are chosen by the first size of the first input") {
  Fixture fixture(R"(
    func.func @f.rows_1_2(%x: tensor<?xf32>) -> tensor<?xf32> attributes {heddle.rows = array<i64: 1, 2>} {
      return %x : tensor<?xf32>
    }
    func.func @f.rows_3_8(%x: tensor<?xf32>) -> tensor<?xf32> attributes {heddle.rows = array<i64: 3, 8>} {
      %0 = heddle.scale %x by 2.0 : tensor<?xf32>
      return %0 : tensor<?xf32>
    })");
  Interpreter interpreter(*fixture.module);
  CHECK(valuesOf(interpreter.run("f", {numbers({2}, {1, 1})})) == std::vector<double>{1, 1});
  CHECK(valuesOf(interpreter.run("f", {numbers({3}, {1, 1, 1})})) == std::vector<double>{2, 2, 2});
  CHECK(messageOf(interpreter.run("f", {numbers({9}, std::vector<double>(9))})).find("for these inputs") !=
        std::string::npos);
}

TEST_CASE("the observer sees each op with its operands and results; one op runs alone") {
  Fixture fixture(kAdd);
  Interpreter interpreter(*fixture.module);
  std::vector<std::string> seen;
  Operation *add = nullptr;
  interpreter.setObserver([&](Operation *op, ArrayRef<Datum> operands, ArrayRef<Datum> results) {
    seen.push_back(mlir::heddle::describeSource(op->getLoc()));
    CHECK(operands.size() == 2);
    CHECK(results[0].numbers()->data == std::vector<double>{3});
    add = op;
  });
  valuesOf(interpreter.run("add", {numbers({1}, {1}), numbers({1}, {2})}));
  CHECK(seen == std::vector<std::string>{"node.a"});
  REQUIRE(add);
  CHECK(valuesOf(interpreter.evaluate(add, {numbers({1}, {10}), numbers({1}, {20})})) ==
        std::vector<double>{30});
  CHECK(messageOf(interpreter.evaluate(add, {numbers({1}, {10})})).find("expected 2 operands, but found 1") !=
        std::string::npos);
}

namespace {
constexpr const char *kCached = R"(
  heddle.cache @kv : !heddle.kv_cache<1x2x2x%s>
  func.func @f(%%x: tensor<?x1x2xf32>, %%slots: tensor<?xi32>, %%positions: tensor<?xi32>) -> tensor<?x1x2xf32> {
    %%c = heddle.get_cache @kv : !heddle.kv_cache<1x2x2x%s>
    %%o = heddle.attention %%x keys %%x values %%x cache %%c at %%slots, %%positions {scale = 1.0 : f32} score {
    ^bb0(%%s: f32, %%qh: i32, %%kh: i32, %%qp: i32, %%kp: i32, %%slot: i32):
      heddle.yield %%s : f32
    } mask {
    } : tensor<?x1x2xf32>, tensor<?x1x2xf32>, tensor<?x1x2xf32> cache !heddle.kv_cache<1x2x2x%s>, tensor<?xi32>, tensor<?xi32> -> tensor<?x1x2xf32>
    return %%o : tensor<?x1x2xf32>
  })";

std::string cached(const char *element) {
  char text[2048];
  snprintf(text, sizeof(text), kCached, element, element, element);
  return text;
}
} // namespace

TEST_CASE("caches round to their type and persist until they are cleared") {
  Fixture half(cached("f16")), full(cached("f32"));
  Datum third = numbers({1, 1, 2}, {1.0f / 3, 1.0f / 3}), slot = integers({0}), first = integers({0});
  Interpreter inHalf(*half.module), inFull(*full.module);
  CHECK(valuesOf(inHalf.run("f", {third, slot, first}))[0] == 0.333251953125); // the nearest f16
  CHECK(valuesOf(inFull.run("f", {third, slot, first}))[0] == 1.0f / 3);
  Datum one = numbers({1, 1, 2}, {1, 1});
  CHECK(valuesOf(inFull.run("f", {one, slot, integers({1})}))[0] < 1); // sees position 0
  inFull.clearState();
  CHECK(messageOf(inFull.run("f", {one, slot, integers({1})}))
            .find("expected slot 0 to hold positions 0 to 1, but nothing was appended at 0") !=
        std::string::npos);
}

TEST_CASE("slots and positions out of range are errors, not accesses") {
  Fixture fixture(cached("f16"));
  Options options;
  options.maxSlots = 2;
  options.maxContext = 16;
  Interpreter interpreter(*fixture.module, options);
  Datum x = numbers({1, 1, 2}, {1, 1});
  CHECK(messageOf(interpreter.run("f", {x, integers({2}), integers({0})}))
            .find("expected slots from 0 to 1, but found 2") != std::string::npos);
  CHECK(messageOf(interpreter.run("f", {x, integers({-1}), integers({0})})).find("but found -1") !=
        std::string::npos);
  CHECK(messageOf(interpreter.run("f", {x, integers({0}), integers({16})}))
            .find("expected positions from 0 to 15, but found 16") != std::string::npos);
  CHECK(messageOf(interpreter.run("f", {x, integers({0}), integers({-2147483648})}))
            .find("expected positions") != std::string::npos);
}

TEST_CASE("quantize: blocks whose scale has no inverse are zeros") {
  Fixture fixture(R"(
    func.func @f(%x: tensor<1x32xf32>) -> tensor<1x32xf32> {
      %0 = heddle.quantize %x : tensor<1x32xf32> -> !heddle.stored<1x32xf32, #heddle.enc<act_i8>>
      %1 = heddle.dequantize %0 : !heddle.stored<1x32xf32, #heddle.enc<act_i8>> -> tensor<1x32xf32>
      return %1 : tensor<1x32xf32>
    })");
  Interpreter interpreter(*fixture.module);
  for (double x : {0.0, 1e-45, 1e-38, double(INFINITY), double(NAN)}) {
    std::vector<double> row(32, 0.0);
    row[3] = x;
    for (double y : valuesOf(interpreter.run("f", {numbers({1, 32}, row)})))
      CHECK(y == 0);
  }
}

TEST_CASE("integer division by zero is an error") {
  Fixture fixture(R"(
    func.func @f(%a: i32, %b: i32) -> i32 {
      %0 = arith.remsi %a, %b : i32
      return %0 : i32
    })");
  Interpreter interpreter(*fixture.module);
  auto scalar = [](int64_t value) { return Datum(Integers{{}, {value}, {}}); };
  CHECK(messageOf(interpreter.run("f", {scalar(7), scalar(0)})).find("expected a divisor other than zero") !=
        std::string::npos);
  auto result = interpreter.run("f", {scalar(INT32_MIN), scalar(-1)});
  REQUIRE(bool(result));
  CHECK((*result)[0].integers()->data[0] == 0);
}

TEST_CASE("an operation that nobody implements is named") {
  Fixture fixture(R"(
    func.func @f(%a: tensor<2xf32>) -> tensor<2xf32> {
      %0 = arith.addf %a, %a : tensor<2xf32>
      return %0 : tensor<2xf32>
    })");
  Interpreter interpreter(*fixture.module);
  CHECK(messageOf(interpreter.run("f", {numbers({2}, {1, 2})}))
            .find("'arith.addf': expected scalars, but found 2 numbers") != std::string::npos);
}
