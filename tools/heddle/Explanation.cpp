#include "tools/heddle/Explanation.h"
#include "codegen/package/KernelTable.h"
#include "codegen/package/Program.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/SymbolTable.h"
#include "passes/Decisions.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include <cstdio>
#include <map>

namespace heddle::cli {

using namespace mlir::heddle;

namespace {
int64_t fact(mlir::ModuleOp module, llvm::StringRef name) {
  auto facts = module->getAttrOfType<mlir::DictionaryAttr>(kModelAttr);
  auto value = facts ? facts.getAs<mlir::IntegerAttr>(name) : mlir::IntegerAttr();
  return value ? value.getInt() : 0;
}

std::string formatName(mlir::Type type) {
  if (auto stored = mlir::dyn_cast<StoredType>(type))
    return stringifyFormat(stored.getEncoding().getFormat()).str();
  std::string text;
  llvm::raw_string_ostream(text) << mlir::cast<mlir::ShapedType>(type).getElementType();
  return text;
}

class Collector {
public:
  Collector(mlir::ModuleOp module, Explanation &out) : module(module), symbols(module), out(out) {
    for (const DecisionNote &decision : out.decisions)
      if (decision.kind == "precision")
        reasons[decision.source].push_back(decision.reason);
    for (auto kernel : module.getOps<KernelOp>())
      costs[kernel.getSymName()] = kernelCost(kernel);
    out.kernels = costs.size();
  }

