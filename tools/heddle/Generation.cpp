#include "tools/heddle/Generation.h"
#include <numeric>

namespace heddle::cli {

const float *Sequence::step(std::span<const int32_t> tokens, size_t wanted) {
  slots.assign(tokens.size(), 0);
  positions.resize(tokens.size());
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(position));
  rows.resize(wanted);
  std::iota(rows.begin(), rows.end(), static_cast<int32_t>(tokens.size() - wanted));
  auto step = sized<heddle_step>();
  step.tokens = tokens.data();
  step.slots = slots.data();
  step.positions = positions.data();
  step.count = static_cast<uint32_t>(tokens.size());
  step.wanted = rows.data();
  step.wanted_count = static_cast<uint32_t>(wanted);
  call("", heddle_session_step, session, entry, &step);
  position += static_cast<uint32_t>(tokens.size());
  if (wanted == 0)
    return nullptr;
  auto view = sized<heddle_view>();
  call("", heddle_session_output, session, entry, 0u, &view);
  if (view.dtype != HEDDLE_DTYPE_F32 || view.rank != 2 || view.dimension[0] != static_cast<int64_t>(wanted) ||
      view.dimension[1] != static_cast<int64_t>(vocabulary))
    fail(ExitInvalidFile, "the model's first output is not f32 logits [wanted rows, vocabulary]");
  return static_cast<const float *>(view.data);
}

const float *Sequence::prefill(std::span<const int32_t> tokens, size_t chunk) {
  while (tokens.size() > chunk) {
    step(tokens.first(chunk), 0);
    tokens = tokens.subspan(chunk);
  }
  return step(tokens, 1);
}

void Sequence::clear() {
  call("", heddle_sequence_clear, session, 0u);
  position = 0;
}

} // namespace heddle::cli
