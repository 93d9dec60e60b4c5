// What quantization learns from samples: statistics of what products read, errors of rounding, distances of
// whole models.
#ifndef HEDDLE_TOOLS_CALIBRATOR_H
#define HEDDLE_TOOLS_CALIBRATOR_H

#include "codegen/package/StoredRows.h"
#include "codegen/quantize/SecondOrder.h"
#include "tools/heddle/Calibration.h"
#include "tools/heddle/Quantize.h"
#include <fstream>

namespace heddle::cli {

class Calibrator {
public:
  // Compiles the model as it is, with observers, and runs the samples.
  // Rounded weights go to `sideFile`.
  Calibrator(const ImportVerb &import, const QuantizeOptions &options, const std::string &sideFile);

  struct Weight {
    std::string name;
    int64_t rows, columns;
    std::shared_ptr<InputStatistics> statistics; // of what products with it read; null for a mere table
    uint64_t bytes(const std::string &scheme) const;
    bool fits(const std::string &scheme) const; // rows are whole groups
  };
  const std::vector<Weight> &weights() const { return all; }
  const Samples &samples() const { return calibration; }
  heddle_entry_kind kind() const { return reference->kind(); }

  // Relative error of a product's results, |(W - W') x| / |W x| over the calibration rows; of a mere table,
  // relative error of its numbers.
  struct Rounded {
    WeightChoice choice;
    double error;
  };
  // Rounds a weight once for each scheme; asked again, gives what it found. Schemes of up to 6 bits take
  // second-order corrections unless `secondOrder` is false, and go to the file of rounded weights.
  const Rounded &round(const Weight &weight, const std::string &scheme, bool secondOrder);
  // The error of rounding to the nearest, on a part of the rows: for comparing schemes.
  double nearestError(const Weight &weight, const std::string &scheme);

  // How far results of the model under `plan` are from those of the model as it is.
  Distance measure(const QuantizationPlan &plan, bool heldOut);

private:
  struct Source {
    std::unique_ptr<StoredRows> rows;
    StorageFormat format;
  };
  // A weight as the model's file holds it.
  Source rowsOf(const Weight &weight);

  struct Reference {
    std::vector<std::vector<float>> rows; // of each sample
    size_t width = 0;
  };
  std::unique_ptr<CompiledTrial> compileTrial(const ImportVerb &verb, const QuantizationPlan *plan);
  void gather(const std::vector<std::vector<int32_t>> &samples, bool statistics,
              std::vector<std::vector<float>> &rows);
  std::vector<std::string> weightsOf(const std::string &observed) const;

  ImportVerb exact, quantized; // how trials are imported
  std::unique_ptr<Importer> importer;
  std::vector<Weight> all;
  std::map<std::string, std::string> weightOfNode;
  std::unique_ptr<CompiledTrial> reference;
  Samples calibration;
  std::vector<std::vector<float>> chosenByRows, heldOutRows; // reference results
  std::map<std::string, std::unique_ptr<SecondOrderRounder>> rounders;
  std::map<std::pair<std::string, std::string>, Rounded> rounded;
  std::ofstream side;
  uint64_t sideBytes = 0;
};

} // namespace heddle::cli

#endif
