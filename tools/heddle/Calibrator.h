// What quantization learns from samples: statistics of what products read, errors of rounding, distances of
// whole models.
#ifndef HEDDLE_TOOLS_CALIBRATOR_H
#define HEDDLE_TOOLS_CALIBRATOR_H

#include "codegen/cpu/KernelCache.h"
#include "codegen/package/StoredRows.h"
#include "codegen/quantize/SecondOrder.h"
#include "tools/heddle/Calibration.h"
#include "tools/heddle/Quantize.h"

namespace heddle::cli {

class Calibrator {
public:
  // Compiles the model as it is, with observers, and runs the samples.
  // Rounded weights go to `side`, which must live as long.
  Calibrator(const ImportVerb &import, const QuantizeOptions &options, UnnamedFile &side);

  struct Weight {
    std::string name;
    int64_t rows, columns;
    std::shared_ptr<InputStatistics> statistics; // of what products with it read; null for a mere table
    bool isTable = false; // rows of it are looked up, whether or not a product reads it too
    uint64_t bytes(const std::string &scheme) const;
    bool fits(const std::string &scheme) const; // rows are whole groups
  };
  const std::vector<Weight> &weights() const { return all; }

  // Rounds a weight once for each scheme; asked again, gives what it found. Schemes of up to 8 bits take
  // second-order corrections unless `secondOrder` is false, and go to the file of rounded weights.
  const WeightChoice &round(const Weight &weight, const std::string &scheme, bool secondOrder);
  // Relative error of a product's results, |(W - W') x| / |W x| over the calibration rows, on some rows of
  // the weight rounded so; of a mere table, relative error of its numbers.
  double error(const Weight &weight, const std::string &scheme, bool secondOrder);
  // The same of rounding to the nearest.
  double nearestError(const Weight &weight, const std::string &scheme);

  // How far what the product at each source node reads may reach, for static activations.
  std::map<std::string, double> activationRanges(RangeMethod method) const;

  // The model under `plan`, compiled.
  std::unique_ptr<CompiledTrial> compile(const QuantizationPlan &plan);
  // How many samples choose, and are held out.
  size_t count(bool heldOut) const { return (heldOut ? heldOutRows : chosenByRows).size(); }
  // How far its results are from those of the model as it is, row by row of one sample, as costs whose mean
  // is that of many rows (Distance::cost).
  std::vector<double> costs(CompiledTrial &trial, const std::string &metric, bool heldOut,
                            size_t number) const;
  // The same on all samples held out.
  Distance heldOutDistance(CompiledTrial &trial) const;

private:
  struct Source {
    std::unique_ptr<StoredRows> rows;
    StorageFormat format;
  };
  // A weight as the model's file holds it.
  Source rowsOf(const Weight &weight);

  CompileOptions trialOptions() const;
  std::unique_ptr<CompiledTrial> compileTrial(mlir::ModuleOp module, const ModelFiles &files,
                                              CompileOptions options);
  std::unique_ptr<CompiledTrial> compileReference();
  std::vector<Distance> distances(CompiledTrial &trial, bool heldOut, size_t number) const;
  void gather(CompiledTrial &reference, const std::vector<std::vector<int32_t>> &samples, bool statistics,
              std::vector<std::vector<float>> &rows);
  void addStatistics(CompiledTrial &reference);
  std::vector<Weight *> weightsOf(const std::string &observed);
  void prepareCorrections();
  bool corrects(const Weight &weight, const WeightScheme &scheme, bool secondOrder) const;
  // Rounds `count` rows from number `first` on.
  using Encode = std::function<void(int64_t first, int64_t count, std::span<const float> rows,
                                    std::span<uint8_t> stored)>;
  double errorOf(const Weight &weight, const WeightScheme &scheme, const Encode &encode);
  void decodeRows(const Source &source, int64_t columns, int64_t first, int64_t count, float *rows);

  ImportVerb verb; // how trials are imported
  std::shared_ptr<cpu::KernelCache> kernelCache = std::make_shared<cpu::KernelCache>();
  std::shared_ptr<PackedParameters> packedParameters = std::make_shared<PackedParameters>();
  std::unique_ptr<Importer> importer;
  std::vector<Weight> all;
  std::map<std::string, std::string> weightOfNode;
  Samples samples;
  std::vector<std::vector<float>> chosenByRows, heldOutRows; // reference results
  size_t width = 0;                                          // of a row of them
  double meanSquares[2] = {};                                // of rows of the two
  std::map<const InputStatistics *, std::unique_ptr<SecondOrderCorrection>> corrections;
  std::map<std::pair<std::string, std::string>, WeightChoice> rounded;
  UnnamedFile &side;
  uint64_t sideBytes = 0;
};

} // namespace heddle::cli

#endif
