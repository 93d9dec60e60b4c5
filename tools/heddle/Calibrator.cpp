#include "tools/heddle/Calibrator.h"
#include "ir/SourceNames.h"
#include "passes/Parameters.h"
#include "passes/Passes.h"
#include "tools/heddle/Text.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Parallel.h"
#include "llvm/Support/raw_ostream.h"
#include <numeric>
#include <unistd.h>

namespace heddle::cli {

namespace {
// Rows of logits that are compared, and that the head's statistics see: one in so many.
constexpr size_t kErrorStride = 8, kStatisticsStride = 4;
static_assert(kErrorStride <= Samples::kLeastTokens && kErrorStride % kStatisticsStride == 0);
constexpr int64_t kPieceRows = 512; // rows that are rounded between two writes
constexpr int64_t kErrorRows = 128; // of a weight, spread over it, that tell its error; in groups
constexpr double kFewBits = 9;      // schemes up to here gain from second-order corrections

const WeightScheme &schemeNamed(const std::string &name) {
  const WeightScheme *scheme = weightSchemeByName(name);
  if (!scheme)
    fail(ExitUsage, "unknown scheme '" + printable(name) + "'");
  return *scheme;
}

double bitsPerWeight(const WeightScheme &scheme, int64_t columns) {
  return 8.0 * static_cast<double>(storedBytes(scheme.format, columns)) / static_cast<double>(columns);
}

// Sums over rows of squared errors and squared sizes, as statistics weigh them.
struct ErrorSum {
  double change = 0, size = 0;

