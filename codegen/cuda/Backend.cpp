#include "codegen/cuda/Backend.h"
#include "codegen/Lowering.h"
#include "codegen/cuda/Emit.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include <mutex>

using namespace mlir;

namespace heddle::cuda {

static constexpr const char *kTriple = "nvptx64-nvidia-cuda";
static constexpr const char *kProcessor = "sm_80";
static constexpr const char *kFeatures = "+ptx70"; // the first that has all of sm_80

static constexpr int kBlocksAtOnce = 2; // of a multiprocessor, at least

static llvm::Error fail(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>> createTargetMachine() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(kTriple, error);
  if (!target)
    return fail("cuda code generation: LLVM has no NVPTX back end: " + error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict; // an fma is one because the kernel says so
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      kTriple, kProcessor, kFeatures, options, std::nullopt, std::nullopt, llvm::CodeGenOptLevel::Default));
}

llvm::Expected<std::string> compileToText(ModuleOp kernels, TextForm form, const CompileOptions &options) {
  auto machine = createTargetMachine();
  if (!machine)
    return machine.takeError();
  OwningOpRef<ModuleOp> copy = kernels.clone();
  if (llvm::Error error = lowerToLlvmDialect(*copy, options.expandMath))
    return std::move(error);
  copy->walk([](LLVM::LLVMFuncOp function) {
    auto threads = cast<IntegerAttr>(function->removeAttr(kThreads));
    function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), UnitAttr::get(function.getContext()));
    function->setAttr(NVVM::NVVMDialect::getReqntidAttrName(),
                      Builder(function).getDenseI32ArrayAttr({int32_t(threads.getInt()), 1, 1}));
    // Left to itself, ptxas aims at three blocks of large kernels and moves some of their registers to
    // memory.
    function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                      Builder(function).getI32IntegerAttr(kBlocksAtOnce));
  });
  registerBuiltinDialectTranslation(*kernels.getContext());
  registerLLVMDialectTranslation(*kernels.getContext());
  registerNVVMDialectTranslation(*kernels.getContext());
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module = translateModuleToLLVMIR(*copy, context, "heddle");
  if (!module)
    return fail("cuda code generation: translation of kernels to LLVM IR failed");
  module->setSourceFileName("heddle");
  module->setTargetTriple(kTriple);
  module->setDataLayout((*machine)->createDataLayout());
  for (llvm::Function &function : *module)
    if (!function.isDeclaration())
      function.addFnAttr(llvm::Attribute::NoUnwind);
  optimize(*module, **machine);
  std::string text;
  if (form == TextForm::Llvm) {
    llvm::raw_string_ostream out(text);
    out << *module;
    return text;
  }
  llvm::SmallVector<char, 0> ptx;
  llvm::raw_svector_ostream out(ptx);
  llvm::legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, out, nullptr, llvm::CodeGenFileType::AssemblyFile))
    return fail("cuda code generation: LLVM cannot emit PTX");
  passes.run(*module);
  return std::string(ptx.begin(), ptx.end());
}

} // namespace heddle::cuda
