#include "codegen/package/Samples.h"
#include "ir/Heddle.h"
#include "ir/interpreter/Interpreter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/ThreadPool.h"
#include <array>
#include <optional>

using namespace mlir;
using namespace mlir::heddle;
using interpreter::Arithmetic;
using interpreter::Datum;
using interpreter::Integers;
using interpreter::Interpreter;
using interpreter::Numbers;

namespace heddle {
namespace {

constexpr uint64_t kSeed = 1;
// Compiled code rounds as often as the interpreter's f32 arithmetic does, in another order, so it lies about
// as far from f64 as that. But where codes are near a tie one evaluation may flip one that another does not,
// and a flipped code is a step of quantization: hence the distance that quantization makes belongs to the
// bound. Without it 3 of 29 random models of 4 layers missed theirs.
constexpr double kRoundingFactor = 4;
constexpr double kLeastBound = 1e-4; // an f16 of a cache that rounds to its neighbour
constexpr int64_t kMostRows = 64;    // of a call: variants that take more get none

/// SplitMix64: every seed gives a different, well mixed sequence.
class Random {
public:
  explicit Random(uint64_t seed) : state(seed) {}
  uint64_t below(uint64_t bound) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % bound;
  }

private:
  uint64_t state;
};

/// Inputs of one call of an entry. `tiled`: the variant that code with tiles of bf16 runs instead, or the
/// same.
struct Call {
  std::string entry, variant, tiled;
  std::vector<std::pair<std::string, std::vector<int64_t>>> inputs;
};

/// What one evaluation has for the calls: rows of numbers.
using Outputs = std::vector<Numbers>;

int64_t fact(ModuleOp module, StringRef name) {
  auto facts = module->getAttrOfType<DictionaryAttr>(kModelAttr);
  auto value = facts ? facts.getAs<IntegerAttr>(name) : IntegerAttr();
  return value ? value.getInt() : 0;
}

/// The largest bound of a dimension of this name on arguments and results.
int64_t largest(func::FuncOp function, StringRef name) {
  int64_t bound = 0;
  auto look = [&](ArrayAttr dims) {
    if (dims)
      for (auto dim : dims.getAsRange<DimAttr>())
        if (dim.getName() == name)
          bound = std::max<int64_t>(bound, dim.getMax());
  };
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    look(function.getArgAttrOfType<ArrayAttr>(i, kDimsAttr));
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    look(function.getResultAttrOfType<ArrayAttr>(i, kDimsAttr));
  return bound;
}

std::pair<int64_t, int64_t> rowRange(func::FuncOp function) {
  if (auto rows = function->getAttrOfType<DenseI64ArrayAttr>(kRowsAttr))
    return {rows[0], rows[1]};
  return {1, largest(function, "n")};
}

/// Tokens of two sequences where there may be two: all rows but the last are of the first one.
std::optional<Call> drawCall(func::FuncOp function, StringRef entry, int64_t slots, int64_t context,
                             int64_t vocabulary, std::array<int64_t, 2> &lengths, Random &random) {
  auto [least, most] = rowRange(function);
  int64_t rows = std::min(std::max<int64_t>(least, 2), most), others = rows > 1 && slots > 1;
  bool hasMoreInputs = function.getNumArguments() > (entry == "encode" ? 3 : 4); // the model's own tensors
  if (rows > kMostRows || lengths[0] + rows > context || hasMoreInputs)
    return std::nullopt;
  std::vector<int64_t> tokens, sequences, positions, wanted;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t slot = row >= rows - others;
    tokens.push_back(random.below(vocabulary));
    sequences.push_back(slot);
    positions.push_back(lengths[slot]++);
    if (row == rows - 1 - others || row == rows - 1)
      wanted.push_back(row);
  }
  if (entry == "encode") {
    lengths = {0, 0};
    return Call{entry.str(),
                function.getSymName().str(),
                function.getSymName().str(),
                {{"tokens", tokens}, {"sequences", sequences}, {"positions", positions}}};
  }
  return Call{entry.str(),
              function.getSymName().str(),
              function.getSymName().str(),
              {{"tokens", tokens}, {"slots", sequences}, {"positions", positions}, {"wanted", wanted}}};
}

