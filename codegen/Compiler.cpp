#include "codegen/Compiler.h"
#include "codegen/KernelOperands.h"
#include "codegen/Pipelines.h"
#include "codegen/cpu/Emit.h"
#include "codegen/cpu/Image.h"
#include "codegen/cpu/KernelCache.h"
#include "codegen/cpu/Kernels.h"
#include "codegen/cuda/Assemble.h"
#include "codegen/cuda/Backend.h"
#include "codegen/cuda/Kernel.h"
#include "codegen/npu/Kernel.h"
#include "codegen/package/ArtifactWriter.h"
#include "codegen/package/KernelTable.h"
#include "codegen/package/Program.h"
#include "codegen/package/Samples.h"
#include "codegen/package/Weights.h"
#include "codegen/plugin/Plugin.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Decisions.h"
#include "passes/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/ThreadPool.h"

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

/// All that a target adds to an artifact.
struct TargetCode {
  std::vector<KernelInfo> kernels;
  std::vector<CodeMember> members;
  std::vector<std::string> contents; // of the members
  llvm::json::Object manifest;       // of "targets"
};

/// Shows the module to `CompileOptions::afterPass`.
struct PassObserver : PassInstrumentation {
  explicit PassObserver(const CompileOptions &options) : options(options) {}
  void runAfterPass(Pass *pass, Operation *op) override {
    if (auto module = dyn_cast<ModuleOp>(op); module && !pass->getArgument().empty())
      options.afterPass(pass->getArgument(), module);
  }
  const CompileOptions &options;
};

KernelContext kernelContext(ModuleOp module) {
  KernelContext context;
  auto facts = module->getAttrOfType<DictionaryAttr>(kModelAttr);
  if (auto value = facts ? facts.getAs<IntegerAttr>("max_context") : IntegerAttr())
    context.maxContext = (value.getInt() + HEDDLE_PAGE_TOKENS - 1) / HEDDLE_PAGE_TOKENS * HEDDLE_PAGE_TOKENS;
  if (auto value = facts ? facts.getAs<IntegerAttr>("max_slots") : IntegerAttr())
    context.maxSlots = value.getInt();
  for (auto function : module.getOps<func::FuncOp>())
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (auto dims = function.getArgAttrOfType<ArrayAttr>(i, kDimsAttr))
        for (auto dim : dims.getAsRange<DimAttr>())
          context.maxRows = std::max(context.maxRows, dim.getMax());
  return context;
}

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

/// Levels are independent of each other: each gets a thread of `pool`.
llvm::Expected<TargetCode> compileCpu(ModuleOp module, const CompileOptions &options,
                                      llvm::ThreadPoolInterface &pool) {
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

llvm::Expected<std::string> cudaText(ModuleOp module, const CompileOptions &options, cuda::TextForm form,
                                     std::vector<cuda::KernelFacts> &facts) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(module.getContext()));
  KernelContext context = kernelContext(module);
  context.tensorCores = options.tensorCores;
  auto emitted = cuda::emitKernels(module, context, *kernels);
  if (!emitted)
    return emitted.takeError();
  facts = std::move(*emitted);
  return cuda::compileToText(*kernels, form, {backendOptions().expandMath});
}

llvm::Expected<TargetCode> compileCuda(ModuleOp module, const CompileOptions &options) {
  std::vector<cuda::KernelFacts> facts;
  auto ptx = cudaText(module, options, cuda::TextForm::Ptx, facts);
  if (!ptx)
    return ptx.takeError();
  TargetCode result;
  for (auto [kernel, fact] : llvm::zip(module.getOps<KernelOp>(), facts)) {
    KernelInfo info{kernel.getSymName().str()};
    info.scratchBytes = fact.sharedBytes;
    info.workRows = fact.workRows;
    info.threads = fact.threads;
    info.blockRows = fact.blockRows;
    info.gridY = fact.gridY;
    result.kernels.push_back(info);
  }
  result.members.push_back({"code/sm_80.ptx", HEDDLE_CODE_PTX, std::vector<uint64_t>(facts.size())});
  result.contents.push_back(std::move(*ptx));
  if (!options.ptxas.empty()) { // a driver takes the last code that it can: later GPUs the PTX
    auto cubin = cuda::assemble(result.contents.front(), options.ptxas);
    if (!cubin)
      return cubin.takeError();
    result.members.push_back(
        {"code/sm_80.cubin", HEDDLE_CODE_CUBIN | 80u << 16, std::vector<uint64_t>(facts.size())});
    result.contents.push_back(std::move(*cubin));
  }
  result.manifest = llvm::json::Object{{"name", "cuda"}, {"ptx", "sm_80"}};
  return result;
}

