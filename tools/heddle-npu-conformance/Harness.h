// Runs a case on a driver as the runtime would: through heddle/driver.h and nothing else.
#pragma once
#include "Cases.h"
#include <heddle/driver.h>

namespace heddle::npu_conformance {

/// Empty when the driver does what the case expects, else what it did.
std::string runCase(const heddle_driver &driver, const Case &test);

} // namespace heddle::npu_conformance
