#include "codegen/Target.h"
#include "codegen/npu/Kernel.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {
namespace {

/// All kernels of `module` as commands for the machine that the target names.
llvm::Expected<OwningOpRef<ModuleOp>> emitNpu(ModuleOp module, const npu::Machine &machine,
                                              std::vector<npu::KernelFacts> &facts) {
  OwningOpRef<ModuleOp> commands = ModuleOp::create(UnknownLoc::get(module.getContext()));
  auto emitted = npu::emitKernels(module, machine, kernelContext(module), *commands);
  if (!emitted)
    return emitted.takeError();
  facts = std::move(*emitted);
  if (failed(verify(*commands)))
    return llvm::createStringError("the commands made for target 'npu' are not valid");
  return commands;
}

class NpuTarget : public Target {
public:
  explicit NpuTarget(llvm::StringRef machine)
      : fullName(("npu:" + machine).str()), machine(*npu::machineByName(machine)) {}

private:
  llvm::StringRef name() const override { return fullName; }
  bool isExact() const override { return false; } // fixed point, probabilities of 8 bits: docs/npu.md

  llvm::Expected<TargetCode> compile(ModuleOp module, const CompileOptions &,
                                     llvm::ThreadPoolInterface &) const override {
    std::vector<npu::KernelFacts> facts;
    auto commands = emitNpu(module, machine, facts);
    if (!commands)
      return commands.takeError();
    TargetCode result;
    for (auto [kernel, fact] : llvm::zip(module.getOps<KernelOp>(), facts)) {
      KernelInfo info{kernel.getSymName().str()};
      info.workRows = fact.workRows;
      result.kernels.push_back(info);
    }
    result.members.push_back({"code/npu-" + std::string(machine.name) + ".bin",
                              HEDDLE_CODE_NPU | machine.id << 16, std::vector<uint64_t>(facts.size())});
    result.contents.push_back(npu::encode(**commands, machine));
    result.manifest = llvm::json::Object{{"name", "npu"}, {"machine", machine.name}};
    return result;
  }

  llvm::Expected<std::string> text(ModuleOp module, const CompileOptions &, llvm::StringRef) const override {
    std::vector<npu::KernelFacts> facts;
    auto commands = emitNpu(module, machine, facts);
    if (!commands)
      return commands.takeError();
    std::string text;
    llvm::raw_string_ostream(text) << **commands;
    return text;
  }

  std::string fullName;
  const npu::Machine &machine;
};
} // namespace

std::unique_ptr<Target> makeNpuTarget(llvm::StringRef machine) {
  return std::make_unique<NpuTarget>(machine);
}

} // namespace heddle
