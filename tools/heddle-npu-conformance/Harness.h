// Runs a case on a driver as the runtime would: through heddle/driver.h and nothing else.
#pragma once
#include "Cases.h"
#include <functional>
#include <heddle/driver.h>

namespace heddle::npu_conformance {

/// Empty when the driver does what the case expects, else what it did. `afterRun` is called while the device
/// is open. With `strict` hazards have to be found.
std::string runCase(const heddle_driver &driver, const Case &test, bool strict,
                    const std::function<void()> &afterRun);

} // namespace heddle::npu_conformance
