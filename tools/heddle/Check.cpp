// Says what would become of a model: whether it compiles, what it needs, what the passes decide. Writes
// nothing.
#include "tools/heddle/Explanation.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdio>
#include <map>

namespace heddle::cli {

namespace {
struct CheckVerb {
  ImportVerb import;
  Format format = Format::Text;
};

// Generators refuse what they cannot make; so all kernels are made, but not optimized or assembled.
void makeKernels(const ImportVerb &request) {
  Importer importer(request);
  auto text = compileToText(importer.module(), importer.compileOptions(), "kernels");
  if (!text)
    importer.raise(text.takeError());
}

llvm::json::Object checkTarget(const ImportVerb &request, const std::string &target, Format format) {
  makeKernels(request);
  Explanation explanation = explainModel(request, /*withIr=*/false);
  std::map<std::string, std::map<std::string, int64_t>> decisions; // by pass and kind
  for (const DecisionNote &decision : explanation.decisions)
    ++decisions[decision.pass][decision.kind];
  int64_t arena = 0;
  for (const VariantNote &variant : explanation.variants)
    arena = std::max(arena, variant.arenaBytes);
  if (format == Format::Json) {
    llvm::json::Object byPass;
    for (const auto &[pass, kinds] : decisions) {
      llvm::json::Object counts;
      for (const auto &[kind, count] : kinds)
        counts[kind] = count;
      byPass[pass] = std::move(counts);
    }
    return llvm::json::Object{{"model", llvm::json::fixUTF8(explanation.name)},
                              {"architecture", llvm::json::fixUTF8(explanation.architecture)},
                              {"target", target},
                              {"compiles", true},
                              {"weight_bytes", explanation.weightBytes},
                              {"cache_bytes_per_sequence", explanation.cacheBytesPerSequence},
                              {"arena_bytes", arena},
                              {"max_context_tokens", explanation.maxContext},
                              {"kernels", static_cast<int64_t>(explanation.kernels)},
                              {"decisions", std::move(byPass)}};
  }
  auto size = [](int64_t bytes) { return formatBytes(static_cast<uint64_t>(bytes)); };
  std::printf("%s: compiles for %s\n  model        %s (%s)\n  weights      %s in the file, %s packed\n"
              "  memory       %s arena for %lld rows, %s of cache per sequence of %lld tokens\n"
              "  kernels      %zu\n",
              printable(request.model).c_str(), target.c_str(), printable(explanation.name).c_str(),
              printable(explanation.architecture).c_str(), size(explanation.sourceBytes).c_str(),
              size(explanation.weightBytes).c_str(), size(arena).c_str(),
              static_cast<long long>(explanation.maxChunk), size(explanation.cacheBytesPerSequence).c_str(),
              static_cast<long long>(explanation.maxContext), explanation.kernels);
  for (const VariantNote &variant : explanation.variants)
    std::printf("  %-12s %zu launches\n", printable(variant.name).c_str(), variant.launches.size());
  std::printf("decisions (heddle explain has each one)\n");
  for (const auto &[pass, kinds] : decisions) {
    std::string counts;
    for (const auto &[kind, count] : kinds)
      counts += (counts.empty() ? "" : ", ") + printable(kind) + " " + std::to_string(count);
    std::printf("  %-28s %s\n", printable(pass).c_str(), counts.c_str());
  }
  return {};
}

int check(const CheckVerb &verb) {
  loadPlugins(verb.import);
  std::vector<std::string> names = parseTargets(verb.import.targets).names;
  llvm::json::Array targets;
  for (auto [request, name] : llvm::zip(eachTarget(verb.import), names))
    targets.push_back(checkTarget(request, name, verb.format));
  if (verb.format == Format::Json)
    llvm::outs() << llvm::formatv("{0:2}\n",
                                  targets.size() == 1 ? targets[0] : llvm::json::Value(std::move(targets)));
  return ExitOk;
}
} // namespace

void addCheck(CLI::App &app, Action &action) {
  auto *verb = app.add_subcommand(
      "check", "Say whether a model compiles, what is unsupported, what memory it takes; writes nothing");
  auto options = std::make_shared<CheckVerb>();
  addImportOptions(*verb, options->import);
  addFormatOption(*verb, options->format);
  verb->callback([&action, options] { action = [options] { return check(*options); }; });
}

} // namespace heddle::cli
