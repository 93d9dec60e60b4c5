// What kernels cost, counted on the simulator, against the budgets of docs/cuda.md.
#include "codegen/Compiler.h"
#include "heddle/cuda_sim.h"
#include "heddle/runtime.h"
#include "ir/Heddle.h"
#include "mlir/Parser/Parser.h"
#include "test/unit/Sized.h"
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <unistd.h>

using namespace heddle;

namespace {

constexpr int64_t kRows = 256, kColumns = 1024; // of weights whose products are counted

/// Bytes that are weights in any format: their f16 numbers are below 2.
struct SomeBytes : ParameterSource {
  std::vector<uint8_t> all = std::vector<uint8_t>(8 << 20);
  SomeBytes() {
    std::mt19937 random(7);
    for (uint8_t &byte : all)
      byte = uint8_t(random()) & 0xbf;
  }
  llvm::Expected<llvm::ArrayRef<uint8_t>> bytes(int64_t, uint64_t offset, uint64_t size) const override {
    return llvm::ArrayRef(all).slice(offset, size);
  }
};

struct Cost {
  uint64_t instructions = 0, matrix = 0, loadedBytes = 0, sectors = 0, conflicts = 0;
  std::vector<float> output;
  double perMatrix() const { return double(instructions) / double(matrix); }
  /// Instructions for what an mma of bytes makes for one of its eight columns.
  double perPiece(int64_t rows) const {
    return double(instructions) / double(kRows / 16 * (kColumns / 32) * rows);
  }
  double usedSectors() const { return double(loadedBytes) / double(sectors * 32); }
};

/// Runs a tensor entry on `rows` by `columns` numbers: its result, and the cost of all kernels whose name
/// begins with "linear".
Cost run(const std::string &text, int64_t rows, int64_t columns) {
  mlir::MLIRContext context;
  context.loadDialect<mlir::heddle::HeddleDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  REQUIRE(module);
  CompileOptions options;
  options.target = "cuda";
  options.samples = false;
  std::string path = "/tmp/heddle-budget-test-" + std::to_string(getpid()) + ".heddle";
  auto digest = compileToArtifact(*module, SomeBytes(), options, path);
  if (!digest)
    FAIL(llvm::toString(digest.takeError()));
  auto error = sized<heddle_error>();
  auto check = [&](heddle_status status) {
    if (status != HEDDLE_OK)
      FAIL(error.message);
  };
  auto source = sized<heddle_source>();
  source.kind = HEDDLE_SOURCE_PATH;
  source.path = path.c_str();
  auto open = sized<heddle_model_options>();
  open.trust = HEDDLE_TRUST_EMBEDDER_VOUCHES;
  open.driver = heddle_driver_cuda_sim();
  heddle_model *model = nullptr;
  heddle_session *session = nullptr;
  check(heddle_model_open(&source, &open, &model, &error));
  unlink(path.c_str());
  check(heddle_session_create(model, nullptr, &session, &error));
  struct alignas(64) Line {
    float numbers[16];
  };
  std::vector<Line> input(size_t(rows * columns / 16));
  for (size_t i = 0; i < input.size() * 16; ++i)
    input[i / 16].numbers[i % 16] = float(i % 31) / 16 - 1 + float(i % 1021) / 512;
  auto view = sized<heddle_view>();
  view.data = input.data();
  view.size_bytes = input.size() * sizeof(Line);
  view.dtype = HEDDLE_DTYPE_F32;
  view.rank = 2;
  view.dimension[0] = rows;
  view.dimension[1] = columns;
  check(heddle_session_bind(session, nullptr, 0, &view, &error));
  check(heddle_session_run(session, nullptr, &error));
  check(heddle_session_output(session, nullptr, 0, &view, &error));
  Cost cost;
  cost.output.assign(static_cast<const float *>(view.data),
                     static_cast<const float *>(view.data) + view.dimension[0] * view.dimension[1]);
  heddle_cuda_sim_visit_counts(
      [](void *context, const heddle_cuda_sim_counts *c) {
        auto &cost = *static_cast<Cost *>(context);
        if (!llvm::StringRef(c->kernel).starts_with("linear"))
          return;
        cost.instructions += c->instructions;
        cost.matrix += c->matrix_instructions;
        cost.loadedBytes += c->global_load_bytes;
        cost.sectors += c->global_load_sectors;
        cost.conflicts += c->bank_conflicts;
      },
      &cost);
  heddle_session_destroy(session);
  CHECK(heddle_model_close(model, nullptr) == HEDDLE_OK);
  return cost;
}

/// A product of `format` weights, `rows` by `columns`, and activations rounded to `activations` (f32 if
/// empty).
std::string product(const std::string &format, const std::string &activations, int64_t rows = kRows,
                    int64_t columns = kColumns) {
  std::string width = std::to_string(columns) + "xf32", result = "tensor<?x" + std::to_string(rows) + "xf32>";
  std::string weight =
      "!heddle.stored<" + std::to_string(rows) + "x" + width + ", #heddle.enc<" + format + ">>";
  std::string input = "tensor<?x" + width + ">", argument = input, quantize;
  if (!activations.empty()) {
    std::string rounded = "!heddle.stored<?x" + width + ", #heddle.enc<" + activations + ">>";
    quantize = "%q = heddle.quantize %x : " + input + " -> " + rounded + "\n";
    input = rounded;
  }
  return "heddle.param @w : " + weight + " file 0 at 0\nfunc.func @f(%x: " + argument +
         " {heddle.dims = [#heddle.dim<\"n\", 1 to 64>]}) -> " + result +
         " attributes {heddle.entry = \"f\"} {\n%w = heddle.get_param @w : " + weight + "\n" + quantize +
         "%y = heddle.linear " + (quantize.empty() ? "%x" : "%q") + ", %w : " + input + ", " + weight +
         " -> " + result + "\nreturn %y : " + result + "\n}";
}

/// The cost of 256 by 1024 weights, printed.
Cost costOf(const std::string &format, const std::string &activations, int64_t rows) {
  Cost cost = run(product(format, activations), rows, kColumns);
  std::printf("%s x %s, %d rows: %llu instructions, %.2f for 16 x 32 weights and a row, ", format.c_str(),
              activations.empty() ? "f32" : activations.c_str(), int(rows),
              (unsigned long long)cost.instructions, cost.perPiece(rows));
  if (cost.matrix)
    std::printf("%llu mma, %.2f each, ", (unsigned long long)cost.matrix, cost.perMatrix());
  std::printf("%.0f %% of loaded sectors, %llu bank conflicts\n", cost.usedSectors() * 100,
              (unsigned long long)cost.conflicts);
  return cost;
}

} // namespace

