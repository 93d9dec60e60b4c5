// Running a compiled model on the user's samples: what calibration and accuracy bounds see.
#ifndef HEDDLE_TOOLS_CALIBRATION_H
#define HEDDLE_TOOLS_CALIBRATION_H

#include "tools/heddle/Common.h"
#include <functional>
#include <span>

namespace heddle::cli {

class Text;

// Token ids of the samples, cut to at most kSampleTokens each. Every fourth is held out: never used to choose
// anything, only to check.
struct Samples {
  static constexpr size_t kSampleTokens = 256;
  static constexpr size_t kLeastTokens = 16; // of a piece of text for a generator

  std::vector<std::vector<int32_t>> chosenBy, heldOut;
  size_t tokens() const;
};

// `path` is a .txt or .npy file or a folder of them. For a text generator a .txt file is one text, cut into
// pieces; for an encoder each line is one. An .npy file is a vector of ids. At most `limit` tokens, spread
// over all texts. Fails when there are fewer than 4 samples.
Samples readSamples(const std::string &path, const Text &text, heddle_entry_kind kind, size_t limit);

// A model compiled a moment ago by this process, opened with its file removed.
class CompiledTrial {
public:
  // `digest` is what compiling returned. The file is removed once it is open.
  CompiledTrial(const std::string &file, const std::array<uint8_t, 32> &digest, unsigned threads);

  heddle_entry_kind kind() const { return entry.kind; }
  const heddle_model *get() const { return model.get(); }

  // Runs one sample from an empty state. Rows of results: an encoder's embedding, or a text generator's
  // logits after every `stride`th token.
  struct Rows {
    const float *data;
    size_t count, width;
    std::span<const float> row(size_t index) const { return {data + index * width, width}; }
  };
  Rows run(std::span<const int32_t> ids, size_t stride);

  // What `--observe` added to the last run's results.
  void observed(const std::function<void(const std::string &name, const float *rows, int64_t count,
                                         int64_t columns)> &see);

private:
  ModelPtr model;
  heddle_entry_info entry;
  TeamPtr team;
  SessionPtr session;
  std::vector<int32_t> slots, positions, wanted;
};

// What goes on: a line that the next replaces, on a terminal only.
void note(const std::string &what);

// An empty file of this user alone in the folder for temporary files.
std::string makeTemporaryFile(const std::string &suffix);

// A temporary file that has no name any more: nothing is left of it, however this process ends.
class UnnamedFile {
public:
  UnnamedFile();
  ~UnnamedFile();
  UnnamedFile(const UnnamedFile &) = delete;

  // A name for this process.
  std::string path() const;
  void write(std::span<const uint8_t> bytes, uint64_t offset);

private:
  int descriptor;
};

} // namespace heddle::cli

#endif
