// The targets of a compiled model and the tables of their programs, for verbs that look inside.
#ifndef HEDDLE_TOOLS_PROGRAM_TABLES_H
#define HEDDLE_TOOLS_PROGRAM_TABLES_H

#include "tools/heddle/Common.h"
#include "llvm/Support/JSON.h"
#include <heddle/driver.h>
#include <span>

namespace heddle::cli {

// A copy of the member (program.bin is the first target's: the CPU's, where the artifact has it), which the
// runtime validated when it opened the model: reading it compares its hash, so these are the same bytes.
class ProgramTables {
public:
  ProgramTables(const heddle_model *model, const std::string &file,
                const std::string &program = "program.bin");

  const heddle_program_header &header() const { return *at<heddle_program_header>(0); }
  std::span<const heddle_entry> entries() const { return table<heddle_entry>(header().entries); }
  std::span<const heddle_io> ios() const { return table<heddle_io>(header().ios); }
  std::span<const heddle_variant> variants() const { return table<heddle_variant>(header().variants); }
  std::span<const heddle_launch> launches() const { return table<heddle_launch>(header().launches); }
  std::span<const heddle_operand> operands() const { return table<heddle_operand>(header().operands); }
  std::span<const heddle_function> functions() const { return table<heddle_function>(header().functions); }
  std::span<const heddle_code> codes() const { return table<heddle_code>(header().codes); }
  std::span<const uint32_t> weights() const { return table<uint32_t>(header().weights); }
  std::span<const heddle_cache> caches() const { return table<heddle_cache>(header().caches); }

  const char *string(uint32_t offset) const { return at<char>(header().strings.offset + offset); }

private:
  template <typename T> const T *at(uint64_t offset) const {
    return reinterpret_cast<const T *>(bytes.data() + offset);
  }
  template <typename T> std::span<const T> table(const heddle_span &span) const {
    return {at<T>(span.offset), span.count};
  }

  std::string bytes; // on the heap, where strings of this size are aligned for every record
};

// The manifest of an artifact; one that is no JSON object ends the program.
llvm::json::Object readManifest(const heddle_model *model, const std::string &file);

// A target of an artifact, from the manifest and its program.
struct ArtifactTarget {
  std::string name, device;                // "npu:mobile", "npu"
  std::vector<std::string> levels;         // of a CPU
  std::string program, suffix;             // members: "program-npu-mobile.bin", and "-npu-mobile" of others
  std::vector<std::string> codes, weights; // members
  uint64_t weightBytes;
};
std::vector<ArtifactTarget> artifactTargets(const heddle_model *model, const std::string &file);

} // namespace heddle::cli

#endif
