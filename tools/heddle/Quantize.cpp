#include "tools/heddle/Quantize.h"
#include "ir/SourceNames.h"
#include "ir/WeightEncoding.h"
#include "passes/Parameters.h"
#include "passes/Passes.h"
#include "tools/heddle/AutoQuantize.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/raw_ostream.h"
#include <unistd.h>

namespace heddle::cli {

namespace {
constexpr uint64_t kLargestProfile = uint64_t(64) << 20;
constexpr int64_t kProfileVersion = 1;

void checkRules(const QuantizeOptions &options) {
  if (options.isAuto())
    return;
  bool hasDefault = false;
  for (llvm::StringRef rule : options.rules) {
    auto [pattern, scheme] = rule.split('=');
    if (scheme.empty()) {
      if (hasDefault)
        fail(ExitUsage,
             "--quantize takes one scheme for all weights and PATTERN=SCHEME for some, but found '" +
                 printable(rule.str()) + "' beside another for all");
      hasDefault = true;
      scheme = pattern;
    } else if (auto glob = llvm::GlobPattern::create(pattern); !glob) {
      fail(ExitUsage, "--quantize: '" + printable(pattern.str()) +
                          "' is no pattern: " + llvm::toString(glob.takeError()));
    }
    if (scheme == "keep" || weightSchemeByName(scheme.str()))
      continue;
    std::string known = "auto, keep";
    for (const WeightScheme &each : weightSchemes())
      known += ", " + std::string(each.name);
    fail(ExitUsage, "unknown scheme '" + printable(scheme.str()) + "'; known schemes: " + known);
  }
}

llvm::json::Array modelHashes(const ImportedModel &model) {
  llvm::json::Array hashes;
  for (size_t index = 0; index < model.files->count(); ++index)
    hashes.push_back(model.files->sha256(index));
  return hashes;
}

std::string weightsFileOf(const std::string &profile) { return profile + ".weights"; }

// The profile that `--calibrate` wrote: what was chosen, measured, and where rounded weights are.
void writeProfile(const ImportVerb &import, const std::string &path, QuantizationPlan &plan) {
  llvm::json::Array weights;
  for (const auto &[name, choice] : plan.weights) {
    llvm::json::Object weight{{"weight", name}, {"scheme", choice.scheme}};
    if (choice.offset) {
      weight["offset_bytes"] = static_cast<int64_t>(*choice.offset);
      weight["rounded_to"] = choice.scheme;
    }
    weights.push_back(std::move(weight));
  }
  llvm::json::Object profile{{"profile_version", kProfileVersion},
                             {"model_sha256", modelHashes(Importer(import).model())},
                             {"weights", std::move(weights)},
                             {"measured", llvm::json::Object(plan.report)}};
  if (!plan.activations.empty())
    profile["activations"] = plan.activations;
  if (!plan.ranges.empty()) {
    llvm::json::Array ranges;
    for (const auto &[node, range] : plan.ranges)
      ranges.push_back(llvm::json::Object{{"node", node}, {"range", range}});
    profile["activation_ranges"] = std::move(ranges);
  }
  if (plan.hasRounded()) {
    auto file = InputFile::open(plan.roundedFile);
    if (!file)
      fail(ExitInputOutput, llvm::toString(file.takeError()));
    llvm::ArrayRef<uint8_t> bytes = (*file)->bytes();
    writeFileAtomically(weightsFileOf(path), {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
    profile["rounded_weights_sha256"] = ModelFiles({*file}).sha256(0);
    plan.roundedFile = weightsFileOf(path);
    plan.temporary.reset();
  }
  writeFileAtomically(path, llvm::formatv("{0:2}\n", llvm::json::Value(std::move(profile))).str());
}

[[noreturn]] void badProfile(const std::string &path, const std::string &why) {
  fail(ExitInvalidFile, printable(path) + ": " + why);
}

void readRanges(const llvm::json::Object &profile, mlir::ModuleOp module, const std::string &path,
                QuantizationPlan &plan) {
  const llvm::json::Array *ranges = profile.getArray("activation_ranges");
  if (!ranges)
    return;
  llvm::StringSet<> nodes;
  module.walk(
      [&](mlir::heddle::LinearOp linear) { nodes.insert(mlir::heddle::sourceNames(linear.getLoc())); });
  for (const llvm::json::Value &item : *ranges) {
    const llvm::json::Object *entry = item.getAsObject();
    auto node = entry ? entry->getString("node") : std::nullopt;
    auto range = entry ? entry->getNumber("range") : std::nullopt;
    if (!node || !range || !(*range >= 1e-30 && *range <= 1e30))
      badProfile(
          path,
          "expected every entry of 'activation_ranges' to have a 'node' and a 'range' from 1e-30 to 1e30");
    if (!nodes.contains(*node))
      badProfile(path, "the model has no product at node '" + printable(node->str()) + "'");
    plan.ranges[node->str()] = *range;
  }
}

// The text is the user's to edit; the weights belong to the model by its hash.
void readProfile(const ImportVerb &import, const std::string &path, QuantizationPlan &plan) {
  auto json = llvm::json::parse(readFile(path, kLargestProfile));
  if (!json)
    badProfile(path, "not JSON: " + llvm::toString(json.takeError()));
  const llvm::json::Object *profile = json->getAsObject();
  const llvm::json::Array *weights = profile ? profile->getArray("weights") : nullptr;
  if (!weights || profile->getInteger("profile_version") != kProfileVersion)
    badProfile(path, "expected a profile of version " + std::to_string(kProfileVersion) + " with 'weights'");
  Importer importer(import);
  const llvm::json::Array *hashes = profile->getArray("model_sha256");
  if (!hashes || *hashes != modelHashes(importer.model()))
    badProfile(path,
               "was made for another model: its 'model_sha256' is not that of " + printable(import.model));
  llvm::StringMap<int64_t> columns;
  for (auto param : mlir::heddle::storedMatrices(importer.module()))
    columns[param.getSymName()] = mlir::heddle::shapeOf(param.getType())[1];
  for (const llvm::json::Value &item : *weights) {
    const llvm::json::Object *weight = item.getAsObject();
    auto name = weight ? weight->getString("weight") : std::nullopt,
         scheme = weight ? weight->getString("scheme") : std::nullopt;
    const WeightScheme *known = scheme ? weightSchemeByName(scheme->str()) : nullptr;
    if (!name || !scheme || (*scheme != "keep" && !known))
      badProfile(path, "expected every entry of 'weights' to have a 'weight' and a known 'scheme'");
    auto found = columns.find(*name);
    if (found == columns.end())
      badProfile(path, "the model has no matrix '" + printable(name->str()) + "' to round");
    if (known && found->second % formatInfo(known->format).blockElements != 0)
      badProfile(path, "scheme '" + scheme->str() + "' does not fit rows of '" + printable(name->str()) +
                           "', which have " + std::to_string(found->second) + " columns");
    WeightChoice choice{scheme->str(), std::nullopt};
    auto offset = weight->getInteger("offset_bytes");
    if (offset && *offset < 0)
      badProfile(path, "'" + printable(name->str()) + "' has a negative 'offset_bytes'");
    // Another scheme than that of the rounded weights was written here by hand: it is rounded to anew.
    if (offset && weight->getString("rounded_to") == scheme)
      choice.offset = static_cast<uint64_t>(*offset);
    plan.weights[name->str()] = choice;
  }
  if (auto activations = profile->getString("activations")) {
    if (*activations != "mixed" && *activations != "i8" && *activations != "i16")
      badProfile(path, "unknown 'activations' '" + printable(activations->str()) + "'");
    plan.activations = activations->str();
  }
  readRanges(*profile, importer.module(), path, plan);
  if (const llvm::json::Object *measured = profile->getObject("measured"))
    plan.report = *measured;
  auto expected = profile->getString("rounded_weights_sha256");
  if (!expected)
    return;
  plan.roundedFile = weightsFileOf(path);
  auto file = InputFile::open(plan.roundedFile);
  if (!file)
    fail(ExitInputOutput, llvm::toString(file.takeError()));
  if (ModelFiles({*file}).sha256(0) != *expected)
    badProfile(plan.roundedFile, "is not the file that " + printable(path) + " was written with");
}

// One scheme for all, or by rules: rounding alone uses the samples.
void roundByRules(Calibrator &calibrator, const QuantizeOptions &options, bool secondOrder,
                  QuantizationPlan &plan) {
  llvm::json::Array table;
  for (const Calibrator::Weight &weight : calibrator.weights()) {
    std::string scheme = mlir::heddle::schemeFor(options.rules, weight.name).str();
    if (scheme.empty() || scheme == "keep")
      continue;
    if (!weight.fits(scheme))
      fail(ExitUsage, "scheme '" + scheme + "' does not fit rows of '" + weight.name + "', which have " +
                          std::to_string(weight.columns) +
                          " columns; choose another for it, as in --quantize " + scheme + "," + weight.name +
                          "=int8");
    plan.weights[weight.name] = calibrator.round(weight, scheme, secondOrder);
    table.push_back(
        llvm::json::Object{{"weight", weight.name},
                           {"scheme", scheme},
                           {"error_percent", 100 * calibrator.error(weight, scheme, secondOrder)},
                           {"nearest_error_percent", 100 * calibrator.nearestError(weight, scheme)},
                           {"bytes", static_cast<int64_t>(weight.bytes(scheme))}});
  }
  plan.report["weights"] = std::move(table);
}

// The published claim is about these two: errors of int8 with one scale a tensor, and one a channel.
void compareGranularity(Calibrator &calibrator, QuantizationPlan &plan) {
  llvm::json::Array table;
  for (const Calibrator::Weight &weight : calibrator.weights())
    if (weight.fits("int8"))
      table.push_back(llvm::json::Object{
          {"weight", weight.name},
          {"int8_tensor_error_percent", 100 * calibrator.nearestError(weight, "int8-tensor")},
          {"int8_channel_error_percent", 100 * calibrator.nearestError(weight, "int8")}});
  plan.report["granularity"] = std::move(table);
}
} // namespace

void addQuantizeOptions(CLI::App &app, QuantizeOptions &options) {
  app.add_option("--quantize", options.rules,
                 "Round weights: a scheme for all, PATTERN=SCHEME for some, or auto (docs/quantization.md)")
      ->delimiter(',')
      ->option_text("SCHEME|auto,...");
  app.add_option("--calibrate", options.calibrate,
                 "Samples that rounding looks at: a .txt or .npy file or a folder of them")
      ->option_text("PATH");
  app.add_option("--calibrate-tokens", options.tokens, "Most tokens of samples (8192)")
      ->check(CLI::Range(64, 1 << 22))
      ->option_text("N");
  app.add_option(
         "--rounding", options.rounding,
         "nearest, search (scales of least square error), second-order (makes up for errors by what the "
         "samples show; the default with --calibrate)")
      ->check(CLI::IsMember({"nearest", "search", "second-order"}))
      ->option_text("HOW");
  app.add_option(
         "--activation-ranges", options.ranges,
         "Where activations are integers, their scales: dynamic (each block its own, the default), or static "
         "ones that --calibrate finds by min-max, percentile, entropy or mse")
      ->check(CLI::IsMember({"dynamic", "min-max", "percentile", "entropy", "mse"}))
      ->option_text("HOW");
  app.add_option("--max-error", options.maxError,
                 "Bound on held-out samples: relative_l2=0.8%, kl=NATS, cosine=D, top1=P%")
      ->option_text("METRIC=BOUND");
  app.add_option("--profile", options.profile,
                 "Where calibration writes what it found; without --calibrate: what to use again")
      ->option_text("FILE.json");
}

bool QuantizationPlan::hasRounded() const {
  return llvm::any_of(weights, [](const auto &entry) { return entry.second.offset.has_value(); });
}

llvm::Error QuantizationPlan::apply(mlir::ModuleOp module, ModelFiles &files, CompileOptions &options) const {
  options.quantize = llvm::join(rules, ",");
  options.search = search;
  options.quantization = llvm::json::Object(report);
  if (!activations.empty())
    options.activations = activations;
  mlir::OpBuilder builder(module.getContext());
  if (!ranges.empty()) {
    if (options.target != "cpu")
      return llvm::createStringError(std::make_error_code(std::errc::not_supported),
                                     "static activations are for target 'cpu', but found '" + options.target +
                                         "'; leave --activation-ranges at dynamic");
    llvm::SmallVector<mlir::NamedAttribute> entries;
    for (const auto &[node, range] : ranges)
      entries.push_back(builder.getNamedAttr(node, builder.getF64FloatAttr(range)));
    module->setAttr(mlir::heddle::kActivationRangesAttr, builder.getDictionaryAttr(entries));
  }
  if (weights.empty())
    return llvm::Error::success();
  std::optional<int64_t> file;
  if (hasRounded()) {
    auto opened = InputFile::open(roundedFile, temporary ? "rounded.weights" : "");
    if (!opened)
      return opened.takeError();
    file = static_cast<int64_t>(files.add(*opened));
  }
  llvm::SmallVector<mlir::NamedAttribute> entries;
  for (const auto &[name, choice] : weights) {
    llvm::SmallVector<mlir::NamedAttribute> entry{
        builder.getNamedAttr("scheme", builder.getStringAttr(choice.scheme))};
    if (choice.offset && file) {
      entry.push_back(builder.getNamedAttr("file", builder.getI64IntegerAttr(*file)));
      entry.push_back(
          builder.getNamedAttr("offset", builder.getI64IntegerAttr(static_cast<int64_t>(*choice.offset))));
    }
    entries.push_back(builder.getNamedAttr(name, builder.getDictionaryAttr(entry)));
  }
  module->setAttr(mlir::heddle::kQuantizationAttr, builder.getDictionaryAttr(entries));
  return llvm::Error::success();
}

std::unique_ptr<QuantizationPlan> planQuantization(const ImportVerb &import, const QuantizeOptions &options) {
  auto plan = std::make_unique<QuantizationPlan>();
  checkRules(options);
  std::optional<ErrorBound> bound;
  if (!options.maxError.empty())
    bound = parseErrorBound(options.maxError);
  if (!options.calibrates()) {
    if (options.isAuto() || bound || options.rounding == "second-order")
      fail(ExitUsage,
           "--quantize auto, --max-error and --rounding second-order need samples: --calibrate PATH");
    if (options.ranges != "dynamic")
      fail(ExitUsage, "--activation-ranges " + options.ranges + " needs samples: --calibrate PATH");
    if (!options.profile.empty())
      readProfile(import, options.profile, *plan);
    plan->rules = options.rules;
    plan->search = options.rounding == "search";
    return plan;
  }
  if (options.rules.empty())
    fail(ExitUsage, "--calibrate needs --quantize SCHEME or --quantize auto");
  if (options.isAuto() && !bound)
    fail(ExitUsage, "--quantize auto needs a bound: --max-error relative_l2=0.8%, kl=0.01, ...");
  const bool secondOrder = options.rounding.empty() || options.rounding == "second-order";
  plan->search = options.rounding != "nearest";
  plan->temporary = std::make_unique<UnnamedFile>();
  plan->roundedFile = plan->temporary->path();
  Calibrator calibrator(import, options, *plan->temporary);
  static const std::map<std::string, RangeMethod> methods = {{"min-max", RangeMethod::MinMax},
                                                             {"percentile", RangeMethod::Percentile},
                                                             {"entropy", RangeMethod::Entropy},
                                                             {"mse", RangeMethod::SquaredError}};
  if (auto method = methods.find(options.ranges); method != methods.end())
    plan->ranges = calibrator.activationRanges(method->second);
  if (options.isAuto()) {
    quantizeAutomatically(calibrator, *bound, secondOrder, *plan);
  } else {
    roundByRules(calibrator, options, secondOrder, *plan);
    if (bound) {
      auto trial = calibrator.compile(*plan);
      double error = calibrator.heldOutDistance(*trial).value(bound->metric);
      plan->report["metric"] = bound->metric;
      plan->report["error_on_held_out_samples"] = error;
      if (!(error <= bound->value))
        fail(ExitAccuracy, "--max-error " + options.maxError + ": " + llvm::join(options.rules, ",") +
                               " has " + bound->metric + " " + llvm::formatv("{0:f5}", error).str() +
                               " on held-out samples; --quantize auto mixes schemes");
    }
  }
  compareGranularity(calibrator, *plan);
  if (!options.profile.empty())
    writeProfile(import, options.profile, *plan);
  return plan;
}

} // namespace heddle::cli
