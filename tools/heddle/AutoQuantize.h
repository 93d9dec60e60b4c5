// `--quantize auto`: a scheme for each weight that keeps the error of results below a bound.
#ifndef HEDDLE_TOOLS_AUTO_QUANTIZE_H
#define HEDDLE_TOOLS_AUTO_QUANTIZE_H

#include "tools/heddle/Calibrator.h"

namespace heddle::cli {

// Fills `plan`. Exit 6, saying how close it came, when no mixture of schemes holds the bound.
void quantizeAutomatically(Calibrator &calibrator, const ErrorBound &bound, bool secondOrder,
                           QuantizationPlan &plan);

} // namespace heddle::cli

#endif
