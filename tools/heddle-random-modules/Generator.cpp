#include "tools/heddle-random-modules/Generator.h"
#include "tools/heddle-random-modules/Regions.h"
#include "llvm/ADT/StringExtras.h"
#include <algorithm>
#include <cmath>

namespace heddle::random_modules {
namespace {

constexpr int64_t kWidths[] = {16, 17, 24, 32, 32, 48, 64, 64, 96, 128, 256};
constexpr int64_t kBounds[] = {1, 3, 4, 5, 8, 17, 33, 40, 70};
constexpr int64_t kContext = 128;

std::string dim(llvm::StringRef name, int64_t low, int64_t high) {
  return (" {heddle.dims = [#heddle.dim<\"" + name + "\", " + llvm::Twine(low) + " to " + llvm::Twine(high) +
          ">]}")
      .str();
}

/// Grows a pool of values by ops on values of the pool.
class Graph {
public:
  Graph(ModuleText &text) : text(text), random(text.random) {}

  std::vector<Value> pool;
  std::string indices;   // an index for each row of "n", or empty
  std::string positions; // the same

  /// A value, one of the latest most of the time: chains are what passes work on.
  const Value &recent() {
    size_t back = 0;
    while (back + 1 < pool.size() && random.chance(45))
      ++back;
    return pool[pool.size() - 1 - back];
  }

  const Value &keep(Value value) { return pool.emplace_back(std::move(value)); }

  Value unary(const Value &x) {
    Value y = x;
    llvm::StringRef kind = random.pick({"silu", "gelu_tanh", "gelu_erf", "tanh", "sigmoid", "relu", "exp"});
    if (kind == "exp" && x.size > 1.5)
      kind = "tanh";
    y.positive = (kind == "exp" || kind == "sigmoid") && x.size <= 1.5;
    y.size = kind == "exp" ? std::exp(x.size) : kind == "tanh" || kind == "sigmoid" ? 1 : x.size;
    y.name = text.op("heddle.unary <" + kind + "> %" + x.name + " : " + x.type());
    return y;
  }

  Value binary(const Value &a, const Value &b) {
    Value y = a;
    llvm::StringRef kind = random.pick({"add", "sub", "mul", "div", "max", "min"});
    if ((kind == "div" && !b.positive) || (kind == "mul" && a.size * b.size > 50))
      kind = "add";
    y.positive = a.positive && b.positive && kind != "sub";
    y.size = kind == "mul"                    ? a.size * b.size
             : kind == "div"                  ? a.size / b.size * 10
             : kind == "max" || kind == "min" ? std::max(a.size, b.size)
                                              : a.size + b.size;
    y.name = text.op("heddle.binary <" + kind + "> %" + a.name + ", %" + b.name + " : " + a.type());
    return y;
  }

  Value scale(const Value &x) {
    Value y = x;
    float factor = random.pick({0.5f, 2.0f, 1.0f, 0.25f, -1.0f, 0.3f, 1.7f, -0.9f});
    y.positive &= factor > 0;
    y.size *= std::abs(factor);
    y.name = text.op("heddle.scale %" + x.name + " by " + floatText(factor) + " : " + x.type());
    return y;
  }

  Value norm(const Value &x) {
    Value y = x;
    y.size = 1;
    y.positive = false;
    int64_t columns = x.columns();
    std::string vector = tensorType({columns}), epsilon = random.pick({"1.0e-5", "1.0e-6", "0.125"});
    switch (random.between(0, 4)) {
    case 0:
      y.name = text.op("heddle.l2_normalize %" + x.name + " {epsilon = " + epsilon + " : f32} : " + x.type());
      break;
    case 1:
    case 2: {
      std::string weight = text.vector(columns, 1), bias = text.vector(columns, 0.5);
      y.name = text.op("heddle.layer_norm %" + x.name + ", %" + weight + ", %" + bias +
                       " {epsilon = " + epsilon + " : f32} : " + x.type() + ", " + vector + ", " + vector);
      break;
    }
    default: {
      std::string weight = text.vector(columns, 1);
      y.name = text.op("heddle.rms_norm %" + x.name + ", %" + weight + " {epsilon = " + epsilon +
                       " : f32} : " + x.type() + ", " + vector);
    }
    }
    return y;
  }

  Value reshape(const Value &x, llvm::ArrayRef<int64_t> inner) {
    Value y = x;
    y.inner.assign(inner.begin(), inner.end());
    y.name = text.op("heddle.reshape %" + x.name + " : " + x.type() + " -> " + y.type());
    return y;
  }

