#include "tools/heddle/Explanation.h"
#include "tools/heddle/ProgramTables.h"
#include "tools/heddle/QuantizationTable.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>

namespace heddle::cli {

namespace {
struct ExplainVerb {
  ImportVerb import;
  std::string second, pass, html;
  bool nodes = false;
  Format format = Format::Text;
};

std::string text(const DecisionNote &row) {
  return llvm::formatv("{0,-28} {1,-12} {2}: {3}", row.pass, row.kind, row.source, row.reason).str();
}

// Compiled models begin as every zip archive does.
bool isCompiled(const std::string &path) {
  char magic[4] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::memcmp(magic, "PK\3\4", sizeof magic) == 0;
}

// What was decided when `path` was compiled: the artifact tells it. Its bytes are a stranger's: every field
// is checked.
std::vector<DecisionNote> decided(const ExplainVerb &verb, const std::string &path) {
  ModelPtr model = openForInspection(path);
  std::vector<DecisionNote> rows;
  for (const ArtifactTarget &target : artifactTargets(model.get(), path)) {
    std::string name = "decisions" + target.suffix + ".json";
    auto text = readMember(model.get(), name.c_str());
    if (!text)
      fail(ExitUnsupported, printable(path) + ": has no member '" + name + "'; compile the model again");
    auto json = llvm::json::parse(llvm::StringRef(*text).rtrim('\0'));
    const llvm::json::Array *array = json ? json->getAsArray() : nullptr;
    if (!array) {
      llvm::consumeError(json.takeError());
      fail(ExitInvalidFile, printable(path) + ": expected " + name + " to hold an array");
    }
    for (const llvm::json::Value &value : *array) {
      const llvm::json::Object *object = value.getAsObject();
      if (!object)
        fail(ExitInvalidFile, printable(path) + ": expected " + name + " to hold objects");
      auto word = [&](const char *key) { return object->getString(key).value_or("").str(); };
      if (verb.pass.empty() || word("pass") == verb.pass)
        rows.push_back({word("pass"), word("kind"), word("source"), word("reason"),
                        object->getInteger("cost").value_or(0), target.name});
    }
  }
  return rows;
}

// What calibration measured when `path` was compiled.
std::string measured(const std::string &path) {
  ModelPtr model = openForInspection(path);
  auto manifest = llvm::json::parse(readMember(model.get(), "manifest.json").value_or("{}"));
  const llvm::json::Object *object = manifest ? manifest->getAsObject() : nullptr;
  if (!object) {
    llvm::consumeError(manifest.takeError());
    return "";
  }
  return quantizationTable(*object);
}

// What the passes decide: read from a compiled model, made anew (no code generation) for another.
std::vector<DecisionNote> decide(const ExplainVerb &verb, const ImportVerb &request) {
  if (isCompiled(request.model))
    return decided(verb, request.model);
  std::vector<DecisionNote> rows;
  for (const ImportVerb &one : eachTarget(request))
    llvm::append_range(rows, explainModel(one, /*withIr=*/false).decisions);
  llvm::erase_if(rows, [&](const DecisionNote &row) { return !verb.pass.empty() && row.pass != verb.pass; });
  return rows;
}

// What needs the IR, which a compiled model has no more.
int explainModelItself(const ExplainVerb &verb) {
  if (isCompiled(verb.import.model))
    fail(ExitUsage,
         printable(verb.import.model) +
             ": is compiled and holds no IR; give --nodes and --html the model that it was made from");
  if (eachTarget(verb.import).size() > 1)
    fail(ExitUsage, "--nodes and --html explain one target; name it with --target");
  Explanation explanation = explainModel(verb.import, !verb.html.empty());
  if (!verb.html.empty())
    writeFileAtomically(verb.html, explainPage(explanation));
  if (verb.nodes && verb.format == Format::Json)
    llvm::outs() << llvm::formatv("{0:2}\n", nodesJson(explanation));
  else if (verb.nodes)
    printNodes(explanation);
  return ExitOk;
}

int explain(const ExplainVerb &verb) {
  if (verb.nodes || !verb.html.empty()) {
    if (!verb.second.empty())
      fail(ExitUsage, "--nodes and --html explain one model");
    return explainModelItself(verb);
  }
  std::vector<DecisionNote> rows = decide(verb, verb.import);
  if (!verb.second.empty()) {
    ImportVerb other = verb.import;
    other.model = verb.second;
    std::multiset<std::string> sides[2];
    for (const DecisionNote &row : rows)
      sides[0].insert(text(row));
    for (const DecisionNote &row : decide(verb, other))
      sides[1].insert(text(row));
    bool same = true;
    for (int side = 0; side < 2; ++side)
      for (const std::string &line : sides[side])
        if (sides[side].count(line) != sides[1 - side].count(line)) {
          std::printf("%c %s\n", side ? '+' : '-', printable(line).c_str());
          same = false;
        }
    return same ? ExitOk : ExitMismatch;
  }
  llvm::json::Array array;
  bool several = !rows.empty() && rows.front().target != rows.back().target; // they are in order of targets
  std::string shown;
  for (const DecisionNote &row : rows) {
    if (verb.format == Format::Text && several && std::exchange(shown, row.target) != row.target)
      std::printf("target %s\n", printable(row.target).c_str());
    if (verb.format == Format::Text)
      std::printf("%s\n", printable(text(row)).c_str());
    array.push_back(llvm::json::Object{{"pass", row.pass},
                                       {"kind", row.kind},
                                       {"source", row.source},
                                       {"reason", row.reason},
                                       {"cost", row.cost},
                                       {"target", row.target}});
  }
  if (verb.format == Format::Json)
    llvm::outs() << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(array)));
  else if (isCompiled(verb.import.model) && verb.pass.empty())
    std::printf("%s", measured(verb.import.model).c_str());
  return ExitOk;
}
} // namespace

void addExplain(CLI::App &app, Action &action) {
  auto *verb = app.add_subcommand(
      "explain",
      "Show what the passes decide for a model, compiled or not, and why; two models: what differs");
  auto options = std::make_shared<ExplainVerb>();
  addImportOptions(*verb, options->import);
  verb->add_option("second", options->second, "Another model to compare with")->option_text("MODEL");
  verb->add_option("--pass", options->pass, "Only decisions of this pass")->option_text("NAME");
  verb->add_flag("--nodes", options->nodes,
                 "By source node instead: its kernel, what it is fused with, precision and why, cost");
  verb->add_option("--html", options->html,
                   "Write a page with all of it, and what every pass did to the IR; no script, no network")
      ->option_text("FILE");
  addFormatOption(*verb, options->format);
  verb->callback([&action, options] { action = [options] { return explain(*options); }; });
}

} // namespace heddle::cli
