// Writes the toy model of the runtime's tests, or opens an artifact with some flags and runs a step: for
// tests that look at the runtime from outside (embedding, gdb, perf).
#include "ArtifactBuilder.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

using namespace heddle::test;

static int writeToy(const char *path) {
  Bytes bytes = ToyModel().artifact().build();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  return file.flush() ? 0 : 1;
}

static int runToy(const char *path, uint32_t flags) {
  heddle_error error = {};
  error.struct_size = sizeof(error);
  heddle_source source = {};
  source.struct_size = sizeof(source);
  source.kind = HEDDLE_SOURCE_PATH;
  source.path = path;
  heddle_model_options options = vouched();
  options.flags = flags;
  heddle_model *model = nullptr;
  heddle_session *session = nullptr;
  int32_t token = 3, zero = 0;
  heddle_step step = {sizeof(step), &token, &zero, &zero, 1, 1, &zero};
  heddle_view view = {};
  view.struct_size = sizeof(view);
  if (heddle_model_open(&source, &options, &model, &error) ||
      heddle_session_create(model, nullptr, &session, &error) ||
      heddle_session_step(session, nullptr, &step, &error) ||
      heddle_session_output(session, nullptr, 0, &view, &error)) {
    fprintf(stderr, "runtime-toy: %s\n", error.message);
    return 1;
  }
  printf("%g\n", *static_cast<float *>(view.data));
  heddle_session_destroy(session);
  return heddle_model_close(model, &error);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "write") == 0)
    return writeToy(argv[2]);
  if (argc == 4 && strcmp(argv[1], "run") == 0)
    return runToy(argv[2], strtoul(argv[3], nullptr, 10));
  fprintf(stderr, "usage: runtime-toy write FILE | runtime-toy run FILE FLAGS\n");
  return 2;
}
