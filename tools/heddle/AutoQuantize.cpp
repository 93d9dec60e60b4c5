#include "tools/heddle/AutoQuantize.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>

namespace heddle::cli {

namespace {
// From cheap to dear; each has a smaller error than the one before.
const std::vector<std::string> kLadder = {"int4", "int4-asymmetric", "int5", "int8", "f16"};
// Held-out samples may turn out harder than those that chose: then the bound for choosing shrinks.
constexpr int kAttempts = 4;

class Search {
public:
  Search(Calibrator &calibrator, const ErrorBound &bound, bool secondOrder, QuantizationPlan &plan)
      : calibrator(calibrator), bound(bound), secondOrder(secondOrder), plan(plan), internal(bound.value) {}

  void run();

private:
  using Levels = std::vector<size_t>; // of each layer, index into its steps

  struct Layer {
    const Calibrator::Weight *weight;
    std::vector<std::string> steps; // the part of the ladder that fits its rows
    std::vector<double> errors;     // relative, of each step
    double sensitivity = 1;
    std::string reason;
  };

  void prepare();
  void measureSensitivities();
  double measure(const Levels &levels, bool heldOut = false);
  /// The cheapest levels whose predicted error is at most `budget`.
  Levels levelsFor(double budget) const;
  double predicted(const Levels &levels) const;
  uint64_t bytes(const Levels &levels) const;
  bool descend(Levels &levels, double &error);
  void lower(Levels &levels, double &error);
  void explain(const Levels &levels, double error, double heldOut);
  Levels dearest() const;
  std::string percent(double value) const;
  static std::string kindOf(const std::string &name);

  Calibrator &calibrator;
  const ErrorBound &bound;
  const bool secondOrder;
  QuantizationPlan &plan;
  double internal; // the bound on the samples that choose
  std::vector<Layer> layers;
  size_t measured = 0;
  bool squares() const { return bound.metric == "relative_l2"; }
};

std::string Search::percent(double value) const {
  return squares() || bound.metric == "top1" ? llvm::formatv("{0:f3} %", value * 100).str()
                                             : llvm::formatv("{0:f5}", value).str();
}

/// "ffn_down" of "blk.3.ffn_down": layers of one kind are taken to be alike in how much their errors matter.
std::string Search::kindOf(const std::string &name) { return name.substr(name.rfind('.') + 1); }

void Search::prepare() {
  for (const Calibrator::Weight &weight : calibrator.weights()) {
    Layer layer{&weight, {}, {}, 1, ""};
    for (const std::string &scheme : kLadder)
      if (weight.fits(scheme)) {
        layer.steps.push_back(scheme);
        layer.errors.push_back(calibrator.round(weight, scheme, secondOrder).error);
      }
    layers.push_back(std::move(layer));
  }
}

Search::Levels Search::dearest() const {
  Levels levels;
  for (const Layer &layer : layers)
    levels.push_back(layer.steps.size() - 1);
  return levels;
}

double Search::measure(const Levels &levels, bool heldOut) {
  ++measured;
  plan.weights.clear();
  for (size_t l = 0; l < layers.size(); ++l)
    plan.weights[layers[l].weight->name] =
        calibrator.round(*layers[l].weight, layers[l].steps[levels[l]], secondOrder).choice;
  return calibrator.measure(plan, heldOut).value(bound.metric);
}

/// Errors of layers add up as squares; a distance that is itself a square (KL, cosine) is linear in them.
double Search::predicted(const Levels &levels) const {
  double sum = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    double error = layers[l].errors[levels[l]];
    sum += layers[l].sensitivity * error * error;
  }
  return squares() ? std::sqrt(sum) : sum;
}

uint64_t Search::bytes(const Levels &levels) const {
  uint64_t sum = 0;
  for (size_t l = 0; l < layers.size(); ++l)
    sum += layers[l].weight->bytes(layers[l].steps[levels[l]]);
  return sum;
}

void Search::measureSensitivities() {
  std::map<std::string, std::vector<size_t>> kinds;
  for (size_t l = 0; l < layers.size(); ++l)
    kinds[kindOf(layers[l].weight->name)].push_back(l);
  const Levels exact = dearest();
  const double least = measure(exact);
  for (const auto &[kind, members] : kinds) {
    Levels levels = exact;
    double squared = 0;
    for (size_t l : members) {
      levels[l] = 0;
      squared += layers[l].errors[0] * layers[l].errors[0];
    }
    double error = measure(levels);
    double cost = squares() ? error * error - least * least : error - least;
    for (size_t l : members)
      layers[l].sensitivity = squared > 0 ? std::max(cost, 1e-12) / squared : 1;
    llvm::errs() << llvm::formatv("{0,-24} all as {1}: {2} {3}\n", kind, layers[members[0]].steps[0],
                                  bound.metric, percent(error));
  }
}

Search::Levels Search::levelsFor(double budget) const {
  // Raise where a byte buys the largest fall of error, from the cheapest levels up.
  Levels levels(layers.size(), 0);
  while (predicted(levels) > budget) {
    size_t best = layers.size(), bestStep = 0;
    double bestGain = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      const Layer &layer = layers[l];
      auto cost = [&](size_t step) { return layer.sensitivity * layer.errors[step] * layer.errors[step]; };
      for (size_t step = levels[l] + 1; step < layer.steps.size(); ++step) {
        double fall = cost(levels[l]) - cost(step);
        double more = static_cast<double>(layer.weight->bytes(layer.steps[step])) -
                      static_cast<double>(layer.weight->bytes(layer.steps[levels[l]]));
        if (double gain = fall / std::max(more, 1.0); gain > bestGain) {
          bestGain = gain;
          best = l;
          bestStep = step;
        }
      }
    }
    if (best == layers.size())
      return dearest();
    levels[best] = bestStep;
  }
  return levels;
}

