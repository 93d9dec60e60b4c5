// Writes one valid input per part of the harness into a folder.
#include "test/unit/runtime/ArtifactBuilder.h"
#include <cstdio>
#include <fstream>

using namespace heddle::test;

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: artifact-corpus FOLDER\n");
    return 2;
  }
  auto write = [&](const char *name, char part, const Bytes &bytes) {
    std::ofstream file(std::string(argv[1]) + "/" + name, std::ios::binary);
    file.put(part);
    file.write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    return file.good();
  };
  std::string manifest = ToyModel().artifact().makeManifest();
  Bytes artifact = ToyModel().artifact().build(), saved;
  heddle_source source = memorySource(artifact);
  heddle_model_options options = vouched();
  heddle_model *model = nullptr;
  heddle_session *session = nullptr;
  if (heddle_model_open(&source, &options, &model, nullptr) ||
      heddle_session_create(model, nullptr, &session, nullptr))
    return 1;
  int32_t tokens[] = {1, 2, 3}, slots[] = {0, 0, 0}, positions[] = {0, 1, 2};
  heddle_step step = {sizeof(step), tokens, slots, positions, 3, 0, nullptr};
  auto append = [](void *context, const void *data, size_t size) {
    auto *bytes = static_cast<const uint8_t *>(data);
    static_cast<Bytes *>(context)->insert(static_cast<Bytes *>(context)->end(), bytes, bytes + size);
    return 0;
  };
  if (heddle_session_step(session, nullptr, &step, nullptr) ||
      heddle_session_save(session, 0, append, &saved, nullptr))
    return 1;
  heddle_session_destroy(session);
  bool ok = heddle_model_close(model, nullptr) == HEDDLE_OK;
  ok &= write("patches", 0, {1, 0, 0, 0, 5, 2, 0, 0, 0, 7});
  ok &= write("manifest", 1, Bytes(manifest.begin(), manifest.end()));
  ok &= write("program", 2, ToyModel().program.build());
  ok &= write("image", 3, kernelImage());
  ok &= write("saved", 4, saved);
  return ok ? 0 : 1;
}
