// Runs a compiled model on weights of random or NaN bytes, with all of its memory between guard pages:
// whatever the numbers are, no kernel may touch what is not its own. Exit status 0 when the runs end without
// a fault.
#include "ArtifactBuilder.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sys/mman.h>

using namespace heddle::test;

namespace {

constexpr size_t page = 4096;
heddle_error error = {};

size_t mappedBytes(size_t size) { return (size + page - 1) / page * page + 2 * page; }

/// The block ends where a guard page begins (but for its alignment to 64 bytes, which is all that kernels
/// need).
void *allocateGuarded(void *, size_t size, size_t) {
  size_t bytes = mappedBytes(size);
  void *mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    return nullptr;
  char *base = static_cast<char *>(mapped), *end = base + bytes - page;
  if (mprotect(base, page, PROT_NONE) != 0 || mprotect(end, page, PROT_NONE) != 0)
    return nullptr;
  char *block = end - (size + 63) / 64 * 64;
  std::memset(block, 0xff, (size + 63) / 64 * 64); // NaN, where nothing else is written
  return block;
}

void releaseGuarded(void *, void *memory, size_t size) {
  char *end = static_cast<char *>(memory) + (size + 63) / 64 * 64;
  munmap(end + page - mappedBytes(size), mappedBytes(size));
}

uint32_t state = 1;
uint32_t random32() { return state = state * 1664525u + 1013904223u, state >> 7 ^ state << 25; }

[[noreturn]] void stop(const char *what) {
  fprintf(stderr, "runtime-guarded: %s: %s\n", what, error.message);
  exit(1);
}

heddle_model *open(const Bytes &bytes, heddle_model_options options) {
  heddle_source source = memorySource(bytes);
  heddle_model *model = nullptr;
  if (heddle_model_open(&source, &options, &model, &error))
    stop("open");
  return model;
}

/// The artifact again, with other weights.
Bytes withWeights(const Bytes &artifact, bool allNan) {
  heddle_model_options options = vouched();
  options.trust = HEDDLE_TRUST_INSPECT_ONLY;
  heddle_model *model = open(artifact, options);
  ArtifactBuilder changed;
  for (uint32_t i = 0;; ++i) {
    heddle_member_info info = {};
    info.struct_size = sizeof(info);
    if (heddle_model_member(model, i, &info, &error))
      break;
    Bytes bytes(info.size);
    if (heddle_model_read_member(model, info.name, bytes.data(), bytes.size(), &error))
      stop("read");
    if (std::string(info.name) == "weights.bin")
      for (uint8_t &byte : bytes)
        byte = allNan ? 0xff : random32();
    if (std::string(info.name) != "manifest.json")
      changed.add(info.name, bytes);
  }
  heddle_model_close(model, nullptr);
  return changed.build();
}

/// One run of `rows` rows, dealt to `slots` sequences from their lengths on.
void run(heddle_session *session, const heddle_model_info &info, bool isStep, uint32_t rows, uint32_t slots) {
  std::vector<int32_t> tokens, slotOf, positions, wanted;
  for (uint32_t i = 0; i < rows; ++i) {
    uint32_t slot = i * slots / rows;
    bool starts = i == 0 || static_cast<uint32_t>(slotOf.back()) != slot;
    uint32_t length = isStep ? heddle_sequence_length(session, slot) : 0;
    tokens.push_back(random32() % info.vocabulary);
    slotOf.push_back(slot);
    positions.push_back(starts ? length : positions.back() + 1);
  }
  if (isStep)
    wanted.push_back(rows - 1);
  heddle_step step = {sizeof(step),     tokens.data(), slotOf.data(),
                      positions.data(), rows,          static_cast<uint32_t>(wanted.size()),
                      wanted.data()};
  heddle_view view = {};
  view.struct_size = sizeof(view);
  if (heddle_session_step(session, nullptr, &step, &error) ||
      heddle_session_output(session, nullptr, 0, &view, &error))
    stop("step");
  volatile uint8_t sum = 0;
  for (uint64_t i = 0; i < view.size_bytes; ++i)
    sum = sum + static_cast<uint8_t *>(view.data)[i];
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: runtime-guarded ARTIFACT random|nan CPU_FEATURES\n");
    return 2;
  }
  error.struct_size = sizeof(error);
  std::ifstream file(argv[1], std::ios::binary);
  Bytes artifact(std::istreambuf_iterator<char>(file), {});
  Bytes changed = withWeights(artifact, std::strcmp(argv[2], "nan") == 0);
  heddle_allocator allocator = {sizeof(allocator), nullptr, allocateGuarded, releaseGuarded};
  heddle_model_options options = vouched();
  options.allocator = &allocator;
  options.cpu_features = strtoul(argv[3], nullptr, 10);
  heddle_model *model = open(changed, options);
  heddle_model_info info = {};
  heddle_entry_info entry = {};
  info.struct_size = sizeof(info);
  entry.struct_size = sizeof(entry);
  if (heddle_model_get_info(model, &info, &error) || heddle_model_entry(model, nullptr, &entry, &error))
    stop("info");
  bool isStep = entry.kind == HEDDLE_ENTRY_STEP;
  heddle_team_options teamOptions = {sizeof(teamOptions), 2, 0, 0};
  heddle_team *team = nullptr;
  if (heddle_team_create(&teamOptions, &team, &error))
    stop("team");
  heddle_session_options sessionOptions = {};
  sessionOptions.struct_size = sizeof(sessionOptions);
  sessionOptions.sequences = isStep ? std::min(info.max_sequences, 2u) : 1;
  sessionOptions.team = team;
  heddle_session *session = nullptr;
  if (heddle_session_create(model, &sessionOptions, &session, &error))
    stop("session");
  uint32_t slots = isStep ? sessionOptions.sequences : std::min(info.max_wanted, 2u);
  for (uint32_t rows : {1u, 2u, 4u, 5u, 33u, 1u, 70u, 3u})
    if (rows >= slots && rows <= info.max_rows)
      run(session, info, isStep, rows, slots);
    else if (rows <= info.max_rows)
      run(session, info, isStep, rows, 1);
  heddle_session_destroy(session);
  if (heddle_team_destroy(team, &error) || heddle_model_close(model, &error))
    stop("close");
  puts("ran");
  return 0;
}
