// Where an op comes from: the names of source nodes that locations carry through the passes.
#pragma once
#include "mlir/IR/Location.h"
#include <string>

namespace mlir::heddle {

/// The source nodes that a location names, in order and once each, joined by '+'; empty if it names none.
std::string sourceNames(Location location);

/// For messages: the source nodes, else "file:line:column", else "unknown source".
std::string describeSource(Location location);

} // namespace mlir::heddle
