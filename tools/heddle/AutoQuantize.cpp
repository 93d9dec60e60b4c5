#include "tools/heddle/AutoQuantize.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace heddle::cli {

namespace {
// From cheap to dear; each has a smaller error than the one before.
const std::vector<std::string> kLadder = {"int4", "int4-asymmetric", "int5", "int8", "int8-g32", "f16"};
// Held-out samples may turn out harder than those that chose: then the bound for choosing shrinks.
constexpr int kAttempts = 4;
// A try ends as soon as its rows tell, by this many standard errors, that it spends more than is left; not
// before so many rows.
constexpr double kStandardErrors = 4;
constexpr size_t kLeastRows = 48;
// Held-out samples seldom differ from those that choose by exactly as much for two mixtures.
constexpr double kAlike = 0.98;
// Another round of tries pays when the bound for choosing could be larger by this.
constexpr double kMuchLeft = 1.1;

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

    // What a step adds to the cost of the model's results, as predicted.
    double cost(size_t step) const { return sensitivity * errors[step] * errors[step]; }
    double bytes(size_t step) const { return static_cast<double>(weight->bytes(steps[step])); }
  };

  // Distances as they add up over layers.
  struct Cost {
    double all = 0;
    std::vector<double> rows; // whose mean it is; some only when it is an estimate
    bool isEstimate = false;
  };

  void prepare();
  void measureSensitivities();
  std::unique_ptr<CompiledTrial> compile(const Levels &levels);
  /// With `base`, the cost of dearer levels: measures only as far as it takes to refuse what was changed.
  Cost measure(const Levels &levels, const Cost *base = nullptr);
  double heldOut(const Levels &levels);
  /// The cheapest levels whose predicted cost is at most `budget`.
  Levels levelsFor(double budget) const;
  /// Raises the layer where a byte buys most; false when all are as dear as can be.
  bool raise(Levels &levels) const;
  double predicted(const Levels &levels) const;
  uint64_t bytes(const Levels &levels) const;
  bool descend(Levels &levels, Cost &cost);
  bool climb(Levels &levels, Cost &cost);
  /// What one step down of a layer costs, as predicted.
  double stepCost(const Layer &layer, size_t level) const {
    return layer.cost(level - 1) - layer.cost(level);
  }
  /// Layers that can go down, those that save most for their predicted cost first.
  std::vector<size_t> candidates(const Levels &levels, const std::vector<bool> &stuck) const;
  void lower(Levels &levels, Cost &cost);
  bool lowerTogether(const std::vector<size_t> &members, Levels &levels, Cost &cost);
  bool lowerOne(size_t member, Levels &levels, Cost &cost);
  // Levels that held-out samples passed, and why they are not lower.
  struct Passing {
    Levels levels;
    Cost cost;
    double internal;
    std::vector<std::string> reasons;
  };
  void explain(const Passing &found, double heldOut);
  Levels dearest() const;
  std::string percent(double value) const;
  static std::string kindOf(const std::string &name);
  static double meanOf(const std::vector<double> &rows);

  // Errors of layers add up as squares; a distance that is itself a square (KL, cosine) is linear in them.
  double costOf(double value) const { return bound.metric == "relative_l2" ? value * value : value; }
  double valueOf(double cost) const {
    return bound.metric == "relative_l2" ? std::sqrt(std::max(cost, 0.0)) : cost;
  }

  Calibrator &calibrator;
  const ErrorBound &bound;
  const bool secondOrder;
  QuantizationPlan &plan;
  double internal; // the bound on the samples that choose
  std::vector<Layer> layers;
  size_t measured = 0;
};

std::string Search::percent(double value) const {
  return bound.metric == "relative_l2" || bound.metric == "top1"
             ? llvm::formatv("{0:f3} %", value * 100).str()
             : llvm::formatv("{0}", llvm::format("%.3g", value)).str();
}

/// "ffn_down" of "blk.3.ffn_down": layers of one kind are taken to be alike in how much their errors matter.
std::string Search::kindOf(const std::string &name) { return name.substr(name.rfind('.') + 1); }

double Search::meanOf(const std::vector<double> &rows) {
  return std::accumulate(rows.begin(), rows.end(), 0.0) / static_cast<double>(rows.size());
}

