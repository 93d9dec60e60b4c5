// Hand-made artifacts for tests of the runtime, valid or wrong in one chosen way.
#pragma once
#include <cstdint>
#include <functional>
#include <heddle/driver.h>
#include <string>
#include <vector>

namespace heddle::test {

using Bytes = std::vector<uint8_t>;

/// program.bin, record by record. `build` fills the header's tables; `header` holds the rest.
struct ProgramBuilder {
  heddle_program_header header = {};
  std::string strings = std::string(1, '\0');
  std::vector<heddle_entry> entries;
  std::vector<heddle_io> ios;
  std::vector<heddle_variant> variants;
  std::vector<heddle_launch> launches;
  std::vector<heddle_operand> operands;
  std::vector<heddle_function> functions;
  std::vector<heddle_code> codes;
  std::vector<uint64_t> offsets;
  std::vector<heddle_cache> caches;
  std::vector<uint32_t> weights; // members

  ProgramBuilder();
  uint32_t string(const std::string &text);
  /// A dimension of -1 - HEDDLE_DIM_x is that run-time dimension.
  void io(const std::string &name, heddle_dtype dtype, bool isOutput, std::vector<int64_t> dimensions);
  uint32_t function(const std::string &name, uint64_t scratch = 0);
  /// Appends a launch to the last variant.
  void launch(uint32_t function, std::vector<heddle_operand> operands, int32_t itemsDim,
              uint32_t itemsMultiplier = 1, bool barrier = true);
  Bytes build() const;
};

/// The container: members in order, and the manifest last.
struct ArtifactBuilder {
  struct Member {
    std::string name;
    Bytes bytes;
  };
  std::vector<Member> members;
  std::string manifest; // empty: made from the members

  void add(const std::string &name, Bytes bytes);
  std::string makeManifest() const;
  Bytes build() const;
};

/// The test kernels' ELF image and the addresses of its functions.
const Bytes &kernelImage();
uint64_t kernelOffset(const std::string &name);

/// A model with a text entry "step", an encode entry "encode", tensor entries "scale" and "control". Logits
/// of a row are weights[v] times the sum of (2 token + 1) over its sequence so far.
struct ToyModel {
  static constexpr uint32_t vocabulary = 100, width = 4, maxRows = 300, maxWanted = 8, maxContext = 512,
                            maxSlots = 5;
  ProgramBuilder program;
  std::vector<float> weights;
  ToyModel();
  ArtifactBuilder artifact() const;
};

/// A model whose entry "relay" adds 1 to its input `launches` times, mirrored each time.
ArtifactBuilder relayModel(uint32_t launches, uint32_t rows);

heddle_source memorySource(const Bytes &bytes);
heddle_model_options vouched();

} // namespace heddle::test