/// Finds levels that hold the internal bound, near to the cheapest: the prediction's scale is corrected by
/// what was measured.
bool Search::descend(Levels &levels, double &error) {
  double budget = internal;
  for (int step = 0; step < 6; ++step) {
    Levels candidate = levelsFor(budget);
    double found = measure(candidate);
    llvm::errs() << llvm::formatv("mixture of {0}: {1} {2}\n", formatBytes(bytes(candidate)), bound.metric,
                                  percent(found));
    if (found <= internal && (levels.empty() || bytes(candidate) < bytes(levels))) {
      levels = candidate;
      error = found;
      if (found > 0.93 * internal)
        return true;
    } else if (!levels.empty()) {
      return true;
    }
    budget *= std::clamp(0.97 * internal / std::max(found, 1e-12), 0.3, 3.0);
  }
  if (!levels.empty())
    return true;
  levels = dearest();
  error = measure(levels);
  return error <= internal;
}

/// Tries every layer one step cheaper, those that save most for their predicted error first, and keeps what
/// holds. A step that fails stays tried: everything else only gets cheaper, so its error would only be
/// larger.
void Search::lower(Levels &levels, double &error) {
  std::vector<bool> stuck(layers.size());
  for (;;) {
    size_t best = layers.size();
    double bestGain = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      if (stuck[l] || levels[l] == 0)
        continue;
      const Layer &layer = layers[l];
      double more = layer.errors[levels[l] - 1] * layer.errors[levels[l] - 1] -
                    layer.errors[levels[l]] * layer.errors[levels[l]];
      double saved = static_cast<double>(layer.weight->bytes(layer.steps[levels[l]]) -
                                         layer.weight->bytes(layer.steps[levels[l] - 1]));
      if (double gain = saved / std::max(layer.sensitivity * more, 1e-30);
          gain > bestGain || best == layers.size()) {
        bestGain = gain;
        best = l;
      }
    }
    if (best == layers.size())
      return;
    Levels candidate = levels;
    --candidate[best];
    double found = measure(candidate);
    Layer &layer = layers[best];
    if (found <= internal) {
      levels = candidate;
      error = found;
    } else {
      stuck[best] = true;
      layer.reason =
          "as " + layer.steps[levels[best] - 1] + " " + bound.metric + " would be " + percent(found);
    }
  }
}

void Search::explain(const Levels &levels, double error, double heldOut) {
  llvm::json::Array table;
  for (size_t l = 0; l < layers.size(); ++l) {
    const Layer &layer = layers[l];
    llvm::json::Object row{{"weight", layer.weight->name},
                           {"scheme", layer.steps[levels[l]]},
                           {"error_percent", 100 * layer.errors[levels[l]]},
                           {"bytes", static_cast<int64_t>(layer.weight->bytes(layer.steps[levels[l]]))}};
    row["reason"] = levels[l] == 0 ? "the cheapest scheme" : layer.reason;
    table.push_back(std::move(row));
    llvm::errs() << llvm::formatv("  {0,-24} {1,-16} {2,8:f3} %  {3}\n", layer.weight->name,
                                  layer.steps[levels[l]], 100 * layer.errors[levels[l]],
                                  levels[l] == 0 ? "" : layer.reason);
  }
  plan.report["weights"] = std::move(table);
  plan.report["metric"] = bound.metric;
  plan.report["bound"] = bound.value;
  plan.report["error_on_choosing_samples"] = error;
  plan.report["error_on_held_out_samples"] = heldOut;
  plan.report["models_measured"] = static_cast<int64_t>(measured);
}

void Search::run() {
  prepare();
  // Activations of 8 bits may be what costs too much, whatever the weights are.
  double least = measure(dearest());
  if (least > internal && plan.activations.empty()) {
    llvm::errs() << llvm::formatv("with 8-bit activations the best is {0} {1}: activations get 16 bits\n",
                                  bound.metric, percent(least));
    plan.activations = "i16";
    least = measure(dearest());
  }
  if (!(least <= internal))
    fail(ExitAccuracy, "--max-error " + bound.metric + "=" + percent(bound.value) +
                           " cannot be met: with every weight as " + kLadder.back() + " it is " +
                           percent(least));
  measureSensitivities();
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Levels levels;
    double error = 0;
    if (!descend(levels, error))
      break;
    lower(levels, error);
    double heldOut = measure(levels, /*heldOut=*/true); // last: the plan is that of `levels` now
    llvm::errs() << llvm::formatv(
        "{0} of weights; {1} {2} on the samples that chose, {3} on those held out\n",
        formatBytes(bytes(levels)), bound.metric, percent(error), percent(heldOut));
    if (heldOut <= bound.value)
      return explain(levels, error, heldOut);
    least = heldOut;
    internal *= 0.95 * bound.value / heldOut;
  }
  fail(ExitAccuracy, "--max-error " + bound.metric + "=" + percent(bound.value) +
                         " cannot be met on held-out samples: the nearest was " + percent(least));
}
} // namespace

void quantizeAutomatically(Calibrator &calibrator, const ErrorBound &bound, bool secondOrder,
                           QuantizationPlan &plan) {
  Search(calibrator, bound, secondOrder, plan).run();
}

} // namespace heddle::cli