  Value flat(const Value &x) {
    int64_t columns = 1;
    for (int64_t size : x.inner)
      columns *= size;
    return x.inner.size() == 1 ? x : reshape(x, {columns});
  }

  Value heads(const Value &x) {
    llvm::SmallVector<int64_t> counts;
    for (int64_t heads : {1, 2, 3, 4, 6, 8})
      if (x.columns() % heads == 0)
        counts.push_back(heads);
    int64_t count = random.pick(counts.data(), counts.size());
    return reshape(x, {count, x.columns() / count});
  }

  StorageFormat format(int64_t columns) {
    auto formats = formatsFor(columns);
    return random.pick(formats.data(), formats.size());
  }

  /// A linear with a weight of its own; `input` is f32 of one inner dimension, or what `quantize` made of it.
  Value linear(const Value &x, const std::string &input, const std::string &inputType, int64_t out,
               StorageFormat format) {
    Value y = x;
    y.inner = {out};
    y.positive = false;
    std::string weight = text.weight({out, x.columns()}, format, 1 / std::sqrt(double(x.columns())));
    std::string weightType = storedType({out, x.columns()}, formatInfo(format).name);
    std::string bias, biasType;
    if (random.chance(30)) {
      bias = " bias %" + text.vector(out, 0.5);
      biasType = ", " + tensorType({out});
    }
    y.name = text.op("heddle.linear %" + input + ", %" + weight + bias + " : " + inputType + ", " +
                     weightType + biasType + " -> " + y.type());
    return y;
  }

  Value linear(const Value &x, int64_t out) {
    StorageFormat chosen = format(x.columns());
    std::string input = x.name, type = x.type();
    if (formatInfo(chosen).scheme && random.chance(15)) {
      type = storedType({-1, x.columns()}, random.pick({"act_i8", "act_i16"}));
      input = text.op("heddle.quantize %" + x.name + " : " + x.type() + " -> " + type);
    }
    return linear(x, input, type, out, chosen);
  }

  /// gate and up, joined.
  Value gated(const Value &x, int64_t out) {
    StorageFormat chosen = format(x.columns());
    Value gate = unary(linear(x, x.name, x.type(), out, chosen)),
          up = linear(x, x.name, x.type(), out, random.chance(80) ? chosen : format(x.columns()));
    return binary(gate, up);
  }

  Value rounded(const Value &x) {
    Value y = x;
    std::string type = storedType({-1, x.columns()}, random.pick({"act_i8", "act_i16"}));
    std::string codes = text.op("heddle.quantize %" + x.name + " : " + x.type() + " -> " + type);
    y.positive = false;
    y.name = text.op("heddle.dequantize %" + codes + " : " + type + " -> " + x.type());
    return y;
  }

  Value rope(const Value &x, const std::string &places) {
    int64_t rotated = x.columns() / 2 * 2, rows = random.between(1, 12);
    if (rotated >= 8 && random.chance(40))
      rotated = rotated / 4 * 2;
    std::string type = tensorType({rows, rotated}), table;
    std::vector<float> angles;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t i = 0; i < rotated; ++i) {
        double angle = double(row) * std::pow(100, -2.0 * double(i % (rotated / 2)) / double(rotated));
        angles.push_back(float(i < rotated / 2 ? std::cos(angle) : std::sin(angle)));
      }
    table = text.table(angles, {rows, rotated});
    Value y = x;
    y.positive = false;
    y.name = text.op("heddle.rope <" + llvm::Twine(random.pick({"interleaved", "half"})) + "> %" + x.name +
                     ", %" + table + ", %" + places + " : " + x.type() + ", " + type + ", tensor<?xi32>");
    return y;
  }

  Value gather(const Value &x, const std::string &rows, const std::string &dimension) {
    Value y = x;
    y.rows = dimension;
    y.name = text.op("heddle.gather_rows %" + x.name + ", %" + rows + " : " + x.type() +
                     ", tensor<?xi32> -> " + y.type());
    return y;
  }

  Value embedding(const std::string &tokens, int64_t rows, int64_t columns) {
    Value y{"", "n", {columns}, 1};
    std::string table, type, attributes;
    if (random.chance(75)) {
      StorageFormat chosen = format(columns);
      table = text.weight({rows, columns}, chosen, 1);
      type = storedType({rows, columns}, formatInfo(chosen).name);
    } else {
      table = text.table(text.numbers(rows * columns, 1), {rows, columns});
      type = tensorType({rows, columns});
    }
    if (random.chance(30))
      attributes = " {scale = " + floatText(random.pick({2.0, 0.7, 3.0})) + " : f32}";
    y.name = text.op("heddle.embedding %" + table + ", %" + tokens + attributes + " : " + type +
                     ", tensor<?xi32> -> " + y.type());
    return y;
  }

