#include "tools/heddle/ImportVerb.h"
#include "codegen/plugin/Plugin.h"
#include "frontends/common/Gates.h"
#include "frontends/common/InputError.h"
#include "mlir/IR/Diagnostics.h"
#include "tools/HostFeatures.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>
#include <unistd.h>

namespace heddle::cli {

void addImportOptions(CLI::App &app, ImportVerb &verb) {
  app.add_option("model", verb.model, "Model file (.gguf)")->required()->option_text("MODEL");
  app.add_option(
         "--target", verb.targets,
         "cpu (all levels), cpu:LEVEL, cpu:native, cuda, npu:edge, npu:mobile, or several in one file; "
         "see heddle targets")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->option_text("TARGET,...");
  app.add_option("--max-context", verb.maxContext,
                 "Most tokens of a sequence; 0: the model's own, at most 4096")
      ->check(CLI::Range(0, 1 << 24))
      ->option_text("N");
  app.add_option("--max-sequences", verb.maxSequences, "Most sequences of a session (4)")
      ->check(CLI::Range(1, 4096))
      ->option_text("N");
  app.add_option("--max-chunk", verb.maxChunk, "Most tokens of one step (512)")
      ->check(CLI::Range(1, 1 << 16))
      ->option_text("N");
  app.add_option("--activations", verb.activations,
                 "Dynamic precision of activations: i8, i16, or i16 where memory or QKV and head decide")
      ->check(CLI::IsMember({"mixed", "i8", "i16"}))
      ->option_text("mixed|i8|i16");
  app.add_option("--kv-type", verb.cacheType, "Target cpu: how keys and values are stored (f16)")
      ->check(CLI::IsMember({"f16", "int8", "fp8"}))
      ->option_text("f16|int8|fp8");
  app.add_option("--tensor-cores", verb.tensorCores, "Target cuda: multiply on tensor cores (on)")
      ->check(CLI::IsMember({"on", "off"}))
      ->option_text("on|off");
  app.add_flag("--precise", verb.precise,
               "i16 everywhere: results do not depend on how tokens are cut into steps");
  app.add_option("--observe", verb.observe,
                 "Return intermediate values too: linear (what products read), attention (what it yields)")
      ->delimiter(',')
      ->check(CLI::IsMember({"linear", "attention"}))
      ->option_text("linear,attention");
  app.add_flag("--no-samples", verb.noSamples,
               "Leave out what 'heddle verify' compares with, whose making takes time with the model's size");
  app.add_option("--gates", verb.gates,
                 "Gates of attention heads, from heddle's gate fitting (docs/head-gating.md)")
      ->option_text("FILE");
  app.add_flag("--dense-gates", verb.denseGates,
               "Compute the heads that gates turn off too, to compare with");
  app.add_option("--max-memory", verb.maxMemory, "Most memory for the reader's tables (1G)")
      ->option_text("SIZE");
  app.add_option("--plugin", verb.plugins, "Load this plug-in, a path with a slash (docs/plugins.md)")
      ->allow_extra_args(false)
      ->option_text("./LIB.so");
  app.add_option("--attention", verb.attention,
                 "Compile all attention as this variant: causal, window, alibi, or one of a plug-in")
      ->option_text("NAME[:PARAMETER=NUMBER,...]");
  app.add_option("--allow-external-dir", verb.externalFolders, "Links in the model's folder may lead there")
      ->allow_extra_args(false)
      ->option_text("DIR");
}

// A level of the CPU.
static const cpu::CpuLevel *parseLevel(llvm::StringRef name) {
  if (name == "native") {
    const cpu::CpuLevel *level = nullptr;
    uint32_t host = hostCpuFeatures();
    for (const cpu::CpuLevel &candidate : cpu::cpuLevels())
      if ((candidate.features & ~host) == 0)
        level = &candidate;
    if (!level)
      fail(ExitUnsupported,
           "target 'cpu:native': this processor has none of the levels; it offers " + cpuFeatureNames(host));
    return level;
  }
  if (const cpu::CpuLevel *level = cpu::cpuLevelByName(name))
    return level;
  std::string known = "native";
  for (const cpu::CpuLevel &candidate : cpu::cpuLevels())
    known += ", " + std::string(candidate.name);
  fail(ExitUsage, "unknown level '" + printable(name.str()) + "' of target cpu; known levels: " + known);
}

Targets parseTargets(const std::vector<std::string> &targets) {
  Targets parsed;
  bool all = false;
  for (const std::string &target : targets) {
    auto [device, name] = llvm::StringRef(target).split(':');
    if (device == "cpu") {
      parsed.names.push_back("cpu");
      if (name.empty())
        all = true;
      else
        parsed.levels.push_back(parseLevel(name));
    } else if (device == "npu") {
      if (!name.empty() && name != "edge" && name != "mobile")
        fail(ExitUsage, "unknown target '" + printable(target) + "'; known targets: npu:edge, npu:mobile");
      parsed.names.push_back("npu:" + (name.empty() ? "mobile" : name.str()));
    } else if (device == "cuda") {
      if (!name.empty() && name != "sm_80")
        fail(ExitUnsupported, "target '" + printable(target) +
                                  "' is not available; code for cuda:sm_80 runs on every later GPU too");
      parsed.names.push_back("cuda");
    } else if (llvm::is_contained(pluginTargets(), target)) {
      parsed.names.push_back(target);
    } else {
      std::string known = llvm::join(pluginTargets(), ", ");
      fail(ExitUsage, "unknown target '" + printable(target) + "'; known targets: cpu, cuda, npu" +
                          (known.empty() ? "" : ", ") + known);
    }
  }
  if (all)
    parsed.levels.clear();
  // One order, whatever the user's: the same artifact. Levels are in ascending preference.
  auto sort = [](auto &list) {
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
  };
  sort(parsed.levels);
  sort(parsed.names);
  std::stable_partition(parsed.names.begin(), parsed.names.end(),
                        [](const std::string &name) { return !llvm::is_contained(pluginTargets(), name); });
  return parsed;
}

std::vector<ImportVerb> eachTarget(const ImportVerb &verb) {
  Targets targets = parseTargets(verb.targets);
  if (targets.names.size() == 1)
    return {verb};
  std::vector<ImportVerb> verbs;
  for (const std::string &name : targets.names) {
    verbs.push_back(verb);
    verbs.back().targets.clear();
    for (const cpu::CpuLevel *level : targets.levels)
      if (name == "cpu")
        verbs.back().targets.push_back("cpu:" + std::string(level->name));
    if (verbs.back().targets.empty())
      verbs.back().targets.push_back(name);
  }
  return verbs;
}

void loadPlugins(const ImportVerb &verb) {
  for (const std::string &plugin : verb.plugins)
    if (llvm::Error error = loadPlugin(plugin))
      fail(ExitUsage, printableText(llvm::toString(std::move(error))));
}

Importer::Importer(const ImportVerb &verb) : verb(verb) {
  loadPlugins(verb);
  context.appendDialectRegistry(pluginDialects());
  if (verb.attention.find_first_not_of(
          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:=,+") != std::string::npos)
    fail(ExitUsage,
         "--attention takes NAME[:PARAMETER=NUMBER,...], but found '" + printable(verb.attention) + "'");
  context.getDiagEngine().registerHandler([this](mlir::Diagnostic &diagnostic) {
    std::string text;
    llvm::raw_string_ostream out(text);
    std::string where = mlir::isa<mlir::UnknownLoc>(diagnostic.getLocation()) ? "" : [&] {
      std::string location;
      llvm::raw_string_ostream(location) << diagnostic.getLocation();
      return location + ": ";
    }();
    out << where << diagnostic;
    for (mlir::Diagnostic &note : diagnostic.getNotes())
      out << "\nnote: " << note;
    if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
      diagnostics += (diagnostics.empty() ? "" : "\n") + text;
    else if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Warning)
      llvm::errs() << "heddle: warning: " << printableText(text) << "\n";
    return mlir::success();
  });
  ImportOptions options;
  options.maxContext = verb.maxContext;
  options.maxSlots = verb.maxSequences;
  options.maxRows = verb.maxChunk;
  options.allowedFolders = verb.externalFolders;
  if (!verb.maxMemory.empty())
    options.memoryLimit = parseBytes(verb.maxMemory, "--max-memory");
  auto model = importModel(context, verb.model, options);
  if (!model)
    raise(model.takeError());
  imported = std::move(*model);
  if (!verb.gates.empty())
    if (llvm::Error error = addGates(imported, verb.gates))
      raise(std::move(error));
  llvm::raw_string_ostream(original) << *imported.module;
}

CompileOptions Importer::compileOptions() const {
  CompileOptions options;
  Targets targets = parseTargets(verb.targets);
  options.target = targets.names.front();
  options.alternatives.assign(targets.names.begin() + 1, targets.names.end());
  options.levels = targets.levels;
  options.activations = verb.precise ? "i16" : verb.activations;
  if (verb.cacheType != "f16" && targets.names != std::vector<std::string>{"cpu"})
    fail(ExitUnsupported,
         "--kv-type " + verb.cacheType + " is for target 'cpu', but found '" + targets.names.back() + "'");
  options.cacheType = verb.cacheType;
  options.tensorCores = verb.tensorCores == "on";
  options.observe = llvm::join(verb.observe, ",");
  options.inputPaths = {verb.model};
  if (!verb.gates.empty())
    options.inputPaths.push_back(verb.gates);
  options.denseGates = verb.denseGates;
  options.samples = !verb.noSamples;
  options.attention = verb.attention;
  return options;
}

// A file of this user alone in the folder for temporary files; empty when none can be made.
static std::string writeReproducer(const std::string &module) {
  const char *folder = std::getenv("TMPDIR");
  std::string path =
      std::string(folder && folder[0] == '/' ? folder : "/tmp") + "/heddle-reproducer-XXXXXX.mlir";
  int descriptor = mkstemps(path.data(), 5);
  if (descriptor < 0)
    return "";
  llvm::raw_fd_ostream out(descriptor, /*shouldClose=*/true);
  out << module;
  out.close();
  bool failed = out.has_error();
  out.clear_error();
  return failed ? "" : path;
}

// takeFailure() with one addition: the artifact's writer reports the system's errors by their code.
static heddle::Failure failureOf(llvm::Error error) {
  if (!error.isA<llvm::StringError>())
    return takeFailure(std::move(error));
  int exitCode = ExitInternal;
  error = llvm::handleErrors(std::move(error), [&](std::unique_ptr<llvm::StringError> string) {
    std::error_code code = string->convertToErrorCode();
    if (code == std::errc::invalid_argument)
      exitCode = ExitUsage;
    else if (code == std::errc::not_supported)
      exitCode = ExitUnsupported;
    else if (code.category() == std::generic_category())
      exitCode = ExitInputOutput;
    return llvm::Error(std::move(string));
  });
  return {exitCode, llvm::toString(std::move(error))};
}

void Importer::raise(llvm::Error error) {
  heddle::Failure failure = failureOf(std::move(error));
  std::string message = failure.message;
  if (!diagnostics.empty())
    message += "\n" + diagnostics;
  if (failure.exitCode == ExitInternal && !original.empty()) {
    std::string path = writeReproducer(original);
    message = "internal error: " + message;
    if (!path.empty())
      message +=
          "\nthe model's graph, without weights, was written to " + path + "; please attach it to a report";
  }
  fail(static_cast<Exit>(failure.exitCode), message);
}

} // namespace heddle::cli