TEST_CASE("products of 64 rows keep their budgets", "[budgets]") {
  Cost bf16 = costOf("bf16", "act_bf16", 64);
  CHECK(bf16.perMatrix() <= 6);
  CHECK(bf16.conflicts == 0);
  Cost q4 = costOf("q4_1", "act_i8", 64);
  CHECK(q4.perMatrix() <= 32);
  CHECK(q4.conflicts == 0);
  costOf("q4_1", "act_bf16", 64);
  costOf("bf16", "", 64);
  costOf("f16", "", 64);
  costOf("f32", "", 64);
}

TEST_CASE("products of one row keep their budgets", "[budgets]") {
  for (const char *activations : {"act_i8", "act_i16"}) {
    Cost cost = costOf("q4_1", activations, 1);
    CHECK(cost.matrix == 0); // dp4a
    CHECK(cost.perPiece(1) <= (activations == std::string("act_i8") ? 32 : 64));
    CHECK(cost.conflicts == 0);
    CHECK(cost.usedSectors() >= 1); // lanes share scales
  }
}

// One row is multiplied by dp4a, more by mma: their sums are the same chains.
TEST_CASE("a row alone has the bits that it has among others", "[vector]") {
  struct Shape {
    int64_t rows, columns;
    std::vector<const char *> formats;
  };
  const Shape shapes[] = {
      {72, 1248, {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "int8", "int4"}},
      {40, 96, {"q4_1", "q8_0"}},
      {40, 768, {"q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs", "int8_min", "int4_128"}},
  };
  for (const Shape &shape : shapes)
    for (const char *format : shape.formats)
      for (const char *activations : {"act_i8", "act_i16"}) {
        INFO(format << " x " << activations);
        std::string text = product(format, activations, shape.rows, shape.columns);
        Cost alone = run(text, 1, shape.columns), both = run(text, 2, shape.columns);
        CHECK(alone.matrix == 0);
        CHECK(both.matrix > 0);
        REQUIRE(alone.output.size() == size_t(shape.rows));
        REQUIRE(both.output.size() == 2 * alone.output.size());
        CHECK(std::memcmp(alone.output.data(), both.output.data(), size_t(shape.rows) * 4) == 0);
        CHECK(std::isfinite(alone.output[0]));
        CHECK(alone.output[0] != alone.output[1]);
      }
}