  /// Adds one value, or a few that belong together, made of values that are there.
  void step() {
    Value x = recent();
    switch (random.between(0, 11)) {
    case 0:
      keep(unary(x));
      return;
    case 1:
    case 2: {
      std::vector<const Value *> same;
      for (const Value &other : pool)
        if (other.type() == x.type() && other.rows == x.rows)
          same.push_back(&other);
      Value other = *random.pick(same.data(), same.size());
      keep(binary(x, other));
      return;
    }
    case 3:
      keep(scale(x));
      return;
    case 4:
      keep(norm(x));
      return;
    case 5:
    case 6: {
      Value input = tame(flat(x));
      keep(linear(input, random.chance(50) ? input.columns() : random.pick(kWidths, std::size(kWidths))));
      return;
    }
    case 7:
      keep(gated(tame(flat(x)), random.pick({17, 32, 48, 64})));
      return;
    case 8:
      keep(x.inner.size() == 1 ? heads(x) : flat(x));
      return;
    case 9:
      if (x.inner.size() == 1 && x.columns() % 32 == 0)
        keep(rounded(x));
      return;
    case 10:
      if (!positions.empty() && x.rows == "n" && x.columns() > 1) {
        Value each = x.inner.size() == 2 ? x : heads(x);
        if (each.columns() > 1)
          keep(rope(each, positions));
      }
      return;
    default:
      if (!indices.empty() && x.rows == "n")
        keep(gather(x, indices, "n"));
    }
  }

  /// The value, or its norm where sums over it would grow.
  Value tame(const Value &x) { return x.size > 8 ? norm(x) : x; }

private:
  ModuleText &text;
  Random &random;
};

class Module {
public:
  explicit Module(uint64_t seed) : random(seed), text(random), graph(text) {}

  std::string make() {
    bound = random.pick(kBounds, std::size(kBounds));
    switch (random.between(0, 3)) {
    case 0:
      return tensors();
    case 1:
      return encode();
    default:
      return step();
    }
  }

private:
  std::string argument(const std::string &name, const std::string &type, llvm::StringRef rows) {
    return "%" + name + ": " + type + dim(rows, rows == "m" ? 0 : 1, bound);
  }

  /// Results: the latest value and perhaps others, each once.
  std::string finish(std::vector<Value> results, const std::string &name, const std::string &arguments,
                     const std::string &attributes, const std::vector<std::string> &calls) {
    std::string names, types, declared;
    for (const Value &result : results) {
      llvm::StringRef separator = names.empty() ? "" : ", ";
      names += separator.str() + "%" + result.name;
      types += separator.str() + result.type();
      declared += separator.str() + result.type();
    }
    text.line("return " + names + " : " + types);
    std::string module =
        "module attributes {heddle.model = {name = \"random\", vocabulary = 16 : i64, max_context = " +
        std::to_string(kContext) + " : i64, max_slots = 4 : i64, max_rows = " + std::to_string(bound) +
        " : i64}";
    if (!text.file.empty()) {
      module += ", heddle.files = [dense<\"0x" + llvm::toHex(llvm::ArrayRef(text.file)) + "\"> : tensor<" +
                std::to_string(text.file.size()) + "xi8>]";
    }
    module += "} {\n" + text.symbols + "  func.func @" + name + "(" + arguments + ") -> (" + declared +
              ") attributes {" + attributes + "heddle.example = [";
    for (auto [number, call] : llvm::enumerate(calls))
      module += (number ? ", " : "") + ("{inputs = [" + call + "]}");
    return module + "]} {\n" + text.body + "  }\n}\n";
  }

  int64_t someRows() { return random.chance(40) ? bound : random.between(1, bound); }

  std::vector<Value> someResults(llvm::StringRef rows) {
    std::vector<Value> results;
    for (auto &value : llvm::reverse(graph.pool))
      if (value.rows == rows && value.name[0] == 'v' &&
          (results.empty() || (results.size() < 3 && random.chance(15))))
        results.push_back(value);
    return results;
  }

