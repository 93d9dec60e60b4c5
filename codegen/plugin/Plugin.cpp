#include "codegen/plugin/Plugin.h"
#include "ir/Sha256.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include <dlfcn.h>

namespace heddle {
namespace {

struct Loaded {
  std::string name, version, digest, passes;
};
std::vector<Loaded> &loaded() {
  static std::vector<Loaded> plugins;
  return plugins;
}

mlir::DialectRegistry &dialects() {
  static mlir::DialectRegistry registry;
  return registry;
}

llvm::Error refuse(llvm::StringRef path, const llvm::Twine &why) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "plug-in '" + path + "': " + why);
}
} // namespace

void PluginRegistry::addToPipeline(llvm::StringRef added) {
  passes += (passes.empty() ? "" : ",") + added.str();
}

void PluginRegistry::addAttention(std::unique_ptr<mlir::heddle::BaseAttention> variant) {
  std::string name = variant->name().str();
  if (mlir::failed(mlir::heddle::registerAttention(std::move(variant))))
    refused = "attention '" + name + "'";
}

void PluginRegistry::addWeightScheme(const WeightScheme &scheme) {
  if (!registerWeightScheme(scheme))
    refused = "weight scheme '" + std::string(scheme.name) + "'";
}

void PluginRegistry::addTarget(std::unique_ptr<Target> target, mlir::heddle::TargetDescription description) {
  description.name = target->name(); // which lives as long as the program
  bool isWord =
      !description.name.empty() && description.name.size() <= 15 &&
      llvm::all_of(description.name, [](char c) { return llvm::isLower(c) || llvm::isDigit(c) || c == '-'; });
  if (isWord && mlir::heddle::registerTarget(description))
    registerCodeTarget(std::move(target));
  else
    refused = "target '" + description.name.str() + "'" + (isWord ? "" : " is no word of a-z, 0-9 and -, or");
}

llvm::Error loadPlugin(llvm::StringRef path) {
  if (!path.contains('/'))
    return refuse(path, "expected a path with a slash, as in './" + path + "'");
  // The file is opened once: what is hashed is what is loaded.
  auto file = llvm::sys::fs::openNativeFileForRead(path);
  if (!file)
    return refuse(path, llvm::toString(file.takeError()));
  struct Closer {
    llvm::sys::fs::file_t &file;
    ~Closer() { llvm::sys::fs::closeFile(file); }
  } closer{*file};
  auto content = llvm::MemoryBuffer::getOpenFile(*file, path, /*FileSize=*/-1);
  if (!content)
    return refuse(path, content.getError().message());
  Sha256 hash;
  hash.update({reinterpret_cast<const uint8_t *>((*content)->getBufferStart()), (*content)->getBufferSize()});
  std::string digest = llvm::toHex(hash.final(), /*LowerCase=*/true);

  if (llvm::any_of(loaded(), [&](const Loaded &plugin) { return plugin.digest == digest; }))
    return llvm::Error::success();

  std::string opened = "/proc/self/fd/" + std::to_string(*file);
  void *library = dlopen(opened.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return refuse(path, dlerror());
  auto *info = static_cast<const PluginInfo *>(dlsym(library, "heddle_plugin"));
  if (!info)
    return refuse(path, "expected the symbol 'heddle_plugin' (see HEDDLE_PLUGIN), but found none");
  if (info->structSize != sizeof(PluginInfo) || info->api != kPluginApi)
    return refuse(path, "expected plug-in interface " + llvm::Twine(kPluginApi) + ", but found " +
                            llvm::Twine(info->api) + "; build it against this compiler's package");
  if (llvm::StringRef(info->llvm) != LLVM_VERSION_STRING)
    return refuse(path, "expected LLVM " LLVM_VERSION_STRING ", but found " + llvm::Twine(info->llvm) +
                            "; build it against this compiler's package");
  PluginRegistry registry(dialects());
  info->load(registry);
  if (!registry.refused.empty())
    return refuse(path, registry.refused + " is already known; choose another name");
  mlir::registerTransformsPasses();
  mlir::heddle::registerPasses();
  mlir::OpPassManager trial("builtin.module");
  std::string why;
  llvm::raw_string_ostream complaint(why);
  if (!registry.passes.empty() && mlir::failed(mlir::parsePassPipeline(registry.passes, trial, complaint)))
    return refuse(path, "its passes '" + registry.passes + "' are not a pipeline: " + why);
  loaded().push_back({info->name, info->version, digest, registry.passes});
  return llvm::Error::success();
}

llvm::Error loadPlugins(int &argc, char **argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    llvm::StringRef argument = argv[i];
    if (argument != "--plugin" && !argument.starts_with("--plugin=")) {
      argv[kept++] = argv[i];
      continue;
    }
    if (!argument.consume_front("--plugin=")) {
      if (++i == argc)
        return llvm::createStringError("expected a path after --plugin");
      argument = argv[i];
    }
    if (auto error = loadPlugin(argument))
      return error;
  }
  argc = kept;
  argv[argc] = nullptr;
  return llvm::Error::success();
}

const mlir::DialectRegistry &pluginDialects() { return dialects(); }

llvm::json::Array pluginsJson() {
  llvm::json::Array plugins;
  for (const Loaded &plugin : loaded())
    plugins.push_back(
        llvm::json::Object{{"name", plugin.name}, {"version", plugin.version}, {"sha256", plugin.digest}});
  return plugins;
}

std::string pluginPasses() {
  std::string passes;
  for (const Loaded &plugin : loaded())
    if (!plugin.passes.empty())
      passes += (passes.empty() ? "" : ",") + plugin.passes;
  return passes;
}

} // namespace heddle