  void addVariant(mlir::func::FuncOp function) {
    VariantNote variant;
    variant.name = function.getSymName().str();
    if (auto bytes = function->getAttrOfType<mlir::IntegerAttr>("heddle.arena_bytes"))
      variant.arenaBytes = bytes.getInt();
    int64_t rows = fact(module, "max_rows");
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (auto dims = function.getArgAttrOfType<mlir::ArrayAttr>(i, kDimsAttr))
        for (auto dim : dims.getAsRange<DimAttr>())
          if (dim.getName() == "n")
            rows = dim.getMax();
    llvm::DenseMap<mlir::Operation *, size_t> numbers;
    for (auto launch : function.getBody().front().getOps<LaunchOp>())
      numbers.try_emplace(launch, numbers.size());
    for (auto launch : function.getBody().front().getOps<LaunchOp>())
      variant.launches.push_back(note(launch, rows, numbers));
    out.variants.push_back(std::move(variant));
  }

private:
  LaunchNote note(LaunchOp launch, int64_t rows, const llvm::DenseMap<mlir::Operation *, size_t> &numbers) {
    LaunchNote note;
    std::string sources = sourceNames(launch.getLoc());
    for (llvm::StringRef name : llvm::split(sources, '+'))
      note.sources.push_back(name.str());
    note.layer = layerOf(note.sources.front());
    note.kernel = launch.getKernel().str();
    note.rows = launch.getRows().str();
    note.barrier = launch.getBarrier();
    auto kernel = symbols.lookup<KernelOp>(launch.getKernel());
    note.family = stringifyFamily(kernel.getFamily()).str();
    note.target = kernel.getTarget().str();
    const KernelCost &cost = costs[launch.getKernel()];
    note.weightBytes = cost.weightBytes;
    note.bytesPerRow = cost.bytesPerRow;
    note.multiplyAdds = cost.multiplyAdds;
    note.multiplyAddsPerToken = cost.multiplyAddsPerToken;
    for (auto linear : kernel.getBody().front().getOps<LinearOp>()) {
      std::string input = formatName(linear.getInput().getType());
      note.precision = formatName(linear.getWeight().getType()) + " x " +
                       (llvm::StringRef(input).starts_with("act_") ? input.substr(4) : input);
      for (const std::string &source : note.sources)
        if (auto found = reasons.find(source); found != reasons.end() && note.why.empty())
          note.why = found->second[std::min(out.variants.size(), found->second.size() - 1)];
    }
    if (auto arena = launch.getArena())
      for (auto [offset, result] : llvm::zip(*arena, launch.getResults())) {
        if (offset < 0)
          continue;
        size_t last = numbers.lookup(launch);
        for (mlir::Operation *user : result.getUsers())
          if (auto found = numbers.find(user); found != numbers.end())
            last = std::max(last, found->second);
        int64_t bound = note.rows == "n" ? rows : std::min(rows, fact(module, "max_rows"));
        note.buffers.push_back({offset, static_cast<int64_t>(valueBytes(result.getType(), bound)), last});
      }
    return note;
  }

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  Explanation &out;
  std::map<std::string, std::vector<std::string>> reasons; // by source node, in the order of variants
  llvm::StringMap<KernelCost> costs;
};
} // namespace

std::string LaunchNote::key() const {
  std::string key = kernel + (barrier ? " barrier" : "");
  for (const std::string &source : sources)
    key += " " + withoutLayer(source);
  return key;
}

Explanation explainModel(const ImportVerb &request, bool withIr) {
  Importer importer(request);
  Explanation out;
  const ModelFacts &facts = importer.model().facts;
  out.name = facts.name;
  out.architecture = facts.architecture;
  out.vocabulary = facts.vocabulary;
  out.maxContext = facts.maxContext;
  out.maxSequences = facts.maxSlots;
  out.maxChunk = facts.maxRows;
  mlir::ModuleOp module = importer.module();
  for (auto param : module.getOps<ParamOp>())
    if (param.getFile())
      out.sourceBytes += static_cast<int64_t>(valueBytes(param.getType(), 1));
  for (auto cache : module.getOps<CacheOp>()) {
    auto type = mlir::cast<KvCacheType>(cache.getType()).withElements(request.cacheType);
    int64_t pages = (facts.maxContext + HEDDLE_PAGE_TOKENS - 1) / HEDDLE_PAGE_TOKENS;
    out.cacheBytesPerSequence += pages * HEDDLE_PAGE_TOKENS * type.tokenBytes();
  }
  CompileOptions options = importer.compileOptions();
  if (withIr)
    options.afterPass = [&](llvm::StringRef pass, mlir::ModuleOp now) {
      mlir::Attribute decisions = now->removeAttr(kDecisionsAttr); // the page has them elsewhere
      out.passes.push_back({pass.str(), listIr(now)});
      if (decisions)
        now->setAttr(kDecisionsAttr, decisions);
    };
  if (llvm::Error error = runPasses(module, options))
    importer.raise(std::move(error));
  for (const Decision &decision : decisionsOf(module))
    out.decisions.push_back({decision.pass.str(), decision.kind.str(), sourceNames(decision.at),
                             decision.reason.str(), decision.cost, options.target});
  llvm::StringSet<> read;
  for (auto function : module.getOps<mlir::func::FuncOp>())
    for (auto get : function.getBody().front().getOps<GetParamOp>())
      if (read.insert(get.getParam()).second)
        out.weightBytes += static_cast<int64_t>(valueBytes(get.getType(), 1));
  Collector collector(module, out);
  for (auto function : module.getOps<mlir::func::FuncOp>())
    collector.addVariant(function);
  return out;
}

std::vector<LayerGroup> groupLayers(const std::vector<LaunchNote> &launches) {
  std::vector<size_t> begins; // where the launches of another layer begin
  std::vector<std::string> keys;
  for (size_t at = 0; at < launches.size(); ++at) {
    if (at == 0 || launches[at].layer != launches[at - 1].layer) {
      begins.push_back(at);
      // Launches of no layer are no unit that may repeat with others.
      keys.push_back(launches[at].layer < 0 ? "-" : "");
    }
    keys.back() += launches[at].key() + "\n";
  }
  begins.push_back(launches.size());
  std::vector<LayerGroup> groups;
  for (const Repetition &repetition : findRepetitions(keys)) {
    size_t begin = begins[repetition.begin];
    int first = launches[begin].layer;
    size_t lastUnit = repetition.begin + repetition.period * repetition.count - 1;
    int last = launches[begins[lastUnit]].layer;
    std::string title = first < 0 ? "Around the layers"
                        : repetition.count == 1
                            ? "Layer " + std::to_string(first)
                            : "Layers " + std::to_string(first) + " to " + std::to_string(last);
    if (repetition.period > 1 && repetition.count > 1)
      title += ", by " + std::to_string(repetition.period);
    groups.push_back({begin, begins[repetition.begin + repetition.period] - begin, repetition.count, title});
  }
  return groups;
}

void printNodes(const Explanation &explanation) {
  for (const VariantNote &variant : explanation.variants) {
    std::printf("%s: %zu launches, arena %s\n", printable(variant.name).c_str(), variant.launches.size(),
                formatBytes(static_cast<uint64_t>(variant.arenaBytes)).c_str());
    for (const LayerGroup &group : groupLayers(variant.launches)) {
      std::printf("  %s%s\n", group.title.c_str(),
                  group.count > 1 ? (", " + std::to_string(group.count) + " times:").c_str() : ":");
      for (size_t at = group.begin; at < group.begin + group.launches; ++at) {
        const LaunchNote &launch = variant.launches[at];
        for (const std::string &source : launch.sources) {
          std::string others;
          for (const std::string &other : launch.sources)
            if (other != source)
              others +=
                  (others.empty() ? "" : ", ") + printable(group.count > 1 ? withoutLayer(other) : other);
          std::string shown = printable(group.count > 1 ? withoutLayer(source) : source);
          std::printf("    %-28s %s on %s%s\n", shown.c_str(), printable(launch.kernel).c_str(),
                      printable(launch.target).c_str(), launch.barrier ? ", after a barrier" : "");
          if (!others.empty())
            std::printf("    %-28s   fused with %s\n", "", others.c_str());
          if (!launch.precision.empty())
            std::printf("    %-28s   %s: %s\n", "", launch.precision.c_str(), printable(launch.why).c_str());
          std::printf(
              "    %-28s   %s of weights, %s per row, %lld multiply-adds per row%s\n", "",
              formatBytes(static_cast<uint64_t>(launch.weightBytes)).c_str(),
              formatBytes(static_cast<uint64_t>(launch.bytesPerRow)).c_str(),
              static_cast<long long>(launch.multiplyAdds),
              launch.multiplyAddsPerToken
                  ? (" and " + std::to_string(launch.multiplyAddsPerToken) + " per token seen").c_str()
                  : "");
        }
      }
    }
  }
}

llvm::json::Value nodesJson(const Explanation &explanation) {
  llvm::json::Array nodes;
  for (const VariantNote &variant : explanation.variants)
    for (const LaunchNote &launch : variant.launches)
      for (const std::string &source : launch.sources) {
        llvm::json::Array others;
        for (const std::string &other : launch.sources)
          if (other != source)
            others.push_back(llvm::json::fixUTF8(other));
        nodes.push_back(llvm::json::Object{{"source", llvm::json::fixUTF8(source)},
                                           {"variant", llvm::json::fixUTF8(variant.name)},
                                           {"fused_with", std::move(others)},
                                           {"kernel", llvm::json::fixUTF8(launch.kernel)},
                                           {"family", launch.family},
                                           {"target", launch.target},
                                           {"precision", launch.precision},
                                           {"precision_reason", llvm::json::fixUTF8(launch.why)},
                                           {"weight_bytes", launch.weightBytes},
                                           {"bytes_per_row", launch.bytesPerRow},
                                           {"multiply_adds_per_row", launch.multiplyAdds},
                                           {"multiply_adds_per_row_and_token", launch.multiplyAddsPerToken},
                                           {"barrier", launch.barrier}});
      }
  return nodes;
}

} // namespace heddle::cli
