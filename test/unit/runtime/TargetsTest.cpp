// Artifacts for several targets: a program for each, weights in members that programs share.
#include "Fixture.h"
#include <heddle/artifact.h>

using namespace heddle::test;

namespace {

constexpr size_t sharedBytes =
    HEDDLE_ZIP_SIZE_MULTIPLE; // of the toy model's weights, in a member of their own

/// The toy model for the CPU, and behind it the same for another device with `factor` times the weights; both
/// have their first weights in one member.
ArtifactBuilder twoTargets(float factor) {
  ToyModel toy, other;
  toy.program.weights = {toy.program.string("weights-both.bin"), toy.program.string("weights.bin")};
  other.program.weights = {other.program.string("weights-both.bin"),
                           other.program.string("weights-other.bin")};
  other.program.codes[0].features = HEDDLE_CODE_NPU;
  auto piece = [](const std::vector<float> &numbers, size_t from, size_t to) {
    auto *bytes = reinterpret_cast<const uint8_t *>(numbers.data());
    return Bytes(bytes + from, bytes + to);
  };
  size_t end = toy.weights.size() * sizeof(float);
  ArtifactBuilder artifact;
  artifact.add("program.bin", toy.program.build());
  artifact.add("program-other.bin", other.program.build());
  artifact.add("code/test.elf", kernelImage());
  artifact.add("weights-both.bin", piece(toy.weights, 0, sharedBytes));
  artifact.add("weights.bin", piece(toy.weights, sharedBytes, end));
  for (float &weight : other.weights)
    weight *= factor;
  artifact.add("weights-other.bin", piece(other.weights, sharedBytes, end));
  return artifact;
}

/// The CPU as another device, whose code says so.
heddle_program seen;
heddle_code code;
heddle_status loadOther(heddle_device *device, const heddle_program *program, heddle_module **out,
                        heddle_error *error) {
  if (program->codes[0].features != HEDDLE_CODE_NPU)
    return HEDDLE_UNSUPPORTED;
  seen = *program;
  code = {program->codes[0].member, HEDDLE_CPU_X86_64_V3};
  seen.codes = &code;
  return heddle_driver_cpu()->load(device, &seen, out, error);
}

heddle_driver otherDriver() {
  heddle_driver driver = *heddle_driver_cpu();
  driver.load = loadOther;
  return driver;
}

std::vector<float> logits(heddle_model *model) {
  Session session(model, 1);
  REQUIRE(session.append(0, {3, 1, 4}) == HEDDLE_OK);
  return session.output();
}

heddle_status open(const ArtifactBuilder &artifact, Error &error, heddle_model_options options = vouched()) {
  Bytes bytes = artifact.build();
  heddle_source source = memorySource(bytes);
  heddle_model *model = nullptr;
  heddle_status status = heddle_model_open(&source, &options, &model, &error);
  CHECK(heddle_model_close(model, nullptr) == HEDDLE_OK);
  return status;
}

heddle_model_options inspectOnly() {
  heddle_model_options options = vouched();
  options.trust = HEDDLE_TRUST_INSPECT_ONLY;
  return options;
}

} // namespace

TEST_CASE("each device runs its program with its weights") {
  std::vector<float> expected = [] {
    OpenModel one(ToyModel().artifact().build());
    return logits(one.model);
  }();
  heddle_driver driver = otherDriver();
  heddle_model_options options = vouched();
  options.driver = &driver;
  OpenModel cpu(twoTargets(3).build()), other(twoTargets(3).build(), options);
  CHECK(logits(cpu.model) == expected);
  for (size_t i = sharedBytes / sizeof(float); i < expected.size(); ++i)
    expected[i] *= 3;
  CHECK(logits(other.model) == expected);
}

TEST_CASE("a device that no program is for says so") {
  Error error;
  ArtifactBuilder artifact = twoTargets(3);
  artifact.members.erase(artifact.members.begin()); // the CPU's
  CHECK(open(artifact, error) == HEDDLE_UNSUPPORTED);
  CHECK_THAT(error.message, Catch::Contains("cannot run on this CPU"));
  heddle_driver driver = otherDriver();
  heddle_model_options options = vouched();
  options.driver = &driver;
  CHECK(open(ToyModel().artifact(), error, options) == HEDDLE_UNSUPPORTED);
}

TEST_CASE("every program is checked when an artifact is inspected") {
  Error error;
  REQUIRE(open(twoTargets(3), error, inspectOnly()) == HEDDLE_OK);
  for (size_t program : {0, 1}) {
    ArtifactBuilder damaged = twoTargets(3);
    damaged.members[program].bytes[0] ^= 1;
    CHECK(open(damaged, error, inspectOnly()) == HEDDLE_INVALID_FILE);
    CHECK_THAT(error.message, Catch::Contains("program.bin: expected it to start with"));
    ArtifactBuilder changed = twoTargets(3);
    changed.manifest = changed.makeManifest();
    changed.members[program].bytes[300] ^= 1;
    CHECK(open(changed, error, inspectOnly()) == HEDDLE_INVALID_FILE);
    CHECK_THAT(error.message, Catch::Contains("SHA-256"));
  }
}

TEST_CASE("weights in several members are hashed each, and are not mapped") {
  Error error;
  for (const char *name : {"weights-both.bin", "weights.bin"}) {
    ArtifactBuilder artifact = twoTargets(3);
    artifact.manifest = artifact.makeManifest();
    for (ArtifactBuilder::Member &member : artifact.members)
      if (member.name == name)
        member.bytes[8] ^= 1;
    CHECK(open(artifact, error) == HEDDLE_INVALID_FILE);
    CHECK_THAT(error.message, Catch::Contains(std::string("'") + name + "' does not have the SHA-256"));
    std::erase_if(artifact.members, [&](const auto &member) { return member.name == name; });
    artifact.manifest.clear();
    CHECK(open(artifact, error) == HEDDLE_INVALID_FILE);
    CHECK_THAT(error.message, Catch::Contains(std::string("'") + name + "' is missing"));
  }
  heddle_model_options options = vouched();
  options.weights = HEDDLE_WEIGHTS_MAP;
  CHECK(open(twoTargets(3), error, options) == HEDDLE_UNSUPPORTED);
  CHECK_THAT(error.message, Catch::Contains("in several members"));
}
