#include "codegen/Compiler.h"
#include "codegen/Pipelines.h"
#include "codegen/Target.h"
#include "codegen/cuda/Kernel.h"
#include "codegen/npu/Kernel.h"
#include "codegen/package/ArtifactWriter.h"
#include "codegen/package/KernelTable.h"
#include "codegen/package/Samples.h"
#include "codegen/package/Weights.h"
#include "codegen/plugin/Plugin.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Decisions.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {
namespace {

/// Shows the module to `CompileOptions::afterPass`.
struct PassObserver : PassInstrumentation {
  explicit PassObserver(const CompileOptions &options) : options(options) {}
  void runAfterPass(Pass *pass, Operation *op) override {
    if (auto module = dyn_cast<ModuleOp>(op); module && !pass->getArgument().empty())
      options.afterPass(pass->getArgument(), module);
  }
  const CompileOptions &options;
};

/// One target of an artifact.
struct Part {
  CompileOptions options;     // `target` is this part's
  OwningOpRef<ModuleOp> copy; // of the module, for all parts but the first
  ModuleOp module;
  const Target *target;
  TargetCode code;
  std::string suffix; // of the names of members that every target has
};

const Target &codeTarget(const CompileOptions &options) {
  const Target *target = findCodeTarget(options.target);
  assert(target && "callers check names of targets");
  return *target;
}

std::vector<Part> makeParts(ModuleOp module, const CompileOptions &options) {
  std::vector<Part> parts;
  std::vector<std::string> names = {options.target};
  llvm::append_range(names, options.alternatives);
  for (const std::string &name : names) {
    Part part;
    part.options = options;
    part.options.target = name;
    part.target = &codeTarget(part.options);
    part.module = module;
    if (!parts.empty()) {
      part.copy = module.clone();
      part.module = *part.copy;
      part.suffix = "-" + memberWord(name);
    }
    parts.push_back(std::move(part));
  }
  return parts;
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
  std::vector<Part> parts = makeParts(module, options);
  std::vector<CompiledModule> modules;
  for (Part &part : parts) {
    if (auto error = runPasses(part.module, part.options))
      return std::move(error);
    modules.push_back({part.options.target, part.module, part.target->isExact()});
  }

  llvm::Error errors = llvm::Error::success();
  std::optional<llvm::Expected<Samples>> samples;
  {
    llvm::DefaultThreadPool pool(llvm::hardware_concurrency());
    pool.async([&] {
      samples.emplace(options.samples ? makeSamples(*source, modules, parameters)
                                      : llvm::Expected<Samples>(Samples{}));
    });
    for (Part &part : parts) {
      auto code = part.target->compile(part.module, part.options, pool);
      if (code)
        part.code = std::move(*code);
      else
        errors = llvm::joinErrors(std::move(errors), code.takeError());
    }
    pool.wait();
  }
  if (!*samples)
    errors = llvm::joinErrors(std::move(errors), samples->takeError());
  if (errors)
    return std::move(errors);
  progress("code", 1);

  WeightPacker packer(modules, parameters, options.packedParameters.get());
  auto layouts = packer.plan();
  if (!layouts)
    return layouts.takeError();

  auto writer = ArtifactWriter::create(path, options.inputPaths);
  if (!writer)
    return writer.takeError();
  auto add = [&](llvm::StringRef name, llvm::StringRef content) {
    return (*writer)->addMember(name, llvm::ArrayRef<char>(content.data(), content.size()));
  };
  for (auto [part, layout] : llvm::zip(parts, *layouts)) {
    auto program = buildProgram(part.module, part.code.kernels, part.code.members, layout);
    if (!program)
      return program.takeError();
    if (auto error = add("program" + part.suffix + ".bin", *program))
      return std::move(error);
  }
  for (const Part &part : parts)
    for (auto [member, content] : llvm::zip(part.code.members, part.code.contents))
      if (auto error = add(member.member, content))
        return std::move(error);
  if (!options.text.empty())
    if (auto error = add("text.bin", options.text))
      return std::move(error);
  auto addJson = [&](llvm::StringRef name, llvm::function_ref<void(llvm::json::OStream &)> print) {
    std::string text;
    llvm::raw_string_ostream out(text);
    llvm::json::OStream json(out, /*IndentSize=*/2);
    print(json);
    json.flush();
    return add(name, text);
  };
  for (Part &part : parts) {
    if (auto error = addJson("decisions" + part.suffix + ".json",
                             [&](auto &json) { printDecisions(part.module, json); }))
      return std::move(error);
    if (auto error = addJson("kernels" + part.suffix + ".json",
                             [&](auto &json) { json.value(kernelsJson(part.module)); }))
      return std::move(error);
  }
  if (!(*samples)->data.empty())
    if (auto error = add("samples.bin", (*samples)->data))
      return std::move(error);
  for (size_t member = 0; member < packer.members().size(); ++member) {
    const WeightMember &facts = packer.members()[member];
    auto produce = [&](ByteSink sink) {
      return packer.write(member, sink, [&](uint64_t written) {
        progress(llvm::StringRef(facts.name).drop_back(4), double(written) / double(facts.size));
      });
    };
    if (auto error = (*writer)->addMember(facts.name, facts.size, produce))
      return std::move(error);
  }

  llvm::json::Object manifest;
  manifest["model"] = std::move(options.model);
  manifest["sources"] = std::move(options.sources);
  if (auto plugins = pluginsJson(); !plugins.empty())
    manifest["plugins"] = std::move(plugins);
  llvm::json::Array targets;
  for (Part &part : parts) {
    part.code.manifest["program"] = "program" + part.suffix + ".bin";
    targets.push_back(std::move(part.code.manifest));
  }
  manifest["targets"] = std::move(targets);
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
  if (form != "mlir")
    return codeTarget(options).text(module, options, form);
  std::string text;
  llvm::raw_string_ostream out(text);
  module.print(out, OpPrintingFlags().enableDebugInfo().useLocalScope());
  return text;
}

} // namespace heddle
