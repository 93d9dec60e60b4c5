// Which parameters a graph needs, and where a frontend found them.
//
// Graph builders name parameters by role ("blk.3.attn_q"); frontends know what a file calls them.
#pragma once
#include "ir/StorageFormat.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include <string>
#include <vector>

namespace heddle {

using Shape = llvm::SmallVector<int64_t, 2>;

/// "[576, 1536]"
std::string describeShape(llvm::ArrayRef<int64_t> shape);

/// One parameter that a graph needs.
struct ParameterSpec {
  std::string role; // also the symbol of its heddle.param
  Shape shape;      // outermost first
  bool optional = false;
  bool decoded = false; // an f32 tensor to its users, as vectors always are
};

/// Where a parameter lies.
struct StoredTensor {
  StorageFormat format;
  unsigned file;
  uint64_t offset;
  std::string sourceName; // what the file calls it
};

/// The parameters that were found, by role.
using ParameterTable = llvm::StringMap<StoredTensor>;

} // namespace heddle
