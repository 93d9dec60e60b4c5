// weights.bin: where parameters lie, and which share their bytes.
#include "codegen/package/Weights.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include <catch2/catch.hpp>

using namespace mlir;

namespace {

struct Zeros : ::heddle::ParameterSource {
  llvm::Expected<llvm::ArrayRef<uint8_t>> bytes(int64_t, uint64_t offset, uint64_t size) const override {
    read += size;
    return llvm::ArrayRef<uint8_t>(data).slice(offset, size);
  }
  std::vector<uint8_t> data = std::vector<uint8_t>(4096);
  mutable uint64_t read = 0;
};

// A table of 16 rows with this base, as recipes make it.
std::string table(StringRef name, StringRef base) {
  return ("heddle.param @" + name + " : tensor<16x8xf32> derived [] {\n  %0 = heddle.rope_table {base = " +
          base + " : f64} -> tensor<16x8xf32>\n  heddle.yield %0 : tensor<16x8xf32>\n}\n")
      .str();
}

} // namespace

TEST_CASE("parameters made of the same bytes in the same way share one place") {
  std::string text = "heddle.param @a : tensor<16x8xf32> file 0 at 0\n"
                     "heddle.param @same_as_a : tensor<16x8xf32> file 0 at 0\n"
                     "heddle.param @elsewhere : tensor<16x8xf32> file 0 at 512\n" +
                     table("t", "1.0e4") + table("same_as_t", "1.0e4") + table("other_base", "1.0e6") + R"(
    heddle.kernel @k family <rows> target "cpu" {
    ^bb0(%x: tensor<16x8xf32>):
      heddle.yield %x : tensor<16x8xf32>
    }
    func.func @f() {)";
  const char *names[] = {"a", "same_as_a", "elsewhere", "t", "same_as_t", "other_base"};
  for (StringRef name : names)
    text += ("%p_" + name + " = heddle.get_param @" + name + " : tensor<16x8xf32>\n%r_" + name +
             " = heddle.launch @k(%p_" + name + ") over \"16\" : (tensor<16x8xf32>) -> tensor<16x8xf32>\n")
                .str();
  text += "return\n}\n";

  DialectRegistry registry;
  registry.insert<mlir::heddle::HeddleDialect, func::FuncDialect>();
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  auto module = parseSourceString<ModuleOp>(text, &context);
  REQUIRE(bool(module));
  Zeros source;
  ::heddle::WeightPacker packer(::heddle::CompiledModule{"cpu", *module}, source);
  auto layouts = packer.plan();
  REQUIRE(bool(layouts));
  const ::heddle::WeightLayout *layout = layouts->data();
  auto place = [&](StringRef name) { return layout->offsets.lookup(name); };
  CHECK(place("a") == 0);
  CHECK(place("same_as_a") == 0);
  CHECK(place("elsewhere") == 512);
  CHECK(place("t") == 1024);
  CHECK(place("same_as_t") == 1024);
  CHECK(place("other_base") == 1536);
  CHECK(layout->size == 2048);

  uint64_t written = 0;
  CHECK(packer.members().front().name == "weights.bin");
  auto error = packer.write(
      0,
      [&](llvm::ArrayRef<uint8_t> bytes) {
        written += bytes.size();
        return llvm::Error::success();
      },
      [](uint64_t) {});
  REQUIRE(!bool(error));
  CHECK(written == layout->size);
  CHECK(source.read == 1024); // the shared bytes were read once
}