  // Rows of a matrix, and what became of them.
  void add(const InputStatistics *statistics, std::span<const float> exact, std::span<const float> rounded) {
    std::vector<float> difference(exact.size());
    for (size_t k = 0; k < exact.size(); ++k)
      difference[k] = rounded[k] - exact[k];
    auto loss = [&](std::span<const float> rows) {
      if (statistics)
        return statistics->loss(rows);
      double sum = 0;
      for (float x : rows)
        sum += double(x) * x;
      return sum;
    };
    change += loss(difference);
    size += loss(exact);
  }
  void add(const ErrorSum &more) {
    change += more.change;
    size += more.size;
  }
  double relative() const { return size > 0 ? std::sqrt(change / size) : 0; }
};
} // namespace

uint64_t Calibrator::Weight::bytes(const std::string &scheme) const {
  return rows * storedBytes(schemeNamed(scheme).format, columns);
}

bool Calibrator::Weight::fits(const std::string &scheme) const {
  return columns % formatInfo(schemeNamed(scheme).format).blockElements == 0;
}

Calibrator::Calibrator(const ImportVerb &import, const QuantizeOptions &options, UnnamedFile &side)
    : verb(import), side(side) {
  verb.targets = {"cpu:native"};
  verb.maxSequences = 1;
  verb.maxChunk = Samples::kSampleTokens;
  verb.observe.clear();
  importer = std::make_unique<Importer>(verb);
  for (auto param : mlir::heddle::storedMatrices(importer->module())) {
    auto shape = mlir::heddle::shapeOf(param.getType());
    all.push_back({param.getSymName().str(), shape[0], shape[1], nullptr});
  }
  importer->module().walk([&](mlir::heddle::EmbeddingOp table) {
    if (auto get = table->getOperand(0).getDefiningOp<mlir::heddle::GetParamOp>())
      for (Weight &weight : all)
        weight.isTable |= weight.name == get.getParam();
  });
  importer->module().walk([&](mlir::heddle::LinearOp linear) {
    if (auto get = linear.getWeight().getDefiningOp<mlir::heddle::GetParamOp>())
      weightOfNode[mlir::heddle::sourceNames(linear.getLoc())] = get.getParam().str();
  });
  auto reference = compileReference();
  Text text(reference->get(), import.model);
  samples = readSamples(options.calibrate, text, reference->kind(), options.tokens);
  llvm::errs() << "calibrating with " << samples.chosenBy.size() << " samples of " << samples.tokens()
               << " tokens in all, " << samples.heldOut.size() << " more held out\n";
  gather(*reference, samples.chosenBy, /*statistics=*/true, chosenByRows);
  gather(*reference, samples.heldOut, /*statistics=*/false, heldOutRows);
  for (bool heldOut : {false, true}) {
    double squares = 0, rows = 0;
    for (const std::vector<float> &sample : heldOut ? heldOutRows : chosenByRows) {
      squares += std::inner_product(sample.begin(), sample.end(), sample.begin(), 0.0);
      rows += static_cast<double>(sample.size() / width);
    }
    meanSquares[heldOut] = squares / rows;
  }
}

std::vector<Calibrator::Weight *> Calibrator::weightsOf(const std::string &observed) {
  std::vector<Weight *> weights;
  size_t at = observed.find("input:");
  if (at == std::string::npos)
    return weights;
  for (llvm::StringRef node : llvm::split(llvm::StringRef(observed).substr(at + 6).split(';').first, ','))
    if (auto found = weightOfNode.find(node.str()); found != weightOfNode.end())
      for (Weight &entry : all)
        if (entry.name == found->second)
          weights.push_back(&entry);
  return weights;
}

/// Readers of one value share its statistics.
void Calibrator::addStatistics(CompiledTrial &reference) {
  struct Job {
    InputStatistics *to;
    const float *rows;
    int64_t count;
  };
  std::vector<Job> jobs;
  reference.observed([&](const std::string &name, const float *data, int64_t count, int64_t columns) {
    std::shared_ptr<InputStatistics> shared;
    for (Weight *weight : weightsOf(name)) {
      if (!weight->statistics)
        weight->statistics = shared ? shared : std::make_shared<InputStatistics>(columns);
      if (weight->statistics != shared)
        jobs.push_back({weight->statistics.get(), data, count});
      shared = weight->statistics;
    }
  });
  llvm::parallelForEach(jobs, [](const Job &job) { job.to->add(job.rows, job.count); });
}

void Calibrator::gather(CompiledTrial &reference, const std::vector<std::vector<int32_t>> &texts,
                        bool statistics, std::vector<std::vector<float>> &rows) {
  for (size_t number = 0; number < texts.size(); ++number) {
    note("running sample " + std::to_string(number + 1) + " of " + std::to_string(texts.size()));
    const bool text = reference.kind() == HEDDLE_ENTRY_STEP;
    const size_t stride = text && statistics ? kStatisticsStride : kErrorStride;
    CompiledTrial::Rows results = reference.run(texts[number], stride);
    width = results.width;
    std::vector<float> &kept = rows.emplace_back();
    const size_t every = text ? kErrorStride / stride : 1;
    for (size_t row = every - 1; row < results.count; row += every)
      kept.insert(kept.end(), results.row(row).begin(), results.row(row).end());
    if (statistics)
      addStatistics(reference);
  }
}

CompileOptions Calibrator::trialOptions() const {
  CompileOptions options = importer->compileOptions();
  options.samples = false;
  options.durable = false;
  options.kernelCache = kernelCache;
  options.packedParameters = packedParameters;
  options.rowBounds = "1"; // samples are many rows
  return options;
}

std::unique_ptr<CompiledTrial> Calibrator::compileTrial(mlir::ModuleOp module, const ModelFiles &files,
                                                        CompileOptions options) {
  std::string file = makeTemporaryFile(".heddle");
  setTemporaryFile(file.c_str());
  auto digest = compileToArtifact(module, files, std::move(options), file);
  if (!digest) {
    unlink(file.c_str());
    importer->raise(digest.takeError());
  }
  auto compiled = std::make_unique<CompiledTrial>(file, *digest, 0);
  setTemporaryFile(nullptr);
  return compiled;
}

/// The model as it is, with observers.
std::unique_ptr<CompiledTrial> Calibrator::compileReference() {
  CompileOptions options = trialOptions();
  options.activations = "i16";
  options.observe = "linear";
  options.packedParameters = nullptr; // large, and needed once
  const ImportedModel &model = importer->model();
  if (model.tokenizer) {
    auto text = writeTextMember(*model.tokenizer, {});
    if (!text)
      importer->raise(text.takeError());
    options.text = std::move(text->bytes);
  }
  mlir::OwningOpRef<mlir::ModuleOp> module(importer->module().clone());
  return compileTrial(*module, *model.files, std::move(options));
}

std::unique_ptr<CompiledTrial> Calibrator::compile(const QuantizationPlan &plan) {
  CompileOptions options = trialOptions();
  ModelFiles files = *importer->model().files;
  mlir::OwningOpRef<mlir::ModuleOp> module(importer->module().clone());
  if (llvm::Error error = plan.apply(*module, files, options))
    importer->raise(std::move(error));
  return compileTrial(*module, files, std::move(options));
}

Calibrator::Source Calibrator::rowsOf(const Weight &weight) {
  auto param = importer->module().lookupSymbol<mlir::heddle::ParamOp>(weight.name);
  mlir::SymbolTable symbols(importer->module());
  auto stored = StoredRows::of(param, symbols, *importer->model().files);
  if (!stored)
    importer->raise(stored.takeError());
  auto type = mlir::cast<mlir::heddle::StoredType>(param.getType());
  return {std::move(*stored), mlir::heddle::storageFormat(type.getEncoding())};
}

std::map<std::string, double> Calibrator::activationRanges(RangeMethod method) const {
  constexpr double kCodes = 127; // of act_i8: what least squared errors are found for
  std::map<const InputStatistics *, double> known;
  std::map<std::string, double> ranges;
  for (const auto &[node, name] : weightOfNode)
    for (const Weight &weight : all)
      if (const InputStatistics *statistics = weight.statistics.get(); statistics && weight.name == name) {
        auto [range, fresh] = known.try_emplace(statistics);
        if (fresh)
          range->second = statistics->sizes().range(method, kCodes);
        if (range->second > 0) // nothing but zeros: dynamic, as any range will do
          ranges[node] = range->second;
      }
  return ranges;
}

/// For all weights at once, since each takes one thread.
void Calibrator::prepareCorrections() {
  if (!corrections.empty())
    return;
  for (const Weight &weight : all)
    if (weight.statistics)
      corrections.try_emplace(weight.statistics.get());
  std::vector<decltype(corrections)::value_type *> entries;
  for (auto &entry : corrections)
    entries.push_back(&entry);
  llvm::parallelForEach(
      entries, [](auto *entry) { entry->second = std::make_unique<SecondOrderCorrection>(*entry->first); });
}

bool Calibrator::corrects(const Weight &weight, const WeightScheme &scheme, bool secondOrder) const {
  // Corrections keep a head's products, but move the rows that a table gives.
  return secondOrder && weight.statistics && !weight.isTable && scheme.sharing == ScaleSharing::Group &&
         bitsPerWeight(scheme, weight.columns) <= kFewBits;
}

void Calibrator::decodeRows(const Source &source, int64_t columns, int64_t first, int64_t count,
                            float *rows) {
  auto bytes = source.rows->read(first, count);
  if (!bytes)
    importer->raise(bytes.takeError());
  const uint64_t rowBytes = storedBytes(source.format, columns);
  llvm::parallelFor(0, count, [&](size_t r) {
    decode(source.format, bytes->slice(r * rowBytes, rowBytes), std::span(rows + r * columns, columns));
  });
}

const WeightChoice &Calibrator::round(const Weight &weight, const std::string &schemeName, bool secondOrder) {
  auto [entry, fresh] = rounded.try_emplace({weight.name, schemeName});
  WeightChoice &choice = entry->second;
  if (!fresh)
    return choice;
  const WeightScheme &scheme = schemeNamed(schemeName);
  choice.scheme = schemeName;
  if (!corrects(weight, scheme, secondOrder))
    return choice;
  note("rounding " + weight.name + " to " + schemeName);
  prepareCorrections();
  const Source source = rowsOf(weight);
  const int64_t columns = weight.columns;
  const uint64_t rowBytes = storedBytes(scheme.format, columns);
  WeightEncoder encoder(scheme, columns, ScaleFit::Search); // rows have scales of their own
  SecondOrderRounder rounder(scheme, *corrections.at(weight.statistics.get()), encoder);
  sideBytes = (sideBytes + 63) / 64 * 64;
  choice.offset = sideBytes;
  std::vector<float> exact(kPieceRows * columns);
  std::vector<uint8_t> piece(kPieceRows * rowBytes);
  for (int64_t first = 0; first < weight.rows; first += kPieceRows) {
    const int64_t count = std::min(kPieceRows, weight.rows - first);
    decodeRows(source, columns, first, count, exact.data());
    constexpr int64_t together = SecondOrderRounder::kRows;
    llvm::parallelFor(0, (count + together - 1) / together, [&](size_t group) {
      const int64_t begin = static_cast<int64_t>(group) * together, rows = std::min(together, count - begin);
      rounder.round(first + begin, rows, std::span(exact).subspan(begin * columns, rows * columns),
                    std::span(piece).subspan(begin * rowBytes, rows * rowBytes));
    });
    side.write(std::span(piece).first(count * rowBytes), sideBytes);
    sideBytes += count * rowBytes;
  }
  return choice;
}

double Calibrator::error(const Weight &weight, const std::string &schemeName, bool secondOrder) {
  const WeightScheme &scheme = schemeNamed(schemeName);
  if (!corrects(weight, scheme, secondOrder))
    return nearestError(weight, schemeName);
  prepareCorrections();
  WeightEncoder encoder(scheme, weight.columns, ScaleFit::Search);
  SecondOrderRounder rounder(scheme, *corrections.at(weight.statistics.get()), encoder);
  return errorOf(weight, scheme,
                 [&](int64_t, int64_t count, std::span<const float> rows, std::span<uint8_t> stored) {
                   rounder.round(0, count, rows, stored); // no grid depends on a row's number
                 });
}

double Calibrator::nearestError(const Weight &weight, const std::string &schemeName) {
  const WeightScheme &scheme = schemeNamed(schemeName);
  const int64_t columns = weight.columns;
  WeightEncoder encoder(scheme, columns, ScaleFit::Range);
  const Source source = rowsOf(weight);
  std::vector<float> exact(kPieceRows * columns);
  for (int64_t first = 0; encoder.looksFirst() && first < weight.rows; first += kPieceRows) {
    const int64_t count = std::min(kPieceRows, weight.rows - first);
    decodeRows(source, columns, first, count, exact.data());
    for (int64_t r = 0; r < count; ++r)
      encoder.look(first + r, std::span(exact).subspan(r * columns, columns));
  }
  const uint64_t rowBytes = storedBytes(scheme.format, columns);
  return errorOf(weight, scheme,
                 [&](int64_t first, int64_t count, std::span<const float> rows, std::span<uint8_t> stored) {
                   for (int64_t r = 0; r < count; ++r)
                     encoder.encode(first + r, rows.subspan(r * columns, columns),
                                    stored.subspan(r * rowBytes, rowBytes));
                 });
}

double Calibrator::errorOf(const Weight &weight, const WeightScheme &scheme, const Encode &encode) {
  constexpr int64_t together = SecondOrderRounder::kRows;
  const Source source = rowsOf(weight);
  const int64_t columns = weight.columns, last = weight.rows - std::min(together, weight.rows);
  const int64_t groups = std::min(kErrorRows / together, (weight.rows + together - 1) / together);
  std::vector<int64_t> begins(groups);
  std::vector<float> exact(groups * together * columns);
  const int64_t count = std::min(together, weight.rows);
  for (int64_t g = 0; g < groups; ++g) { // spread over the rows
    begins[g] = g * last / std::max<int64_t>(groups - 1, 1);
    decodeRows(source, columns, begins[g], count, exact.data() + g * together * columns);
  }
  std::vector<ErrorSum> sums(groups);
  llvm::parallelFor(0, groups, [&](size_t g) {
    auto rows = std::span(exact).subspan(g * together * columns, count * columns);
    const uint64_t rowBytes = storedBytes(scheme.format, columns);
    std::vector<uint8_t> stored(count * rowBytes);
    encode(begins[g], count, rows, stored);
    std::vector<float> rounded(rows.size());
    for (int64_t r = 0; r < count; ++r)
      decode(scheme.format, std::span(stored).subspan(r * rowBytes, rowBytes),
             std::span(rounded).subspan(r * columns, columns));
    sums[g].add(weight.statistics.get(), rows, rounded);
  });
  ErrorSum all;
  for (const ErrorSum &sum : sums)
    all.add(sum);
  return all.relative();
}

std::vector<Distance> Calibrator::distances(CompiledTrial &trial, bool heldOut, size_t number) const {
  const std::vector<float> &expected = (heldOut ? heldOutRows : chosenByRows)[number];
  CompiledTrial::Rows results =
      trial.run((heldOut ? samples.heldOut : samples.chosenBy)[number], kErrorStride);
  std::vector<Distance> each(results.count);
  llvm::parallelFor(0, results.count, [&](size_t row) {
    each[row].add(std::span(expected).subspan(row * results.width, results.width), results.row(row));
  });
  return each;
}

std::vector<double> Calibrator::costs(CompiledTrial &trial, const std::string &metric, bool heldOut,
                                      size_t number) const {
  std::vector<double> costs;
  for (const Distance &row : distances(trial, heldOut, number))
    costs.push_back(row.cost(metric, meanSquares[heldOut]));
  return costs;
}

Distance Calibrator::heldOutDistance(CompiledTrial &trial) const {
  Distance sum; // added in order: the same for any number of threads
  for (size_t number = 0; number < samples.heldOut.size(); ++number)
    for (const Distance &row : distances(trial, /*heldOut=*/true, number))
      sum.add(row);
  return sum;
}

} // namespace heddle::cli
