// Says what would become of a model: whether it compiles, what it needs, what the passes decide. Writes
// nothing.
#include "codegen/Gaps.h"
#include "tools/heddle/Explanation.h"
#include "llvm/ADT/StringExtras.h"
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

// All kernels are made, but not optimized or assembled. What has no code is told, all of it.
std::vector<Gap> makeKernels(const ImportVerb &request) {
  Importer importer(request);
  auto gaps = findGaps(importer.module(), importer.compileOptions());
  if (!gaps)
    importer.raise(gaps.takeError());
  return std::move(*gaps);
}

llvm::json::Object tellGaps(const std::vector<Gap> &gaps, const ImportVerb &request,
                            const std::string &target, Format format) {
  llvm::json::Array rows;
  if (format == Format::Text)
    std::printf("%s: does not compile for %s: it has no code for %zu kernel%s\n",
                printable(request.model).c_str(), target.c_str(), gaps.size(), gaps.size() == 1 ? "" : "s");
  for (const Gap &gap : gaps) {
    if (format == Format::Text)
      std::printf("  %s\n    for %s\n", printable(gap.why).c_str(),
                  printable(llvm::join(gap.sources, ", ")).c_str());
    llvm::json::Array sources;
    for (const std::string &source : gap.sources)
      sources.push_back(llvm::json::fixUTF8(source));
    rows.push_back(llvm::json::Object{{"kernel", llvm::json::fixUTF8(gap.kernel)},
                                      {"reason", llvm::json::fixUTF8(gap.why)},
                                      {"sources", std::move(sources)}});
  }
  return llvm::json::Object{{"target", target}, {"compiles", false}, {"unsupported", std::move(rows)}};
}

llvm::json::Object checkTarget(const ImportVerb &request, const std::string &target, Format format) {
  if (std::vector<Gap> gaps = makeKernels(request); !gaps.empty())
    return tellGaps(gaps, request, target, format);
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
  return llvm::json::Object{{"compiles", true}};
}

int check(const CheckVerb &verb) {
  loadPlugins(verb.import);
  std::vector<std::string> names = parseTargets(verb.import.targets).names;
  llvm::json::Array targets;
  bool all = true;
  for (auto [request, name] : llvm::zip(eachTarget(verb.import), names)) {
    llvm::json::Object found = checkTarget(request, name, verb.format);
    all &= *found.getBoolean("compiles");
    targets.push_back(std::move(found));
  }
  if (verb.format == Format::Json)
    llvm::outs() << llvm::formatv("{0:2}\n",
                                  targets.size() == 1 ? targets[0] : llvm::json::Value(std::move(targets)));
  return all ? ExitOk : ExitUnsupported;
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
