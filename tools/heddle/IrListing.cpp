#include "tools/heddle/IrListing.h"
#include "ir/Heddle.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AsmState.h"
#include "passes/Decisions.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>

namespace heddle::cli {

namespace {
// Position of the layer's number in `name` and how many digits it has; 0 digits: none. A number that is a
// whole part of a dotted name is one: "blk.3.attn_q", "layers.12.mlp", "kv.0".
std::pair<size_t, size_t> layerDigits(llvm::StringRef name) {
  for (size_t dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
    size_t end = dot + 1;
    while (end < name.size() && llvm::isDigit(name[end]))
      ++end;
    bool ends = end == name.size() || !(llvm::isAlnum(name[end]) || name[end] == '_');
    if (end > dot + 1 && end - dot <= 6 && ends && dot > 0 && llvm::isAlpha(name[dot - 1]))
      return {dot + 1, end - dot - 1};
  }
  return {0, 0};
}

// "@rms_norm_576_1" and "@rms_norm_576" become "@rms_norm*": before kernels are shared, names count them.
std::string withoutCounters(llvm::StringRef text) {
  std::string out;
  for (size_t at = text.find('@'); at != text.npos; at = text.find('@')) {
    size_t end = at + 1;
    while (end < text.size() && (llvm::isAlnum(text[end]) || text[end] == '_' || text[end] == '.'))
      ++end;
    llvm::StringRef name = text.slice(at, end), stem = name;
    for (llvm::StringRef shorter = stem.rtrim("0123456789");
         shorter.size() < stem.size() && shorter.ends_with("_"); shorter = stem.rtrim("0123456789"))
      stem = shorter.drop_back();
    out += text.take_front(at).str() + stem.str() + (stem.size() < name.size() ? "*" : "");
    text = text.drop_front(end);
  }
  return out + text.str();
}

// Without numbers of values (%12), layers (blk.3), places in files and in the arena.
std::string keyOf(llvm::StringRef text) {
  std::string key;
  for (size_t at = 0; at < text.size();) {
    char c = text[at];
    auto skipDigits = [&] {
      while (at < text.size() && llvm::isDigit(text[at]))
        ++at;
      key += '*';
    };
    key += c;
    ++at;
    bool digit = at < text.size() && llvm::isDigit(text[at]);
    if (digit && (c == '%' || c == '#'))
      skipDigits();
    else if (digit && c == '.' && at >= 2 && llvm::isAlpha(text[at - 2]))
      skipDigits();
    else if (digit && llvm::StringRef(key).ends_with("%arg"))
      skipDigits();
    else if (llvm::StringRef(key).ends_with(" file ") || llvm::StringRef(key).ends_with(" at "))
      skipDigits();
    else if (llvm::StringRef(key).ends_with(" arena ["))
      while (at < text.size() && text[at] != ']')
        ++at;
  }
  return withoutCounters(key);
}

class Lister {
public:
  explicit Lister(mlir::ModuleOp module) : module(module), state(module, mlir::OpPrintingFlags()) {}

  std::vector<IrLine> list() {
    std::vector<Item> items;
    for (mlir::Operation &op : *module.getBody()) {
      if (auto function = llvm::dyn_cast<mlir::func::FuncOp>(op)) {
        flush(items);
        addFunction(function);
      } else {
        std::string name = nameOf(op);
        items.push_back(itemOf(op, "", layerOf(name), name));
      }
    }
    flush(items);
    return std::move(lines);
  }

private:
  struct Item {
    int layer;
    std::vector<IrLine> lines;
  };

  // What says which layer an op belongs to: the source nodes of a kernel, the symbol of a parameter or cache.
  static std::string nameOf(mlir::Operation &op) {
    if (llvm::isa<mlir::heddle::KernelOp>(op))
      return mlir::heddle::sourceNames(op.getLoc());
    auto name = op.getAttrOfType<mlir::StringAttr>(mlir::SymbolTable::getSymbolAttrName());
    return name ? name.str() : std::string();
  }

  Item itemOf(mlir::Operation &op, llvm::StringRef indent, int layer, const std::string &note) {
    std::string text;
    llvm::raw_string_ostream out(text);
    op.print(out, state);
    Item item{layer, {}};
    llvm::SmallVector<llvm::StringRef> parts;
    llvm::StringRef(text).split(parts, '\n', -1, /*KeepEmpty=*/false);
    for (llvm::StringRef part : parts) {
      std::string line = indent.str() + part.str();
      std::string key = keyOf(line);
      item.lines.push_back({std::move(line), std::move(key), item.lines.empty() ? note : ""});
    }
    return item;
  }

  void addFunction(mlir::func::FuncOp function) {
    std::string header = "func.func @" + function.getSymName().str() + "(";
    llvm::raw_string_ostream out(header);
    for (mlir::BlockArgument argument : function.getArguments())
      out << (argument.getArgNumber() ? ", " : "") << "%arg" << argument.getArgNumber() << ": "
          << argument.getType();
    out << ") -> (";
    llvm::interleaveComma(function.getResultTypes(), out);
    out << ") {";
    lines.push_back({header, keyOf(header), ""});
    std::vector<Item> items;
    for (mlir::Operation &op : function.getBody().front()) {
      std::string source = mlir::heddle::sourceNames(op.getLoc());
      items.push_back(itemOf(op, "  ", layerOf(source), source));
    }
    flush(items);
    lines.push_back({"}", "}", ""});
  }

