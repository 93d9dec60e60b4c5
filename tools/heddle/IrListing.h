// A module as lines to read and to compare: equal layers are shown once, whatever their number.
#ifndef HEDDLE_TOOLS_IR_LISTING_H
#define HEDDLE_TOOLS_IR_LISTING_H

#include "mlir/IR/BuiltinOps.h"
#include <string>
#include <vector>

namespace heddle::cli {

struct IrLine {
  std::string text;
  std::string
      key; // the text without what changes from pass to pass and from layer to layer: numbers of values
  std::string note; // the source node, or for a line that stands for layers: which ones
};

std::vector<IrLine> listIr(mlir::ModuleOp module);

// The number of the layer that a name of a source node holds ("blk.3.attn_q": 3), or -1.
int layerOf(llvm::StringRef name);
// The name with '*' for the layer's number.
std::string withoutLayer(llvm::StringRef name);

// How often items repeat: `period` items from `begin` on come `count` times.
struct Repetition {
  size_t begin, period, count;
};
// Covers all keys, in order; `count` is 1 where nothing repeats. Periods are at most `longest`.
std::vector<Repetition> findRepetitions(const std::vector<std::string> &keys, size_t longest = 12);

// One step from one listing to another: a line of the first (-), of the second (+), or of both.
struct DiffLine {
  enum Kind { Same, Removed, Added } kind;
  const IrLine *line;
};
// The shortest such list of steps; of listings with more lines than it can compare, one after the other.
std::vector<DiffLine> compareIr(const std::vector<IrLine> &before, const std::vector<IrLine> &after);

} // namespace heddle::cli

#endif
