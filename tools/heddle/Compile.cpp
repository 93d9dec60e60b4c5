#include "codegen/cuda/Assemble.h"
#include "codegen/package/ObjectWriter.h"
#include "codegen/package/Program.h"
#include "tools/heddle/ImportVerb.h"
#include "tools/heddle/KernelDump.h"
#include "tools/heddle/Quantize.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <chrono>
#include <sys/stat.h>
#include <unistd.h>

namespace heddle::cli {

namespace {
struct CompileVerb {
  ImportVerb import;
  QuantizeOptions quantize;
  DumpOptions dump;
  Format format = Format::Text;
  std::string output, emit, weights = "packed", chatTemplate;
};

// A bar on a terminal, nothing elsewhere.
class Progress {
public:
  void operator()(llvm::StringRef stage, double done) {
    if (!terminal)
      return;
    int percent = static_cast<int>(done * 100);
    if (stage == shownStage && percent == shownPercent)
      return;
    shownStage = stage.str();
    shownPercent = percent;
    std::string bar(static_cast<size_t>(percent) / 5, '#');
    bar.resize(20, '.');
    llvm::errs() << llvm::formatv("\r\x1b[K{0,-24} [{1}] {2}%", stage, bar, percent);
    shown = true;
  }
  void clear() {
    if (shown)
      llvm::errs() << "\r\x1b[K";
    shown = false;
  }

private:
  bool terminal = isatty(STDERR_FILENO);
  bool shown = false;
  std::string shownStage;
  int shownPercent = -1;
};

void refuseOwnInput(const std::string &model, const std::string &output) {
  struct stat in, out;
  if (stat(model.c_str(), &in) == 0 && stat(output.c_str(), &out) == 0 && in.st_dev == out.st_dev &&
      in.st_ino == out.st_ino)
    fail(ExitUsage, "the output '" + printable(output) + "' is the input itself; name another file with -o");
}

// Bytes of weights that the model's files hold, and of KV cache per sequence.
std::pair<uint64_t, uint64_t> estimate(mlir::ModuleOp module, int64_t context, const std::string &cacheType) {
  uint64_t weights = 0, cache = 0;
  for (auto param : module.getOps<mlir::heddle::ParamOp>())
    if (param.getFile())
      weights += valueBytes(param.getType(), 1);
  for (auto op : module.getOps<mlir::heddle::CacheOp>()) {
    auto type = mlir::cast<mlir::heddle::KvCacheType>(op.getType()).withElements(cacheType);
    uint64_t pages = (static_cast<uint64_t>(context) + HEDDLE_PAGE_TOKENS - 1) / HEDDLE_PAGE_TOKENS;
    cache += pages * HEDDLE_PAGE_TOKENS * static_cast<uint64_t>(type.tokenBytes());
  }
  return {weights, cache};
}

void emitText(const CompileVerb &verb, Importer &importer, CompileOptions options) {
  auto text = compileToText(importer.module(), options, verb.emit);
  if (!text)
    importer.raise(text.takeError());
  if (verb.output.empty() || verb.output == "-")
    llvm::outs() << *text;
  else
    writeFileAtomically(verb.output, *text);
}

// Output of `--emit obj|lib`: what is linked, and the header beside it.
struct Linkable {
  std::string file, header, name, artifact;
};

// `output` or the model's stem; what a C identifier cannot hold becomes '_'.
Linkable linkableFor(const CompileVerb &verb) {
  bool isLibrary = verb.emit == "lib";
  Linkable linkable;
  std::string stem = llvm::sys::path::stem(verb.output.empty() ? verb.import.model : verb.output).str();
  linkable.file = !verb.output.empty() ? verb.output : isLibrary ? "lib" + stem + ".a" : stem + ".o";
  llvm::SmallString<128> header(linkable.file);
  llvm::sys::path::remove_filename(header);
  llvm::sys::path::append(header, stem + ".h");
  linkable.header = header.str().str();
  linkable.name =
      isLibrary && llvm::StringRef(stem).starts_with("lib") && !verb.output.empty() ? stem.substr(3) : stem;
  for (char &c : linkable.name)
    if (!llvm::isAlnum(c))
      c = '_';
  linkable.artifact = linkable.file + ".part.heddle";
  return linkable;
}

int compile(const CompileVerb &verb) {
  if (verb.weights != "packed")
    fail(ExitUnsupported, "--weights " + verb.weights + " is not available yet; packed weights are");
  bool isLinkable = verb.emit == "obj" || verb.emit == "lib";
  loadPlugins(verb.import); // they may bring schemes
  Targets all = parseTargets(verb.import.targets);
  if (all.names.size() > 1 && (!verb.emit.empty() || !verb.dump.kernels.empty()))
    fail(ExitUsage, "--emit and --dump-kernels show one target; found " + llvm::join(all.names, ", "));
  // Forms that come of one target alone; mlir comes of all.
  llvm::StringRef target = llvm::StringRef(all.names.front()).split(':').first;
  for (auto [form, targets] : {std::pair("asm", "cpu"),
                               {"obj", "cpu"},
                               {"lib", "cpu"},
                               {"ptx", "cuda"},
                               {"npu", "npu"},
                               {"llvm", "cpu or cuda"}})
    if (verb.emit == form && !llvm::StringRef(targets).contains(target))
      fail(ExitUsage, "--emit " + verb.emit + " goes with --target " + targets + " only");
  std::string output = verb.output;
  if (output.empty())
    output = (llvm::sys::path::stem(verb.import.model) + ".heddle").str();
  Linkable linkable;
  if (isLinkable) {
    linkable = linkableFor(verb);
    output = linkable.file;
    refuseOwnInput(verb.import.model, linkable.header);
  }
  refuseOwnInput(verb.import.model, output);

  auto start = std::chrono::steady_clock::now();
  auto quantization = planQuantization(verb.import, verb.quantize);
  Importer importer(verb.import);
  const ImportedModel &model = importer.model();
  CompileOptions options = importer.compileOptions();
  if (llvm::Error error = quantization->apply(importer.module(), *model.files, options))
    importer.raise(std::move(error));
  PassPrinter printer(verb.dump, options);
  if (!verb.dump.kernels.empty())
    return dumpKernels(importer, std::move(options), verb.dump.kernels);
  if (!verb.emit.empty() && !isLinkable) {
    emitText(verb, importer, std::move(options));
    printer.check();
    return ExitOk;
  }

  std::string chatTemplate = "none";
  if (model.tokenizer) {
    auto text = writeTextMember(*model.tokenizer, {verb.chatTemplate});
    if (!text)
      importer.raise(text.takeError());
    for (const std::string &warning : text->warnings)
      llvm::errs() << "heddle: warning: " << printable(warning) << "\n";
    options.text = std::move(text->bytes);
    chatTemplate = text->chatTemplate;
  }
  const ModelFacts &facts = model.facts;
  options.model = llvm::json::Object{{"name", facts.name},
                                     {"architecture", facts.architecture},
                                     {"vocabulary", facts.vocabulary},
                                     {"context_length", facts.contextLength},
                                     {"max_context", facts.maxContext},
                                     {"max_sequences", facts.maxSlots},
                                     {"max_chunk", facts.maxRows},
                                     {"chat_template", chatTemplate}};
  for (size_t index = 0; index < model.files->count(); ++index) {
    const InputFile &file = model.files->file(index);
    options.sources.push_back(llvm::json::Object{{"name", file.name()},
                                                 {"size_bytes", static_cast<int64_t>(file.bytes().size())},
                                                 {"sha256", model.files->sha256(index)}});
  }
  auto [weights, cache] = estimate(importer.module(), facts.maxContext, verb.import.cacheType);
  llvm::errs() << "compiling " << printable(facts.name) << " (" << printable(facts.architecture)
               << "): " << formatBytes(weights) << " of weights";
  if (cache)
    llvm::errs() << ", " << formatBytes(cache) << " of memory per sequence of " << facts.maxContext
                 << " tokens";
  llvm::errs() << "\n";

  if (llvm::is_contained(all.names, "cuda"))
    options.ptxas = cuda::findPtxas();
  Progress progress;
  options.progress = [&](llvm::StringRef stage, double done) { progress(stage, done); };
  auto digest = compileToArtifact(importer.module(), *model.files, std::move(options),
                                  isLinkable ? linkable.artifact : output);
  progress.clear();
  if (!digest)
    importer.raise(digest.takeError());
  printer.check();
  if (isLinkable) {
    auto write = verb.emit == "lib" ? writeLibrary : writeObject;
    llvm::Error error = write(linkable.artifact, linkable.file, linkable.header, linkable.name);
    unlink(linkable.artifact.c_str());
    if (error)
      importer.raise(std::move(error));
  }
  recordTrust(digest->data()); // what this user compiled, this user may run
  struct stat file;
  if (stat(output.c_str(), &file) != 0)
    fail(ExitInputOutput, printable(output) + ": vanished after it was written");
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (verb.format == Format::Json)
    llvm::outs() << llvm::formatv("{0:2}\n", llvm::json::Value(llvm::json::Object{
                                                 {"file", llvm::json::fixUTF8(output)},
                                                 {"size_bytes", static_cast<int64_t>(file.st_size)},
                                                 {"cache_bytes_per_sequence", static_cast<int64_t>(cache)},
                                                 {"digest", "sha256:" + hex(digest->data(), digest->size())},
                                                 {"seconds", seconds}}));
  else
    llvm::outs() << printable(output) << ": " << formatBytes(static_cast<uint64_t>(file.st_size))
                 << llvm::formatv(", compiled in {0:f1} s\n", seconds);
  return ExitOk;
}
} // namespace

void addCompile(CLI::App &app, Action &action) {
  auto *verb =
      app.add_subcommand("compile", "Compile a model to one file of machine code, weights and metadata");
  auto options = std::make_shared<CompileVerb>();
  addImportOptions(*verb, options->import);
  addQuantizeOptions(*verb, options->quantize);
  addDumpOptions(*verb, options->dump);
  addFormatOption(*verb, options->format);
  verb->add_option("-o,--output", options->output, "Result; default: the model's stem and .heddle")
      ->option_text("FILE");
  verb->add_option("--emit", options->emit,
                   "Print an intermediate form (mlir, llvm, asm), or make an object file or library to link, "
                   "with a header beside it")
      ->check(CLI::IsMember({"mlir", "llvm", "asm", "obj", "lib", "ptx", "npu"}))
      ->option_text("FORM");
  verb->add_option("--weights", options->weights, "packed: as kernels read them")
      ->check(CLI::IsMember({"packed", "reference"}))
      ->option_text("packed|reference");
  verb->add_option("--chat-template", options->chatTemplate,
                   "Template of chats, where the model's own is not recognized")
      ->check(CLI::IsMember(chatTemplateNames()))
      ->option_text("NAME");
  verb->callback([&action, options] { action = [options] { return compile(*options); }; });
}

} // namespace heddle::cli