  /// A function of tensors.
  std::string tensors() {
    std::string arguments;
    llvm::SmallVector<Value> inputs;
    int64_t width = random.pick(kWidths, std::size(kWidths));
    for (int i = 0, count = random.between(1, 3); i < count; ++i) {
      Value x{"a" + std::to_string(i), "n", {width}, 2};
      if (random.chance(20))
        x.inner = {random.between(1, 4), random.pick({16, 24, 32})};
      else if (random.chance(20))
        x.inner = {random.pick(kWidths, std::size(kWidths))};
      inputs.push_back(x);
      graph.keep(x);
      arguments += (i ? ", " : "") + argument(x.name, x.type(), "n");
    }
    bool indexed = random.chance(50);
    if (indexed) {
      arguments += ", " + argument("i", "tensor<?xi32>", "n");
      graph.indices = "i";
      graph.positions = "i";
      if (random.chance(30))
        graph.keep(graph.embedding("i", random.between(1, 20), width));
    }
    for (int steps = random.between(1, 14); steps > 0; --steps)
      graph.step();
    if (graph.pool.back().name[0] == 'a') // an argument
      graph.keep(graph.scale(graph.pool.back()));
    std::vector<std::string> calls;
    for (int count = random.between(1, 3); count > 0; --count) {
      std::string call;
      int64_t rows = someRows();
      for (const Value &x : inputs) {
        llvm::SmallVector<int64_t> shape = {rows};
        shape.append(x.inner.begin(), x.inner.end());
        int64_t size = 1;
        for (int64_t extent : shape)
          size *= extent;
        call += (call.empty() ? "" : ", ") + denseText(text.numbers(size, 1), shape);
      }
      if (indexed) {
        std::vector<int32_t> index;
        for (int64_t row = 0; row < rows; ++row)
          index.push_back(
              int32_t(random.chance(5) ? random.between(-3, 2 * bound) : random.between(0, rows - 1)));
        call += ", " + denseText(index);
      }
      calls.push_back(call);
    }
    return finish(someResults("n"), "graph", arguments, "heddle.entry = \"graph\", ", calls);
  }

  /// Attention over rows of `x`, joined to the pool; with a cache or, without, over the rows of this call.
  void attend(const Value &x, bool cached, unsigned layer) {
    int64_t kvHeads = random.between(1, 3), group = random.between(1, 4),
            width = random.pick({16, 16, 32, 64, 24}),
            valueWidth = random.chance(80) ? width : random.pick({16, 32, 48});
    Value input = graph.tame(random.chance(60) ? graph.norm(x) : x);
    Value q = graph.reshape(graph.linear(input, kvHeads * group * width), {kvHeads * group, width});
    Value k = graph.reshape(graph.linear(input, kvHeads * width), {kvHeads, width});
    Value v = graph.reshape(graph.linear(input, kvHeads * valueWidth), {kvHeads, valueWidth});
    if (random.chance(30))
      q = graph.norm(q), k = graph.norm(k);
    if (random.chance(50))
      q = graph.rope(q, "positions"), k = graph.rope(k, "positions");
    Value y{"", "n", {kvHeads * group, valueWidth}, 1};
    std::string scale = " {scale = " + floatText(1 / std::sqrt(double(width))) + " : f32} ";
    std::string rows = "tensor<?xi32>, tensor<?xi32> -> " + y.type();
    std::string regions = randomRegions(text); // before the op: what they capture
    if (!cached) {
      y.name = text.op("heddle.attention %" + q.name + " keys %" + k.name + " values %" + v.name +
                       " at %slots, %positions" + scale + regions + " : " + q.type() + ", " + k.type() +
                       ", " + v.type() + ", " + rows);
    } else {
      std::string type = "!heddle.kv_cache<" + std::to_string(kvHeads) + "x" + std::to_string(width) + "x" +
                         std::to_string(valueWidth) + "xf16>";
      text.symbols += "  heddle.cache @kv" + std::to_string(layer) + " : " + type + "\n";
      std::string cache = text.op("heddle.get_cache @kv" + llvm::Twine(layer) + " : " + type);
      if (random.chance(30)) {
        text.line("heddle.cache_append %" + cache + ", %" + k.name + ", %" + v.name +
                  " at %slots, %positions : " + type + ", " + k.type() + ", " + v.type() +
                  ", tensor<?xi32>, tensor<?xi32>");
        y.name = text.op("heddle.attention %" + q.name + " cache %" + cache + " at %slots, %positions" +
                         scale + regions + " : " + q.type() + " cache " + type + ", " + rows);
      } else {
        y.name = text.op("heddle.attention %" + q.name + " keys %" + k.name + " values %" + v.name +
                         " cache %" + cache + " at %slots, %positions" + scale + regions + " : " + q.type() +
                         ", " + k.type() + ", " + v.type() + " cache " + type + ", " + rows);
      }
    }
    Value out = graph.linear(graph.flat(y), x.columns());
    graph.keep(random.chance(80) ? graph.binary(out, x) : out);
  }

