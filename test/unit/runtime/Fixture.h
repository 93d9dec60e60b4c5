// An open toy model and its session, closed at the end of the test.
#pragma once
#include "ArtifactBuilder.h"
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>

namespace heddle::test {

struct Error : heddle_error {
  Error() : heddle_error{} { struct_size = sizeof(heddle_error); }
};

struct OpenModel {
  Bytes bytes;
  heddle_model *model = nullptr;
  Error error;

  explicit OpenModel(Bytes artifact, heddle_model_options options = vouched()) : bytes(std::move(artifact)) {
    heddle_source source = memorySource(bytes);
    heddle_status status = heddle_model_open(&source, &options, &model, &error);
    INFO(error.message);
    REQUIRE(status == HEDDLE_OK);
  }
  ~OpenModel() { CHECK(heddle_model_close(model, nullptr) == HEDDLE_OK); }
};

struct Team {
  heddle_team *team = nullptr;
  explicit Team(uint32_t threads, uint32_t spin = 0) {
    heddle_team_options options = {};
    options.struct_size = sizeof(options);
    options.threads = threads;
    options.spin_microseconds = spin;
    REQUIRE(heddle_team_create(&options, &team, nullptr) == HEDDLE_OK);
  }
  ~Team() { CHECK(heddle_team_destroy(team, nullptr) == HEDDLE_OK); }
};

struct Session {
  heddle_session *session = nullptr;
  Error error;

  explicit Session(heddle_model *model, uint32_t sequences = 5, heddle_team *team = nullptr,
                   uint32_t context = 0) {
    heddle_session_options options = {};
    options.struct_size = sizeof(options);
    options.sequences = sequences;
    options.context = context;
    options.team = team;
    heddle_status status = heddle_session_create(model, &options, &session, &error);
    INFO(error.message);
    REQUIRE(status == HEDDLE_OK);
  }
  ~Session() { heddle_session_destroy(session); }

  heddle_status step(const std::vector<int32_t> &tokens, const std::vector<int32_t> &slots,
                     const std::vector<int32_t> &positions, const std::vector<int32_t> &wanted,
                     const char *entry = "step") {
    heddle_step step = {};
    step.struct_size = sizeof(step);
    step.tokens = tokens.data();
    step.slots = slots.data();
    step.positions = positions.data();
    step.count = tokens.size();
    step.wanted = wanted.empty() ? nullptr : wanted.data();
    step.wanted_count = wanted.size();
    return heddle_session_step(session, entry, &step, &error);
  }
  /// Appends tokens to one sequence and wants the last row.
  heddle_status append(int32_t slot, const std::vector<int32_t> &tokens) {
    std::vector<int32_t> slots(tokens.size(), slot), positions;
    for (size_t i = 0; i < tokens.size(); ++i)
      positions.push_back(heddle_sequence_length(session, slot) + i);
    return step(tokens, slots, positions, {static_cast<int32_t>(tokens.size()) - 1});
  }
  std::vector<float> output(const char *entry = "step", uint32_t index = 0) {
    heddle_view view = {};
    view.struct_size = sizeof(view);
    heddle_status status = heddle_session_output(session, entry, index, &view, &error);
    INFO(error.message);
    REQUIRE(status == HEDDLE_OK);
    auto *data = static_cast<const float *>(view.data);
    return std::vector<float>(data, data + view.size_bytes / sizeof(float));
  }
};

/// The toy model's logit 0 after these tokens.
inline float expectedLogit(const std::vector<int32_t> &tokens, size_t count = SIZE_MAX) {
  float sum = 0;
  for (size_t i = 0; i < std::min(count, tokens.size()); ++i)
    sum += 2 * tokens[i] + 1;
  return sum;
}

inline std::vector<int32_t> someTokens(size_t count, uint32_t seed = 1) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back((seed = seed * 1664525u + 1013904223u) >> 8 & 63);
  return tokens;
}

} // namespace heddle::test