void Search::prepare() {
  for (const Calibrator::Weight &weight : calibrator.weights()) {
    Layer layer{&weight, {}, {}, 1, ""};
    for (const std::string &scheme : kLadder) {
      if (!weight.fits(scheme))
        continue;
      double error = calibrator.error(weight, scheme, secondOrder);
      if (!layer.errors.empty() && error >= layer.errors.back())
        continue; // dearer and no better: no step
      layer.steps.push_back(scheme);
      layer.errors.push_back(error);
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

std::unique_ptr<CompiledTrial> Search::compile(const Levels &levels) {
  ++measured;
  plan.weights.clear();
  for (size_t l = 0; l < layers.size(); ++l)
    plan.weights[layers[l].weight->name] =
        calibrator.round(*layers[l].weight, layers[l].steps[levels[l]], secondOrder);
  return calibrator.compile(plan);
}

Search::Cost Search::measure(const Levels &levels, const Cost *base) {
  auto trial = compile(levels);
  Cost cost;
  const double left = base ? std::max(costOf(internal) - base->all, 0.0) : 0;
  double more = 0, squares = 0;
  for (size_t number = 0; number < calibrator.count(/*heldOut=*/false); ++number) {
    for (double row : calibrator.costs(*trial, bound.metric, /*heldOut=*/false, number)) {
      if (base) {
        const double change = row - base->rows[cost.rows.size()];
        more += change;
        squares += change * change;
      }
      cost.rows.push_back(row);
    }
    const auto rows = static_cast<double>(cost.rows.size());
    const double mean = more / rows, variance = std::max(squares / rows - mean * mean, 0.0);
    if (base && cost.rows.size() >= kLeastRows &&
        mean - kStandardErrors * std::sqrt(variance / rows) > left) {
      cost.all = base->all + mean;
      cost.isEstimate = cost.rows.size() < base->rows.size();
      return cost;
    }
  }
  cost.all = meanOf(cost.rows);
  return cost;
}

double Search::heldOut(const Levels &levels) {
  auto trial = compile(levels);
  std::vector<double> rows;
  for (size_t number = 0; number < calibrator.count(/*heldOut=*/true); ++number) {
    std::vector<double> some = calibrator.costs(*trial, bound.metric, /*heldOut=*/true, number);
    rows.insert(rows.end(), some.begin(), some.end());
  }
  return valueOf(meanOf(rows));
}

double Search::predicted(const Levels &levels) const {
  double sum = 0;
  for (size_t l = 0; l < layers.size(); ++l)
    sum += layers[l].cost(levels[l]);
  return sum;
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
  // All else one step below the dearest, which takes many bytes to pack and to read.
  Levels base = dearest();
  for (size_t &level : base)
    level -= level > 0;
  const double least = measure(base).all;
  for (const auto &[kind, members] : kinds) {
    Levels levels = base;
    double squared = 0;
    for (size_t l : members) {
      levels[l] = 0;
      squared += layers[l].errors[0] * layers[l].errors[0];
    }
    double cost = measure(levels).all;
    for (size_t l : members)
      layers[l].sensitivity = squared > 0 ? std::max(cost - least, 1e-12) / squared : 1;
    llvm::errs() << llvm::formatv("{0,-24} all as {1}: {2} {3}\n", kind, layers[members[0]].steps[0],
                                  bound.metric, percent(valueOf(cost)));
  }
}

bool Search::raise(Levels &levels) const {
  size_t best = layers.size(), bestStep = 0;
  double bestGain = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    const Layer &layer = layers[l];
    for (size_t step = levels[l] + 1; step < layer.steps.size(); ++step) {
      double gain = (layer.cost(levels[l]) - layer.cost(step)) /
                    std::max(layer.bytes(step) - layer.bytes(levels[l]), 1.0);
      if (gain > bestGain) {
        bestGain = gain;
        best = l;
        bestStep = step;
      }
    }
  }
  if (best == layers.size())
    return false;
  levels[best] = bestStep;
  return true;
}

Search::Levels Search::levelsFor(double budget) const {
  Levels levels(layers.size(), 0);
  while (predicted(levels) > budget && raise(levels)) {
  }
  return levels;
}

/// Finds levels that hold the internal bound, near to the cheapest: the prediction's scale is corrected by
/// what was measured.
bool Search::descend(Levels &levels, Cost &cost) {
  const double most = costOf(internal);
  double budget = most;
  for (int step = 0; step < 6; ++step) {
    Levels candidate = levelsFor(budget);
    Cost found = measure(candidate);
    llvm::errs() << llvm::formatv("mixture of {0}: {1} {2}\n", formatBytes(bytes(candidate)), bound.metric,
                                  percent(valueOf(found.all)));
    if (found.all <= most && (levels.empty() || bytes(candidate) < bytes(levels))) {
      levels = candidate;
      cost = found;
      if (found.all > 0.85 * most)
        return true;
    } else if (!levels.empty()) {
      return true;
    }
    budget *= std::clamp(0.95 * most / std::max(found.all, 1e-12), 0.1, 10.0);
  }
  if (!levels.empty())
    return true;
  levels = dearest();
  cost = measure(levels);
  return cost.all <= most;
}

/// Back up from levels that turned out to exceed the internal bound, as few bytes as predictions tell.
bool Search::climb(Levels &levels, Cost &cost) {
  const double most = costOf(internal);
  while (cost.all > most) {
    const double budget = predicted(levels) - 1.1 * (cost.all - most);
    if (!raise(levels))
      return false;
    while (predicted(levels) > budget && raise(levels)) {
    }
    cost = measure(levels);
    llvm::errs() << llvm::formatv("back to {0}: {1} {2}\n", formatBytes(bytes(levels)), bound.metric,
                                  percent(valueOf(cost.all)));
  }
  return true;
}

std::vector<size_t> Search::candidates(const Levels &levels, const std::vector<bool> &stuck) const {
  std::vector<size_t> members;
  std::vector<double> gains(layers.size());
  for (size_t l = 0; l < layers.size(); ++l) {
    if (stuck[l] || levels[l] == 0)
      continue;
    const Layer &layer = layers[l];
    gains[l] =
        (layer.bytes(levels[l]) - layer.bytes(levels[l] - 1)) / std::max(stepCost(layer, levels[l]), 1e-30);
    members.push_back(l);
  }
  std::sort(members.begin(), members.end(),
            [&](size_t a, size_t b) { return gains[a] != gains[b] ? gains[a] > gains[b] : a < b; });
  return members;
}

/// Tries every layer one step cheaper, those that save most for their predicted cost first, and keeps what
/// holds: as many at once as should fit, half of them where they do not, and each by itself in the end. A
/// step that fails by itself stays tried: everything else only gets cheaper, so its error would only be
/// larger.
void Search::lower(Levels &levels, Cost &cost) {
  std::vector<bool> stuck(layers.size());
  size_t most = layers.size();
  for (;;) {
    std::vector<size_t> members = candidates(levels, stuck);
    if (members.empty())
      return;
    const double left = costOf(internal) - cost.all;
    size_t fitting = 0;
    for (double sum = 0; fitting < members.size(); ++fitting)
      if ((sum += stepCost(layers[members[fitting]], levels[members[fitting]])) > left)
        break;
    fitting = std::min(fitting, most);
    if (fitting > 1) {
      members.resize(fitting);
      most = lowerTogether(members, levels, cost) ? 2 * fitting : fitting / 2;
    } else if (!lowerOne(members.front(), levels, cost)) {
      stuck[members.front()] = true;
    }
  }
}

bool Search::lowerTogether(const std::vector<size_t> &members, Levels &levels, Cost &cost) {
  Levels candidate = levels;
  double predicted = 0;
  for (size_t l : members) {
    predicted += stepCost(layers[l], levels[l]);
    --candidate[l];
  }
  Cost found = measure(candidate, &cost);
  const bool holds = !found.isEstimate && found.all <= costOf(internal);
  llvm::errs() << llvm::formatv("{0} layers one step cheaper: {1} {2}{3}\n", members.size(), bound.metric,
                                percent(valueOf(found.all)), holds ? ", kept" : "");
  const double correction = std::clamp((found.all - cost.all) / predicted, 0.25, 4.0);
  for (size_t l : members)
    layers[l].sensitivity *= correction;
  if (holds) {
    levels = candidate;
    cost = std::move(found);
  }
  return holds;
}

bool Search::lowerOne(size_t member, Levels &levels, Cost &cost) {
  Layer &layer = layers[member];
  Levels candidate = levels;
  const size_t cheaper = --candidate[member];
  Cost found = measure(candidate, &cost);
  const bool holds = !found.isEstimate && found.all <= costOf(internal);
  const double squares =
      layer.errors[cheaper] * layer.errors[cheaper] - layer.errors[cheaper + 1] * layer.errors[cheaper + 1];
  layer.sensitivity = std::max(found.all - cost.all, 1e-12) / squares;
  const std::string says = "as " + layer.steps[cheaper] + " " + bound.metric + " would be " +
                           (found.isEstimate ? "about " : "") + percent(valueOf(found.all));
  note(layer.weight->name + " " + says + (holds ? ", kept" : ""));
  if (!holds) {
    layer.reason = says;
    return false;
  }
  levels = candidate;
  cost = std::move(found);
  return true;
}

void Search::explain(const Passing &found, double heldOut) {
  const Levels &levels = found.levels;
  llvm::json::Array table;
  for (size_t l = 0; l < layers.size(); ++l) {
    const Layer &layer = layers[l];
    llvm::json::Object row{{"weight", layer.weight->name},
                           {"scheme", layer.steps[levels[l]]},
                           {"error_percent", 100 * layer.errors[levels[l]]},
                           {"bytes", static_cast<int64_t>(layer.weight->bytes(layer.steps[levels[l]]))}};
    row["reason"] = levels[l] == 0 ? "the cheapest scheme" : found.reasons[l];
    table.push_back(std::move(row));
    llvm::errs() << llvm::formatv("  {0,-24} {1,-16} {2,8:f3} %  {3}\n", layer.weight->name,
                                  layer.steps[levels[l]], 100 * layer.errors[levels[l]],
                                  levels[l] == 0 ? "" : found.reasons[l]);
  }
  plan.report["weights"] = std::move(table);
  plan.report["metric"] = bound.metric;
  plan.report["bound"] = bound.value;
  plan.report["bound_while_choosing"] = found.internal;
  plan.report["error_on_choosing_samples"] = valueOf(found.cost.all);
  plan.report["error_on_held_out_samples"] = heldOut;
  plan.report["models_measured"] = static_cast<int64_t>(measured);
}

void Search::run() {
  prepare();
  // Activations of 8 bits may be what costs too much, whatever the weights are.
  double least = valueOf(measure(dearest()).all);
  if (least > internal && plan.activations.empty()) {
    llvm::errs() << llvm::formatv("with 8-bit activations the best is {0} {1}: activations get 16 bits\n",
                                  bound.metric, percent(least));
    plan.activations = "i16";
    least = valueOf(measure(dearest()).all);
  }
  if (!(least <= internal))
    fail(ExitAccuracy, "--max-error " + bound.metric + "=" + percent(bound.value) +
                           " cannot be met: with every weight as " + kLadder.back() + " it is " +
                           percent(least));
  measureSensitivities();
  Levels levels;
  Cost cost;
  if (!descend(levels, cost))
    fail(ExitAccuracy, "--max-error " + bound.metric + "=" + percent(bound.value) +
                           " cannot be met: the nearest was " + percent(valueOf(cost.all)));
  // What those that choose may show so that those held out show the bound.
  auto alike = [&](double heldOut) {
    return std::min(bound.value, kAlike * valueOf(cost.all) * bound.value / heldOut);
  };
  internal = alike(heldOut(levels));
  if (!climb(levels, cost))
    fail(ExitAccuracy, "--max-error " + bound.metric + "=" + percent(bound.value) +
                           " cannot be met on held-out samples: the nearest was " +
                           percent(valueOf(cost.all)));
  std::optional<Passing> passing;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    lower(levels, cost);
    least = heldOut(levels);
    llvm::errs() << llvm::formatv(
        "{0} of weights; {1} {2} on the samples that chose, {3} on those held out\n",
        formatBytes(bytes(levels)), bound.metric, percent(valueOf(cost.all)), percent(least));
    const double next = alike(least);
    if (least <= bound.value && (!passing || bytes(levels) < bytes(passing->levels))) {
      passing = {levels, cost, internal, {}};
      for (const Layer &layer : layers)
        passing->reasons.push_back(layer.reason);
    }
    if (least <= bound.value && next < kMuchLeft * internal)
      break;
    internal = next;
    if (!climb(levels, cost))
      break;
  }
  if (passing) // measured last, since the plan is that of what was measured last
    return explain(*passing, heldOut(passing->levels));
  fail(ExitAccuracy, "--max-error " + bound.metric + "=" + percent(bound.value) +
                         " cannot be met on held-out samples: the nearest was " + percent(least));
}
} // namespace

void quantizeAutomatically(Calibrator &calibrator, const ErrorBound &bound, bool secondOrder,
                           QuantizationPlan &plan) {
  Search(calibrator, bound, secondOrder, plan).run();
}

} // namespace heddle::cli
