// Random score and mask regions of attention.
#pragma once
#include "tools/heddle-random-modules/ModuleText.h"

namespace heddle::random_modules {

/// `score {...} mask {...}`: soft caps, slopes by distance, factors by head; causal, window, stripes and
/// their combinations, or none. Constants inside, or captured from the function.
std::string randomRegions(ModuleText &text);

} // namespace heddle::random_modules
