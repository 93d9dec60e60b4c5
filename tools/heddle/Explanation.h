// What the compiler makes of a model, collected for people: every launch with its source nodes, precision and
// cost, every decision, and the IR after every pass.
#ifndef HEDDLE_TOOLS_EXPLANATION_H
#define HEDDLE_TOOLS_EXPLANATION_H

#include "tools/heddle/ImportVerb.h"
#include "tools/heddle/IrListing.h"
#include "llvm/Support/JSON.h"

namespace heddle::cli {

struct LaunchNote {
  int layer; // -1: of no layer
  std::vector<std::string> sources;
  std::string kernel, family, target, rows;
  std::string precision, why; // of a product: "q4_1 x i16" and the pass's reason; empty for others
  int64_t weightBytes = 0, bytesPerRow = 0, multiplyAdds = 0, multiplyAddsPerToken = 0;
  bool barrier = false;
  struct Buffer {
    int64_t offset, bytes; // in the arena, at the bound of its rows
    size_t lastUse;        // number of the launch that reads it last
  };
  std::vector<Buffer> buffers;

  // Equal for launches that differ in their layer alone.
  std::string key() const;
};

struct VariantNote {
  std::string name;
  int64_t arenaBytes = 0;
  std::vector<LaunchNote> launches;
};

struct DecisionNote {
  std::string pass, kind, source, reason;
  int64_t cost;
  std::string target;
};

struct PassNote {
  std::string name;
  std::vector<IrLine> lines;
};

struct Explanation {
  std::string name, architecture;
  int64_t vocabulary = 0, maxContext = 0, maxSequences = 0, maxChunk = 0;
  int64_t weightBytes = 0, sourceBytes = 0, cacheBytesPerSequence = 0;
  size_t kernels = 0;
  std::vector<VariantNote> variants;
  std::vector<DecisionNote> decisions;
  std::vector<PassNote> passes; // "import", then each pass; only when asked for
};

// Imports the model and runs the passes; makes no code.
Explanation explainModel(const ImportVerb &request, bool withIr);

// Runs of launches that belong to one layer, folded where layers are alike.
struct LayerGroup {
  size_t begin, launches; // of the first time
  size_t count;           // how many times
  std::string title;      // "layers 0 to 29", "layer 3", "around the layers"
};
std::vector<LayerGroup> groupLayers(const std::vector<LaunchNote> &launches);

// By source node: text on stdout, JSON.
void printNodes(const Explanation &explanation);
llvm::json::Value nodesJson(const Explanation &explanation);

// One self-contained page: no script, no network (its own content policy forbids both).
std::string explainPage(const Explanation &explanation);

} // namespace heddle::cli

#endif
