// kernels.json: what a kernel reads, writes and computes, counted by hand.
#include "codegen/package/KernelTable.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include <catch2/catch.hpp>

using namespace mlir;
using namespace mlir::heddle;

namespace {
/// The cost of a kernel with these arguments and ops.
::heddle::KernelCost costOf(const std::string &arguments, const std::string &ops, const char *family) {
  DialectRegistry registry;
  registry.insert<HeddleDialect, func::FuncDialect>();
  MLIRContext context(registry);
  std::string text = std::string("heddle.kernel @k family <") + family + "> target \"cpu\" {\n^bb0(" +
                     arguments + "):\n" + ops + "\n}\n";
  auto module = parseSourceString<ModuleOp>(text, &context);
  REQUIRE(module);
  return ::heddle::kernelCost(*module->getOps<KernelOp>().begin());
}
} // namespace

TEST_CASE("a product reads all of its weights, its input and its bias") {
  auto cost = costOf("%x: tensor<?x64xf32>, %w: !heddle.stored<40x64xf32, #heddle.enc<q8_0, w16>>, %b: "
                     "tensor<40xf32>",
                     "%y = heddle.linear %x, %w bias %b : tensor<?x64xf32>, !heddle.stored<40x64xf32, "
                     "#heddle.enc<q8_0, w16>>, tensor<40xf32> -> tensor<?x40xf32>\n"
                     "heddle.yield %y : tensor<?x40xf32>",
                     "contraction");
  CHECK(cost.weightBytes == 48 * 2 * 34 + 40 * 4); // packed by 16 rows
  CHECK(cost.bytesPerRow == 64 * 4 + 40 * 4);
  CHECK(cost.multiplyAdds == 40 * 64);
  CHECK(cost.elementOps == 0);
}

TEST_CASE("of a table of which one row is looked up, one row counts for each row") {
  auto cost = costOf("%t: tensor<100x8xf32>, %i: tensor<?xi32>",
                     "%y = heddle.embedding %t, %i : tensor<100x8xf32>, tensor<?xi32> -> tensor<?x8xf32>\n"
                     "heddle.yield %y : tensor<?x8xf32>",
                     "rows");
  CHECK(cost.weightBytes == 0);
  CHECK(cost.bytesPerRow == 8 * 4 + 4 + 8 * 4);
}

TEST_CASE("a table that is read as a whole too counts in full") {
  auto cost = costOf("%t: tensor<100x8xf32>, %i: tensor<?xi32>",
                     "%y = heddle.embedding %t, %i : tensor<100x8xf32>, tensor<?xi32> -> tensor<?x8xf32>\n"
                     "%z = heddle.unary <silu> %t : tensor<100x8xf32>\n"
                     "heddle.yield %y, %z : tensor<?x8xf32>, tensor<100x8xf32>",
                     "rows");
  CHECK(cost.weightBytes == 100 * 8 * 4);
  CHECK(cost.bytesPerRow == 4 + 8 * 4);
}

TEST_CASE("arithmetic on elements is counted by op") {
  auto cost = costOf("%x: tensor<?x64xf32>",
                     "%y = heddle.unary <silu> %x : tensor<?x64xf32>\n"
                     "%z = heddle.binary <add> %y, %x : tensor<?x64xf32>\n"
                     "heddle.yield %z : tensor<?x64xf32>",
                     "rows");
  CHECK(cost.elementOps == (8 + 1) * 64);
  CHECK(cost.bytesPerRow == 2 * 64 * 4);
}