/// Calls of all variants that take at most `mostRows`, the largest first, so that small ones continue what
/// large ones began. Names variants that get none in `left`.
std::vector<Call> drawCalls(ModuleOp module, int64_t mostRows, llvm::json::Array &left) {
  std::vector<func::FuncOp> functions;
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr(kEntryAttr))
      functions.push_back(function);
  llvm::sort(functions, [](func::FuncOp a, func::FuncOp b) {
    auto key = [](func::FuncOp function) {
      return std::tuple(-rowRange(function).first, function->hasAttr(kTilesAttr), function.getSymName());
    };
    return key(a) < key(b);
  });
  Random random(kSeed);
  std::array<int64_t, 2> lengths = {0, 0};
  std::vector<Call> calls;
  left.clear();
  for (func::FuncOp function : functions) {
    StringRef entry = function->getAttrOfType<StringAttr>(kEntryAttr).getValue(),
              name = function.getSymName();
    if (function->hasAttr(kTilesAttr)) { // right after the variant that it replaces, if that has a call
      if (!calls.empty() && name.starts_with(calls.back().variant))
        calls.back().tiled = name.str();
      else
        left.push_back(name);
      continue;
    }
    int64_t vocabulary = fact(module, "vocabulary"), context = fact(module, "max_context");
    std::optional<Call> call;
    if ((entry == "step" || entry == "encode") && vocabulary > 0 && rowRange(function).first <= mostRows)
      call = drawCall(function, entry, entry == "step" ? fact(module, "max_slots") : largest(function, "s"),
                      context ? context : largest(function, "n"), vocabulary, lengths, random);
    if (call)
      calls.push_back(std::move(*call));
    else
      left.push_back(name);
  }
  return calls;
}

/// Lets pages of the model's files go as soon as a product has read them, so that memory does not grow with
/// the model. Remembers where weights came from; values are read again where a later call needs them.
class ReleasingSource : public ParameterSource {
public:
  explicit ReleasingSource(const ParameterSource &source) : source(source) {}

  llvm::Expected<llvm::ArrayRef<uint8_t>> bytes(int64_t file, uint64_t offset, uint64_t size) const override {
    auto range = source.bytes(file, offset, size);
    if (range)
      places[range->data()] = {file, offset, size};
    return range;
  }
  void release(ArrayRef<Datum> operands) const {
    for (const Datum &operand : operands)
      if (const interpreter::Weights *weights = operand.weights())
        if (auto place = places.find(weights->bytes.data()); place != places.end())
          source.release(place->second.file, place->second.offset, place->second.size);
  }

private:
  struct Place {
    int64_t file;
    uint64_t offset, size;
  };
  const ParameterSource &source;
  mutable llvm::DenseMap<const uint8_t *, Place> places;
};

/// Which functions of a module an evaluation runs.
enum class Functions { Entries, Variants, Tiled };

/// The function of an entry; its name may be another.
std::string entryFunction(ModuleOp module, StringRef entry) {
  for (auto function : module.getOps<func::FuncOp>())
    if (auto name = function->getAttrOfType<StringAttr>(kEntryAttr); name && name.getValue() == entry)
      return function.getName().str();
  return entry.str();
}

llvm::Expected<Outputs> evaluate(ModuleOp module, ArrayRef<Call> calls, Functions functions,
                                 Arithmetic arithmetic, const ParameterSource &parameters) {
  interpreter::Options options;
  options.arithmetic = arithmetic;
  ReleasingSource source(parameters);
  Interpreter interpreter(module, options, &source);
  interpreter.setObserver(
      [&](Operation *, ArrayRef<Datum> operands, ArrayRef<Datum>) { source.release(operands); });
  Outputs outputs;
  for (const Call &call : calls) {
    std::vector<Datum> inputs;
    for (const auto &[name, values] : call.inputs)
      inputs.push_back(Integers{{int64_t(values.size())}, values, nullptr});
    auto results = interpreter.run(functions == Functions::Entries    ? entryFunction(module, call.entry)
                                   : functions == Functions::Variants ? call.variant
                                                                      : call.tiled,
                                   inputs);
    if (!results)
      return results.takeError();
    // Observers (heddle-insert-observers) may follow the model's own result.
    const Numbers *numbers = results->empty() ? nullptr : results->front().numbers();
    if (!numbers || numbers->shape.size() != 2)
      return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                     "expected entry '" + call.entry + "' to have a first result with rows");
    outputs.push_back(*numbers);
  }
  return outputs;
}

/// The largest distance of a row.
double distance(const Numbers &value, const Numbers &reference) {
  double most = 0;
  size_t columns = reference.shape[1];
  for (int64_t row = 0; row < reference.shape[0]; ++row)
    most = std::max(most, relativeL2(&value.data[row * columns], &reference.data[row * columns], columns));
  return most;
}

/// Two digits, rounded up: a bound need not be longer, and does not change with the last bits of a math
/// library.
double roundedUp(double bound) {
  double unit = std::pow(10, std::floor(std::log10(bound)) - 1);
  return std::ceil(bound / unit) * unit;
}

llvm::json::Object expectation(StringRef of, const Numbers &output, double bound, std::string &data) {
  llvm::json::Object object{{"of", of.str()},
                            {"offset_bytes", int64_t(data.size())},
                            {"rows", output.shape[0]},
                            {"columns", output.shape[1]},
                            {"relative_l2_bound", roundedUp(bound)}};
  for (double number : output.data) {
    float single = static_cast<float>(number);
    data.append(reinterpret_cast<const char *>(&single), sizeof single);
  }
  return object;
}

