// heddle-opt: runs passes on textual IR, for development and lit tests.
#include "codegen/plugin/Plugin.h"
#include "ir/Heddle.h"
#include "ir/npu/Npu.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "passes/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlir::heddle::HeddleDialect, mlir::npu::NpuDialect>();
  mlir::registerTransformsPasses();
  mlir::heddle::registerPasses();
  if (llvm::Error error = heddle::loadPlugins(argc, argv)) {
    llvm::errs() << "heddle-opt: " << llvm::toString(std::move(error)) << "\n";
    return 2;
  }
  heddle::pluginDialects().appendTo(registry);
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Heddle's pass driver\n", registry));
}
