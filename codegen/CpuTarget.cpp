#include "codegen/KernelOperands.h"
#include "codegen/Target.h"
#include "codegen/cpu/Emit.h"
#include "codegen/cpu/Image.h"
#include "codegen/cpu/KernelCache.h"
#include "codegen/cpu/Kernels.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {
namespace {

/// A level's code: its image and what the program needs to know of it.
struct LevelCode {
  cpu::Image image;
  std::vector<uint64_t> offsets; // of all kernels in the image, or HEDDLE_NO_FUNCTION
  std::vector<cpu::KernelFacts> facts;
};

cpu::CompileOptions backendOptions() {
  cpu::CompileOptions options;
  options.expandMath = [](OpPassManager &passes) { passes.addPass(createExpandMathPass()); };
  return options;
}

/// All kernels of `module` as IR of machine level for `level`.
llvm::Expected<OwningOpRef<ModuleOp>> emitLevel(ModuleOp module, const cpu::CpuLevel &level,
                                                std::vector<cpu::KernelFacts> &facts) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(module.getContext()));
  auto emitted = cpu::emitKernels(module, level, kernelContext(module), *kernels);
  if (!emitted)
    return emitted.takeError();
  facts = std::move(*emitted);
  return kernels;
}

/// The same code kernel by kernel.
llvm::Expected<LevelCode> collectLevel(ModuleOp module, const cpu::CpuLevel &level, cpu::KernelCache &cache) {
  LevelCode code;
  llvm::MapVector<llvm::StringRef, const cpu::CompiledObject *> objects; // equal kernels share one
  std::vector<std::string> symbols;
  llvm::StringMap<llvm::StringRef> rows = launchRows(module);
  llvm::StringSet<> leftOut = cpu::kernelsLeftOut(module, level);
  const KernelContext context = kernelContext(module);
  for (auto kernel : module.getOps<KernelOp>()) {
    code.facts.emplace_back();
    if (leftOut.contains(kernel.getSymName()))
      continue;
    auto made = cache.get(kernel, rows.lookup(kernel.getSymName()), level, context, backendOptions());
    if (!made)
      return made.takeError();
    code.facts.back() = (*made)->facts;
    objects[(*made)->symbol] = &(*made)->object;
    symbols.push_back((*made)->symbol);
  }
  auto image = cpu::linkImage(llvm::to_vector(llvm::make_second_range(objects)), symbols);
  if (!image)
    return image.takeError();
  code.image = std::move(*image);
  auto offset = code.image.offsets.begin();
  for (auto kernel : module.getOps<KernelOp>())
    code.offsets.push_back(leftOut.contains(kernel.getSymName()) ? HEDDLE_NO_FUNCTION : *offset++);
  return code;
}

llvm::Expected<LevelCode> compileLevel(ModuleOp module, const cpu::CpuLevel &level) {
  LevelCode code;
  auto kernels = emitLevel(module, level, code.facts);
  if (!kernels)
    return kernels.takeError();
  auto object = cpu::compile(**kernels, level, backendOptions());
  if (!object)
    return object.takeError();
  std::vector<std::string> symbols;
  auto isHere = [&](KernelOp kernel) { return (*kernels)->lookupSymbol(kernel.getSymName()) != nullptr; };
  for (auto kernel : llvm::make_filter_range(module.getOps<KernelOp>(), isHere)) // some are for other levels
    symbols.push_back(kernel.getSymName().str());
  const cpu::CompiledObject *objects[] = {&*object};
  auto image = cpu::linkImage(objects, symbols);
  if (!image)
    return image.takeError();
  code.image = std::move(*image);
  auto offset = code.image.offsets.begin();
  for (auto kernel : module.getOps<KernelOp>())
    code.offsets.push_back(isHere(kernel) ? *offset++ : HEDDLE_NO_FUNCTION);
  return code;
}

std::vector<const cpu::CpuLevel *> chosenLevels(const CompileOptions &options) {
  if (!options.levels.empty())
    return options.levels;
  std::vector<const cpu::CpuLevel *> all;
  for (const cpu::CpuLevel &level : cpu::cpuLevels())
    all.push_back(&level);
  return all;
}

class CpuTarget : public Target {
  llvm::StringRef name() const override { return "cpu"; }

  /// Levels are independent of each other: each gets a thread of `pool`.
  llvm::Expected<TargetCode> compile(ModuleOp module, const CompileOptions &options,
                                     llvm::ThreadPoolInterface &pool) const override {
    auto levels = chosenLevels(options);
    std::vector<std::optional<llvm::Expected<LevelCode>>> compiled(levels.size());
    llvm::ThreadPoolTaskGroup group(pool);
    for (size_t i = 0; i < levels.size(); ++i)
      if (options.kernelCache)
        compiled[i].emplace(collectLevel(module, *levels[i], *options.kernelCache));
      else
        group.async([&, i] { compiled[i].emplace(compileLevel(module, *levels[i])); });
    group.wait();
    llvm::Error errors = llvm::Error::success();
    std::vector<LevelCode> codes;
    for (auto &code : compiled) {
      if (*code)
        codes.push_back(std::move(**code));
      else
        errors = llvm::joinErrors(std::move(errors), code->takeError());
    }
    if (errors)
      return std::move(errors);
    TargetCode result;
    for (auto [index, kernel] : llvm::enumerate(module.getOps<KernelOp>())) {
      KernelInfo info{kernel.getSymName().str()};
      for (const LevelCode &code : codes) {
        const cpu::KernelFacts &facts = code.facts[index];
        info.scratchBytes = std::max(info.scratchBytes, facts.scratchBytes);
        info.grain = std::max(info.grain, facts.grain);
        info.workRows = info.workRows == 0 ? facts.workRows : std::min(info.workRows, facts.workRows);
      }
      result.kernels.push_back(info);
    }
    llvm::json::Array levelNames;
    for (size_t i = 0; i < levels.size(); ++i) {
      result.members.push_back(
          {"code/" + std::string(levels[i]->name) + ".elf", levels[i]->features, codes[i].offsets});
      result.contents.emplace_back(codes[i].image.bytes.begin(), codes[i].image.bytes.end());
      levelNames.push_back(llvm::StringRef(levels[i]->name));
    }
    result.manifest = llvm::json::Object{{"name", "cpu"}, {"levels", std::move(levelNames)}};
    return result;
  }

  llvm::Expected<std::string> text(ModuleOp module, const CompileOptions &options,
                                   llvm::StringRef form) const override {
    auto levels = chosenLevels(options);
    std::vector<cpu::KernelFacts> facts;
    if (form == "kernels") { // what generators make, before it is lowered
      std::string text;
      llvm::raw_string_ostream out(text);
      for (const cpu::CpuLevel *level : levels) {
        auto kernels = emitLevel(module, *level, facts);
        if (!kernels)
          return kernels.takeError();
        out << **kernels;
      }
      return text;
    }
    const cpu::CpuLevel &level = *levels.back();
    auto kernels = emitLevel(module, level, facts);
    if (!kernels)
      return kernels.takeError();
    return cpu::compileToText(
        **kernels, level, form == "llvm" ? cpu::TextForm::Llvm : cpu::TextForm::Assembly, backendOptions());
  }
};
} // namespace

std::unique_ptr<Target> makeCpuTarget() { return std::make_unique<CpuTarget>(); }

} // namespace heddle
