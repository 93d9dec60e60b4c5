// `--quantize`, `--calibrate`, `--max-error`: which weights get which scheme, and what that does to results.
#ifndef HEDDLE_TOOLS_QUANTIZE_H
#define HEDDLE_TOOLS_QUANTIZE_H

#include "tools/heddle/Calibration.h"
#include "tools/heddle/ImportVerb.h"
#include "tools/heddle/Metrics.h"
#include <map>

namespace heddle::cli {

struct QuantizeOptions {
  std::vector<std::string> rules; // SCHEME, PATTERN=SCHEME; "auto"
  std::string calibrate, maxError, profile, rounding, ranges = "dynamic";
  size_t tokens = 8192;

  bool isAuto() const { return rules.size() == 1 && rules[0] == "auto"; }
  bool calibrates() const { return !calibrate.empty(); }
};
void addQuantizeOptions(CLI::App &app, QuantizeOptions &options);

// One weight's scheme, and where its rounded rows are.
struct WeightChoice {
  std::string scheme;
  std::optional<uint64_t> offset; // in the file of rounded weights; none: rounded when packaged
};

struct QuantizationPlan {
  std::vector<std::string> rules; // for weights without an entry below
  bool search = false;
  std::map<std::string, WeightChoice> weights;
  std::string roundedFile;                // rounded weights
  std::unique_ptr<UnnamedFile> temporary; // which this may be
  std::string activations;                // empty: as asked for
  std::map<std::string, double> ranges;   // of static activations, by source node of what reads them
  llvm::json::Object report;

  bool hasRounded() const;
  // Makes the module and the options of its compilation follow the plan; `files` get what it refers to.
  llvm::Error apply(mlir::ModuleOp module, ModelFiles &files, CompileOptions &options) const;
};

// Reads or measures all that is needed. Exit 6 when a bound cannot be met.
std::unique_ptr<QuantizationPlan> planQuantization(const ImportVerb &import, const QuantizeOptions &options);

} // namespace heddle::cli

#endif