  /// Layers over tokens, whose width is `width`.
  void layers(bool cached, int64_t vocabulary, int64_t width) {
    graph.positions = "positions";
    Value x = graph.keep(graph.embedding("tokens", vocabulary, width));
    if (random.chance(20))
      x = graph.keep(graph.binary(x, graph.embedding("positions", kContext, width)));
    for (unsigned layer = 0, count = random.between(1, 2); layer < count; ++layer) {
      attend(x, cached, layer);
      for (int steps = random.between(0, 3); steps > 0; --steps)
        graph.step();
      // The stream goes on with the latest value of its width.
      for (auto &value : llvm::reverse(graph.pool))
        if (value.inner.size() == 1 && value.columns() == width) {
          x = graph.tame(value);
          break;
        }
      graph.keep(x);
    }
  }

  std::string tokens(size_t rows, int64_t vocabulary) {
    std::vector<int32_t> ids(rows);
    for (int32_t &id : ids)
      id = int32_t(random.between(0, vocabulary - 1));
    return denseText(ids);
  }

  std::string step() {
    int64_t width = random.pick({16, 32, 32, 48, 64, 96, 256}), vocabulary = random.between(2, 16);
    layers(true, vocabulary, width);
    Value last = graph.keep(graph.gather(graph.tame(graph.pool.back()), "wanted", "m"));
    if (random.chance(60)) // the head
      graph.keep(graph.linear(graph.tame(graph.flat(last)), random.between(16, 50)));
    else
      graph.keep(graph.flat(last));
    int32_t length[4] = {};
    std::vector<std::string> calls;
    for (int count = random.between(1, 4); count > 0; --count) {
      std::vector<int32_t> slots, positions, wanted;
      int64_t rows = someRows();
      for (int32_t slot = 0, first = int32_t(random.between(0, 3)); slot < 4 && int64_t(slots.size()) < rows;
           ++slot) {
        int32_t which = (slot + first) % 4;
        int64_t more = std::min<int64_t>(slot == 3 || random.chance(40) ? rows : random.between(1, rows),
                                         rows - int64_t(slots.size()));
        for (; more > 0 && length[which] < kContext; --more) {
          slots.push_back(which);
          positions.push_back(length[which]++);
        }
      }
      for (size_t row = 0; row < slots.size(); ++row)
        if (random.chance(50))
          wanted.push_back(int32_t(row));
      if (wanted.empty() && random.chance(90))
        wanted.push_back(int32_t(slots.size()) - 1);
      if (slots.empty())
        break;
      calls.push_back(tokens(slots.size(), vocabulary) + ", " + denseText(slots) + ", " +
                      denseText(positions) + ", " + denseText(wanted));
    }
    std::string index = "tensor<?xi32>";
    return finish({graph.pool.back()}, "step",
                  argument("tokens", index, "n") + ", " + argument("slots", index, "n") + ", " +
                      argument("positions", index, "n") + ", " + argument("wanted", index, "m"),
                  "heddle.entry = \"step\", ", calls);
  }

  std::string encode() {
    int64_t width = random.pick({16, 32, 32, 48, 64, 96, 256}), vocabulary = random.between(2, 16);
    layers(false, vocabulary, width);
    Value last = graph.flat(graph.tame(graph.pool.back()));
    Value pooled = last;
    pooled.rows = "s";
    pooled.name = text.op("heddle.pool_rows <" + llvm::Twine(random.pick({"mean", "first", "last"})) + "> %" +
                          last.name + ", %slots : " + last.type() + ", tensor<?xi32> -> " + pooled.type());
    graph.keep(pooled);
    if (random.chance(50))
      graph.keep(graph.norm(pooled));
    std::vector<std::string> calls;
    for (int count = random.between(1, 3); count > 0; --count) {
      std::vector<int32_t> texts, positions;
      int64_t rows = someRows();
      while (int64_t(texts.size()) < rows) {
        bool fresh = texts.empty() || random.chance(15) || positions.back() + 1 >= kContext;
        positions.push_back(fresh ? 0 : positions.back() + 1);
        texts.push_back(texts.empty() ? 0 : texts.back() + fresh);
      }
      calls.push_back(tokens(texts.size(), vocabulary) + ", " + denseText(texts) + ", " +
                      denseText(positions));
    }
    std::string index = "tensor<?xi32>";
    return finish({graph.pool.back()}, "encode",
                  argument("tokens", index, "n") + ", " + argument("slots", index, "n") + ", " +
                      argument("positions", index, "n"),
                  "heddle.entry = \"encode\", ", calls);
  }

  Random random;
  ModuleText text;
  Graph graph;
  int64_t bound = 1;
};

} // namespace

std::string generateModule(uint64_t seed) { return Module(seed).make(); }

} // namespace heddle::random_modules
