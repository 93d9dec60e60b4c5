#include "codegen/cpu/Backend.h"
#include "codegen/Lowering.h"
#include "codegen/cpu/Emit.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/OptBisect.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Triple.h"
#include <mutex>

using namespace mlir;

namespace heddle::cpu {

static constexpr const char *kTriple = "x86_64-unknown-linux-gnu";

static llvm::Error fail(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

/// Attributes that make functions plain leaf code of the level: no calls to a C library, no unwind tables,
/// and frame pointers so that perf's stacks are right.
static void setFunctionAttributes(llvm::Module &module, const CpuLevel &level) {
  StringRef width = level.lanes == 16 ? "512" : "256";
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", StringRef(level.targetCpu));
    if (!level.targetFeatures.empty())
      function.addFnAttr("target-features", StringRef(level.targetFeatures));
    function.addFnAttr("prefer-vector-width", width);
    function.addFnAttr("min-legal-vector-width", width);
    function.addFnAttr("frame-pointer", "all");
    function.addFnAttr("no-builtins");
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
}

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>> createTargetMachine(const CpuLevel &level) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(kTriple, error);
  if (!target)
    return fail("cpu code generation: LLVM has no x86-64 back end: " + error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict; // an fma is one because the kernel says so
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      kTriple, StringRef(level.targetCpu), StringRef(level.targetFeatures), options, llvm::Reloc::PIC_,
      llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
}

namespace {
/// Leaves out passes of code generation, by name.
struct PassChoice : llvm::OptPassGate {
  bool shouldRunPass(const StringRef pass, StringRef unit) override {
    // Nine tenths of the time of code generation, for nothing: tiles address memory as a few bases plus
    // induction variables plus constants, which is what it would find.
    if (pass == "Loop Strength Reduction")
      return false;
    if (pass == "Machine Instruction Scheduler")
      return !inSourceOrder.contains(unit);
    return true;
  }
  bool isEnabled() const override { return true; }

  llvm::StringSet<> inSourceOrder; // as "function (NAME)"
};

/// LLVM IR after optimization with all that owns it.
struct Lowered {
  std::unique_ptr<PassChoice> choice = std::make_unique<PassChoice>();
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
  std::unique_ptr<llvm::TargetMachine> machine;
};
} // namespace

static llvm::Expected<Lowered> lower(ModuleOp kernels, const CpuLevel &level, const CompileOptions &options) {
  Lowered result;
  auto machine = createTargetMachine(level);
  if (!machine)
    return machine.takeError();
  result.machine = std::move(*machine);

  result.context = std::make_unique<llvm::LLVMContext>();
  result.context->setOptPassGate(*result.choice);
  {
    // Levels compile in parallel from one MLIR context, whose registry takes no second pass manager at a
    // time.
    static std::mutex mutex;
    std::lock_guard<std::mutex> lock(mutex);
    OwningOpRef<ModuleOp> copy = kernels.clone();
    if (llvm::Error error = lowerToLlvmDialect(*copy, options.expandMath))
      return error;
    registerBuiltinDialectTranslation(*kernels.getContext());
    registerLLVMDialectTranslation(*kernels.getContext());
    result.module = translateModuleToLLVMIR(*copy, *result.context, "heddle");
  }
  if (!result.module)
    return fail("cpu code generation: translation of kernels to LLVM IR failed");
  result.module->setSourceFileName("heddle");
  result.module->setTargetTriple(kTriple);
  result.module->setDataLayout(result.machine->createDataLayout());
  setFunctionAttributes(*result.module, level);
  for (const llvm::Function &function : *result.module)
    if (function.hasFnAttribute(kSourceOrder))
      result.choice->inSourceOrder.insert(("function (" + function.getName() + ")").str());
  optimize(*result.module, *result.machine);
  return result;
}

static llvm::Error generate(Lowered &lowered, llvm::raw_pwrite_stream &out, llvm::CodeGenFileType type) {
  llvm::legacy::PassManager passes;
  if (lowered.machine->addPassesToEmitFile(passes, out, nullptr, type))
    return fail("cpu code generation: LLVM cannot emit this kind of file");
  passes.run(*lowered.module);
  return llvm::Error::success();
}

llvm::Expected<CompiledObject> compile(ModuleOp kernels, const CpuLevel &level,
                                       const CompileOptions &options) {
  auto lowered = lower(kernels, level, options);
  if (!lowered)
    return lowered.takeError();
  CompiledObject object;
  llvm::raw_svector_ostream out(object.bytes);
  if (llvm::Error error = generate(*lowered, out, llvm::CodeGenFileType::ObjectFile))
    return error;
  return object;
}

llvm::Expected<std::string> compileToText(ModuleOp kernels, const CpuLevel &level, TextForm form,
                                          const CompileOptions &options) {
  auto lowered = lower(kernels, level, options);
  if (!lowered)
    return lowered.takeError();
  if (form == TextForm::Llvm) {
    std::string text;
    llvm::raw_string_ostream out(text);
    out << *lowered->module;
    return text;
  }
  llvm::SmallVector<char, 0> text;
  llvm::raw_svector_ostream out(text);
  if (llvm::Error error = generate(*lowered, out, llvm::CodeGenFileType::AssemblyFile))
    return error;
  return std::string(text.begin(), text.end());
}

} // namespace heddle::cpu