/// "mobile" of "npu:mobile"; empty for other targets.
llvm::StringRef npuName(const CompileOptions &options) {
  llvm::StringRef name = options.target;
  return name.consume_front("npu:") ? name : "";
}

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

llvm::Expected<TargetCode> compileNpu(ModuleOp module, llvm::StringRef name) {
  const npu::Machine &machine = *npu::machineByName(name);
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
  result.members.push_back({("code/npu-" + name + ".bin").str(), HEDDLE_CODE_NPU | machine.id << 16,
                            std::vector<uint64_t>(facts.size())});
  result.contents.push_back(npu::encode(**commands, machine));
  result.manifest = llvm::json::Object{{"name", "npu"}, {"machine", name}};
  return result;
}
} // namespace

llvm::Error runPasses(ModuleOp module, const CompileOptions &options) {
  // Before there are threads: a context loads dialects in one only.
  cuda::loadKernelDialects(*module.getContext());
  npu::loadKernelDialects(*module.getContext());
  PassManager passes(module.getContext());
  if (options.afterPass) {
    options.afterPass("import", module);
    passes.addInstrumentation(std::make_unique<PassObserver>(options));
  }
  addPipeline(passes, options);
  // heddle-opt and the tests verify after each of our passes. Users' compiles do before and after all, which
  // saves a fifth of the time that a deep model's passes take; passes of others are not trusted so.
  bool verifyEach = options.afterPass || !pluginPasses().empty();
  passes.enableVerifier(verifyEach);
  auto valid = [&] { return verifyEach || succeeded(verify(module)); };
  // The reason went to the context's diagnostic handler.
  if (!valid() || failed(passes.run(module)) || !valid())
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   "the passes for target '" + options.target + "' failed");
  return llvm::Error::success();
}

