// Running a text model step by step.
#ifndef HEDDLE_TOOLS_GENERATION_H
#define HEDDLE_TOOLS_GENERATION_H

#include "tools/heddle/Common.h"
#include <span>

namespace heddle::cli {

// One sequence (slot 0) of a session of a text model.
class Sequence {
public:
  Sequence(heddle_session *session, const char *entry, uint32_t vocabulary)
      : session(session), entry(entry), vocabulary(vocabulary) {}

  // Appends `tokens` in one step. `wanted`: rows of logits, counted from the last: 0 none, 1 the last one
  // only, ... The result is [wanted][vocabulary], valid until the next step.
  const float *step(std::span<const int32_t> tokens, size_t wanted);
  // Appends `tokens` in steps of at most `chunk`; returns the last row's logits.
  const float *prefill(std::span<const int32_t> tokens, size_t chunk);
  void clear();
  uint32_t length() const { return position; }

private:
  heddle_session *session;
  const char *entry;
  uint32_t vocabulary;
  uint32_t position = 0;
  std::vector<int32_t> slots, positions, rows;
};

} // namespace heddle::cli

#endif