/// Multiply-adds of one row through all weights.
double parameterWork(ModuleOp module) {
  double work = 0;
  for (auto param : module.getOps<ParamOp>())
    if (auto shape = shapeOf(param.getType()); param.getFile() && shape.size() == 2)
      work += double(shape[0]) * double(shape[1]);
  return work;
}
/// Adds the calls of one target.
llvm::Error addSamples(ModuleOp source, const CompiledModule &program, const ParameterSource &parameters,
                       double workLimit, std::string &data, llvm::json::Array &callsJson,
                       llvm::json::Array &allLeft) {
  ModuleOp compiled = program.module;
  StringRef target = program.target;
  llvm::json::Array left;
  double workOfRow = parameterWork(source);
  std::vector<Call> calls;
  // All evaluations together; the calls of many rows go first.
  for (int64_t mostRows = kMostRows; mostRows > 0; mostRows /= 2) {
    calls = drawCalls(compiled, mostRows, left);
    double rows = 0;
    for (const Call &call : calls)
      rows += call.inputs[0].second.size();
    if (5 * rows * workOfRow <= workLimit)
      break;
    calls.clear();
  }

  struct Evaluation {
    ModuleOp module;
    Functions functions;
    Arithmetic arithmetic;
    std::optional<llvm::Expected<Outputs>> outputs;
  };
  std::vector<Evaluation> evaluations;
  evaluations.push_back({source, Functions::Entries, Arithmetic::F64, {}});
  bool tiled = llvm::any_of(calls, [](const Call &call) { return call.tiled != call.variant; });
  for (Functions functions : {Functions::Variants, Functions::Tiled})
    for (Arithmetic arithmetic : {Arithmetic::F64, Arithmetic::F32})
      if (functions == Functions::Variants || tiled)
        evaluations.push_back({compiled, functions, arithmetic, {}});
  {
    llvm::DefaultThreadPool pool(llvm::hardware_concurrency());
    for (Evaluation &evaluation : evaluations)
      pool.async([&] {
        evaluation.outputs.emplace(
            evaluate(evaluation.module, calls, evaluation.functions, evaluation.arithmetic, parameters));
      });
    pool.wait();
  }
  llvm::Error errors = llvm::Error::success();
  for (Evaluation &evaluation : evaluations)
    if (!*evaluation.outputs)
      errors = llvm::joinErrors(std::move(errors), evaluation.outputs->takeError());
  if (errors)
    return errors;

  for (auto [index, call] : llvm::enumerate(calls)) {
    const Numbers &exact = (**evaluations[0].outputs)[index];
    llvm::json::Array expected;
    double farthest = 0; // of the programs from the source
    for (size_t number = 1; number < evaluations.size(); number += 2) {
      const Numbers &f64 = (**evaluations[number].outputs)[index],
                    &f32 = (**evaluations[number + 1].outputs)[index];
      double quantization = distance(f64, exact);
      double rounding = kRoundingFactor * distance(f32, f64) + quantization + kLeastBound;
      farthest = std::max(farthest, quantization + rounding);
      if (std::isfinite(farthest) && program.isExact)
        expected.push_back(
            expectation(number == 1 ? target : (target + "-tiles").str(), f64, rounding, data));
    }
    if (!std::isfinite(farthest)) { // numbers out of f32's range prove nothing
      left.push_back(call.variant);
      continue;
    }
    expected.push_back(expectation("source", exact, farthest, data));
    llvm::json::Object inputs;
    for (const auto &[name, values] : call.inputs)
      inputs[name] = llvm::json::Array(values);
    callsJson.push_back(llvm::json::Object{{"target", target.str()},
                                           {"entry", call.entry},
                                           {"variant", call.variant},
                                           {"inputs", std::move(inputs)},
                                           {"expected", std::move(expected)}});
  }
  for (llvm::json::Value &variant : left)
    allLeft.push_back((target + " " + *variant.getAsString()).str());
  return llvm::Error::success();
}
} // namespace

llvm::Expected<Samples> makeSamples(ModuleOp source, ArrayRef<CompiledModule> compiled,
                                    const ParameterSource &parameters, double workLimit) {
  Samples samples;
  llvm::json::Array calls, left;
  for (const CompiledModule &program : compiled)
    if (auto error = addSamples(source, program, parameters, workLimit, samples.data, calls, left))
      return std::move(error);
  samples.manifest = llvm::json::Object{{"seed", int64_t(kSeed)}, {"calls", std::move(calls)}};
  if (!left.empty())
    samples.manifest["variants_without_samples"] = std::move(left);
  return samples;
}

} // namespace heddle