llvm::Expected<std::array<uint8_t, 32>> compileToArtifact(ModuleOp module, const ParameterSource &parameters,
                                                          CompileOptions options, llvm::StringRef path) {
  auto progress = [&](const llvm::Twine &stage, double done) {
    if (options.progress)
      options.progress(stage.str(), done);
  };
  progress("passes", 0);
  OwningOpRef<ModuleOp> source(options.samples ? module.clone() : ModuleOp());
  if (auto error = runPasses(module, options))
    return std::move(error);

  std::optional<llvm::Expected<TargetCode>> compiled;
  std::optional<llvm::Expected<Samples>> samples;
  {
    llvm::DefaultThreadPool pool(llvm::hardware_concurrency());
    pool.async([&] {
      samples.emplace(options.samples ? makeSamples(*source, module, options.target, parameters)
                                      : llvm::Expected<Samples>(Samples{}));
    });
    compiled.emplace(options.target == "cuda"    ? compileCuda(module, options)
                     : !npuName(options).empty() ? compileNpu(module, npuName(options))
                                                 : compileCpu(module, options, pool));
    pool.wait();
  }
  llvm::Error errors = llvm::Error::success();
  if (!*compiled)
    errors = compiled->takeError();
  if (!*samples)
    errors = llvm::joinErrors(std::move(errors), samples->takeError());
  if (errors)
    return std::move(errors);
  TargetCode &code = **compiled;
  progress("code", 1);

  WeightPacker packer(module, parameters, options.packedParameters.get());
  auto layout = packer.plan();
  if (!layout)
    return layout.takeError();
  auto program = buildProgram(module, code.kernels, code.members, *layout);
  if (!program)
    return program.takeError();

  auto writer = ArtifactWriter::create(path, options.inputPaths);
  if (!writer)
    return writer.takeError();
  if (auto error =
          (*writer)->addMember("program.bin", llvm::ArrayRef<char>(program->data(), program->size())))
    return std::move(error);
  for (auto [member, content] : llvm::zip(code.members, code.contents))
    if (auto error =
            (*writer)->addMember(member.member, llvm::ArrayRef<char>(content.data(), content.size())))
      return std::move(error);
  if (!options.text.empty())
    if (auto error =
            (*writer)->addMember("text.bin", llvm::ArrayRef<char>(options.text.data(), options.text.size())))
      return std::move(error);
  auto addJson = [&](llvm::StringRef name, llvm::function_ref<void(llvm::json::OStream &)> print) {
    std::string text;
    llvm::raw_string_ostream out(text);
    llvm::json::OStream json(out, /*IndentSize=*/2);
    print(json);
    json.flush();
    return (*writer)->addMember(name, llvm::ArrayRef<char>(text.data(), text.size()));
  };
  if (auto error = addJson("decisions.json", [&](auto &json) { printDecisions(module, json); }))
    return std::move(error);
  if (auto error = addJson("kernels.json", [&](auto &json) { json.value(kernelsJson(module)); }))
    return std::move(error);
  const std::string &sampleData = (*samples)->data;
  if (!sampleData.empty())
    if (auto error =
            (*writer)->addMember("samples.bin", llvm::ArrayRef<char>(sampleData.data(), sampleData.size())))
      return std::move(error);
  auto produce = [&](ByteSink sink) {
    return packer.write(sink, [&](uint64_t written) {
      progress("weights", double(written) / std::max<uint64_t>(layout->size, 1));
    });
  };
  if (layout->size != 0) // a member cannot be empty; the runtime asks for none then
    if (auto error = (*writer)->addMember("weights.bin", layout->size, produce))
      return std::move(error);

  llvm::json::Object manifest;
  manifest["model"] = std::move(options.model);
  manifest["sources"] = std::move(options.sources);
  if (auto plugins = pluginsJson(); !plugins.empty())
    manifest["plugins"] = std::move(plugins);
  manifest["targets"] = llvm::json::Array{std::move(code.manifest)};
  manifest["precision"] = llvm::json::Object{{"activations", options.activations},
                                             {"row_bounds", options.rowBounds},
                                             {"kv_cache", options.cacheType}};
  if (!options.quantization.empty())
    manifest["quantization"] = std::move(options.quantization);
  manifest["samples"] = std::move((*samples)->manifest);
  return (*writer)->finish(std::move(manifest), options.durable);
}

llvm::Expected<std::string> compileToText(ModuleOp module, const CompileOptions &options,
                                          llvm::StringRef form) {
  if (auto error = runPasses(module, options))
    return std::move(error);
  std::string text;
  llvm::raw_string_ostream out(text);
  if (form == "mlir") {
    module.print(out, OpPrintingFlags().enableDebugInfo().useLocalScope());
    return text;
  }
  if (options.target == "cuda") {
    std::vector<cuda::KernelFacts> facts;
    return cudaText(module, options, form == "llvm" ? cuda::TextForm::Llvm : cuda::TextForm::Ptx, facts);
  }
  if (auto name = npuName(options); !name.empty()) {
    std::vector<npu::KernelFacts> facts;
    auto commands = emitNpu(module, *npu::machineByName(name), facts);
    if (!commands)
      return commands.takeError();
    out << **commands;
    return text;
  }
  auto levels = chosenLevels(options);
  if (form == "kernels") { // what generators make, before it is lowered
    for (const cpu::CpuLevel *level : levels) {
      std::vector<cpu::KernelFacts> facts;
      auto kernels = emitLevel(module, *level, facts);
      if (!kernels)
        return kernels.takeError();
      out << **kernels;
    }
    return text;
  }
  const cpu::CpuLevel &level = *levels.back();
  std::vector<cpu::KernelFacts> facts;
  auto kernels = emitLevel(module, level, facts);
  if (!kernels)
    return kernels.takeError();
  return cpu::compileToText(**kernels, level, form == "llvm" ? cpu::TextForm::Llvm : cpu::TextForm::Assembly,
                            backendOptions());
}

} // namespace heddle