  // Appends items, runs of one layer as one unit.
  void flush(std::vector<Item> &items) {
    std::vector<std::vector<IrLine>> units;
    std::vector<int> layers;
    for (Item &item : items) {
      if (units.empty() || item.layer < 0 || item.layer != layers.back()) {
        units.emplace_back();
        layers.push_back(item.layer);
      }
      llvm::append_range(units.back(), std::move(item.lines));
    }
    items.clear();
    std::vector<std::string> keys;
    for (const auto &[unit, layer] : llvm::zip(units, layers)) {
      std::string key = layer < 0 ? "-" : "";
      for (const IrLine &line : unit)
        key += line.key + "\n";
      keys.push_back(std::move(key));
    }
    for (const Repetition &repetition : findRepetitions(keys)) {
      size_t count = 0;
      for (size_t unit = 0; unit < repetition.period; ++unit)
        for (IrLine &line : units[repetition.begin + unit]) {
          lines.push_back(std::move(line));
          ++count;
        }
      if (repetition.count == 1)
        continue;
      size_t next = repetition.begin + repetition.period;
      size_t last = repetition.begin + repetition.period * repetition.count - 1;
      std::string text = layers[next] >= 0 ? "  ... layers " + std::to_string(layers[next]) + " to " +
                                                 std::to_string(layers[last]) + ": the same " +
                                                 std::to_string(count) + " lines each"
                                           : "  ... " + std::to_string(repetition.count - 1) + " more times";
      lines.push_back({text, "  ...", ""}); // how many lines it stands for is no change of its own
    }
  }

  mlir::ModuleOp module;
  mlir::AsmState state;
  std::vector<IrLine> lines;
};
} // namespace

int layerOf(llvm::StringRef name) {
  auto [at, digits] = layerDigits(name);
  int layer = -1;
  if (digits)
    (void)name.substr(at, digits).getAsInteger(10, layer);
  return layer;
}

std::string withoutLayer(llvm::StringRef name) {
  std::string out;
  for (auto [at, digits] = layerDigits(name); digits; std::tie(at, digits) = layerDigits(name)) {
    out += name.take_front(at).str() + "*";
    name = name.drop_front(at + digits);
  }
  return out + name.str();
}

std::vector<Repetition> findRepetitions(const std::vector<std::string> &keys, size_t longest) {
  std::vector<Repetition> found;
  for (size_t begin = 0; begin < keys.size();) {
    Repetition best{begin, 1, 1};
    for (size_t period = 1; period <= longest && begin + 2 * period <= keys.size(); ++period) {
      size_t end = begin + period;
      while (end < keys.size() && keys[end] == keys[end - period])
        ++end;
      size_t count = (end - begin) / period;
      // A shorter period that covers as much is the simpler one.
      if (count > 1 && count * period > best.count * best.period)
        best = {begin, period, count};
    }
    found.push_back(best);
    begin += best.period * best.count;
  }
  return found;
}

std::vector<IrLine> listIr(mlir::ModuleOp module) { return Lister(module).list(); }

std::vector<DiffLine> compareIr(const std::vector<IrLine> &before, const std::vector<IrLine> &after) {
  size_t head = 0, tail = 0, shorter = std::min(before.size(), after.size());
  while (head < shorter && before[head].key == after[head].key)
    ++head;
  while (tail < shorter - head && before[before.size() - 1 - tail].key == after[after.size() - 1 - tail].key)
    ++tail;
  size_t rows = before.size() - head - tail, columns = after.size() - head - tail;
  std::vector<DiffLine> steps;
  for (size_t line = 0; line < head; ++line)
    steps.push_back({DiffLine::Same, &after[line]});
  // Longest common subsequence: lengths[i][j] of what follows line i and line j.
  constexpr size_t most = size_t(1) << 26;
  std::vector<uint32_t> lengths;
  if ((rows + 1) * (columns + 1) <= most)
    lengths.assign((rows + 1) * (columns + 1), 0);
  auto at = [&](size_t i, size_t j) -> uint32_t & { return lengths[i * (columns + 1) + j]; };
  auto same = [&](size_t i, size_t j) { return before[head + i].key == after[head + j].key; };
  if (!lengths.empty())
    for (size_t i = rows; i-- > 0;)
      for (size_t j = columns; j-- > 0;)
        at(i, j) = same(i, j) ? at(i + 1, j + 1) + 1 : std::max(at(i + 1, j), at(i, j + 1));
  size_t i = 0, j = 0;
  while (i < rows || j < columns) {
    if (!lengths.empty() && i < rows && j < columns && same(i, j)) {
      steps.push_back({DiffLine::Same, &after[head + j++]});
      ++i;
    } else if (i < rows && (j == columns || lengths.empty() || at(i + 1, j) >= at(i, j + 1))) {
      steps.push_back({DiffLine::Removed, &before[head + i++]});
    } else {
      steps.push_back({DiffLine::Added, &after[head + j++]});
    }
  }
  for (size_t line = after.size() - tail; line < after.size(); ++line)
    steps.push_back({DiffLine::Same, &after[line]});
  return steps;
}

} // namespace heddle::cli
