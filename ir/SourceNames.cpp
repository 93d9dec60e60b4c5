#include "ir/SourceNames.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

static void collectNames(LocationAttr location, llvm::SetVector<StringRef> &names) {
  if (auto name = dyn_cast<NameLoc>(location)) {
    names.insert(name.getName());
  } else if (auto fused = dyn_cast<FusedLoc>(location)) {
    for (Location inner : fused.getLocations())
      collectNames(inner, names);
  } else if (auto call = dyn_cast<CallSiteLoc>(location)) {
    collectNames(call.getCallee(), names);
  }
}

std::string mlir::heddle::sourceNames(Location location) {
  llvm::SetVector<StringRef> names;
  collectNames(location, names);
  return llvm::join(names, "+");
}

std::string mlir::heddle::describeSource(Location location) {
  std::string names = sourceNames(location);
  if (!names.empty())
    return names;
  if (auto file = location->findInstanceOf<FileLineColLoc>())
    return (file.getFilename().getValue() + ":" + Twine(file.getLine()) + ":" + Twine(file.getColumn()))
        .str();
  return "unknown source";
}
