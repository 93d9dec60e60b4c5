// What kernels cost, counted on the simulator, against the budgets of docs/cuda.md.
#include "codegen/Compiler.h"
#include "heddle/cuda_sim.h"
#include "heddle/runtime.h"
#include "ir/Heddle.h"
#include "mlir/Parser/Parser.h"
#include "test/unit/Sized.h"
#include <catch2/catch.hpp>
#include <cstring>
#include <unistd.h>

using namespace heddle;

namespace {

/// Any bytes are weights here: small f16 numbers, whatever they mean.
struct SomeBytes : ParameterSource {
  std::vector<uint8_t> all = std::vector<uint8_t>(8 << 20, 0x21);
  llvm::Expected<llvm::ArrayRef<uint8_t>> bytes(int64_t, uint64_t offset, uint64_t size) const override {
    return llvm::ArrayRef(all).slice(offset, size);
  }
};

struct Cost {
  uint64_t instructions = 0, matrix = 0, loadedBytes = 0, sectors = 0, conflicts = 0;
  double perMatrix() const { return double(instructions) / double(matrix); }
  double usedSectors() const { return double(loadedBytes) / double(sectors * 32); }
};

/// The cost of all kernels whose name begins with `prefix` in one run of a tensor entry of `rows` by
/// `columns`.
Cost costOf(const std::string &text, int64_t rows, int64_t columns, const std::string &prefix) {
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
    input[i / 16].numbers[i % 16] = float(i % 31) / 16 - 1;
  auto view = sized<heddle_view>();
  view.data = input.data();
  view.size_bytes = input.size() * sizeof(Line);
  view.dtype = HEDDLE_DTYPE_F32;
  view.rank = 2;
  view.dimension[0] = rows;
  view.dimension[1] = columns;
  check(heddle_session_bind(session, nullptr, 0, &view, &error));
  check(heddle_session_run(session, nullptr, &error));
  struct Visit {
    Cost cost;
    std::string prefix;
  } visit{{}, prefix};
  heddle_cuda_sim_visit_counts(
      [](void *context, const heddle_cuda_sim_counts *c) {
        auto &visit = *static_cast<Visit *>(context);
        if (std::string(c->kernel).compare(0, visit.prefix.size(), visit.prefix) != 0)
          return;
        visit.cost.instructions += c->instructions;
        visit.cost.matrix += c->matrix_instructions;
        visit.cost.loadedBytes += c->global_load_bytes;
        visit.cost.sectors += c->global_load_sectors;
        visit.cost.conflicts += c->bank_conflicts;
      },
      &visit);
  heddle_session_destroy(session);
  CHECK(heddle_model_close(model, nullptr) == HEDDLE_OK);
  std::printf("%s, %lld rows: %llu instructions, %llu mma, %.2f each, %.0f %% of loaded sectors, %llu bank "
              "conflicts\n",
              prefix.c_str(), (long long)rows, (unsigned long long)visit.cost.instructions,
              (unsigned long long)visit.cost.matrix, visit.cost.perMatrix(), visit.cost.usedSectors() * 100,
              (unsigned long long)visit.cost.conflicts);
  return visit.cost;
}

/// A product of `format` weights, 256 by 1024, and activations rounded to `activations` (f32 if empty).
std::string product(const std::string &format, const std::string &activations) {
  std::string weight = "!heddle.stored<256x1024xf32, #heddle.enc<" + format + ">>",
              input = "tensor<?x1024xf32>";
  std::string quantize;
  if (!activations.empty()) {
    std::string rounded = "!heddle.stored<?x1024xf32, #heddle.enc<" + activations + ">>";
    quantize = "%q = heddle.quantize %x : " + input + " -> " + rounded + "\n";
    input = rounded;
  }
  return "heddle.param @w : " + weight + R"( file 0 at 0
    func.func @f(%x: tensor<?x1024xf32> {heddle.dims = [#heddle.dim<"n", 1 to 64>]}) -> tensor<?x256xf32>
        attributes {heddle.entry = "f"} {
      %w = heddle.get_param @w : )" +
         weight + "\n" + quantize + "%y = heddle.linear " + (quantize.empty() ? "%x" : "%q") +
         ", %w : " + input + ", " + weight + " -> tensor<?x256xf32>\nreturn %y : tensor<?x256xf32>\n}";
}

} // namespace

TEST_CASE("products of 64 rows keep their budgets", "[budgets]") {
  Cost bf16 = costOf(product("bf16", "act_bf16"), 64, 1024, "linear");
  CHECK(bf16.perMatrix() <= 6);
  CHECK(bf16.conflicts == 0);
  Cost q4 = costOf(product("q4_1", "act_i8"), 64, 1024, "linear");
  CHECK(q4.perMatrix() <= 32);
  CHECK(q4.conflicts == 0);
  costOf(product("q4_1", "act_i8"), 1, 1024, "linear");
  costOf(product("q4_1", "act_i16"), 1, 1024, "linear");
  costOf(product("q4_1", "act_bf16"), 64, 1024, "linear");
  costOf(product("bf16", ""), 64, 1024, "linear");
  costOf(product("f16", ""), 64, 1024, "linear");
  costOf(product("f32", ""), 64, 1024, "linear");
}
