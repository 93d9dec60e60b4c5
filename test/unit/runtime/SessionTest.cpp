#include "Fixture.h"
#include <atomic>
#include <cstdlib>
#include <numeric>
#include <thread>

using namespace heddle::test;
using Tokens = std::vector<int32_t>;

static Tokens joined(Tokens a, const Tokens &b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_CASE("step computes the wanted rows of one sequence") {
  OpenModel open(ToyModel().artifact().build());
  Session session(open.model);
  REQUIRE(session.step({3, 4, 5}, {0, 0, 0}, {0, 1, 2}, {0, 2}) == HEDDLE_OK);
  std::vector<float> logits = session.output();
  REQUIRE(logits.size() == 2 * ToyModel::vocabulary);
  CHECK(logits[0] == 7);
  CHECK(logits[9] == 70);
  CHECK(logits[ToyModel::vocabulary] == 7 + 9 + 11);
  CHECK(heddle_sequence_length(session.session, 0) == 3);
  REQUIRE(session.step({6}, {0}, {3}, {}) == HEDDLE_OK); // nothing wanted
  CHECK(session.output().empty());
  REQUIRE(session.append(0, {1}) == HEDDLE_OK);
  CHECK(session.output()[0] == 7 + 9 + 11 + 13 + 3);
}

TEST_CASE("results do not depend on threads or on what shares a step") {
  OpenModel open(ToyModel().artifact().build());
  Tokens a = someTokens(200, 1), b = someTokens(77, 2), c = someTokens(3, 3);
  for (uint32_t threads : {1u, 2u, 3u, 7u}) {
    Team team(threads);
    Session session(open.model, 5, team.team);
    Tokens tokens = joined(joined(b, a), c), slots, positions;
    for (auto [slot, count] : {std::pair{4, 77}, {1, 200}, {0, 3}})
      for (int i = 0; i < count; ++i) {
        slots.push_back(slot);
        positions.push_back(i);
      }
    REQUIRE(session.step(tokens, slots, positions, {76, 276, 279}) == HEDDLE_OK);
    std::vector<float> logits = session.output();
    CHECK(logits[0] == expectedLogit(b));
    CHECK(logits[100] == expectedLogit(a));
    CHECK(logits[200] == expectedLogit(c));
    CHECK(heddle_sequence_length(session.session, 1) == 200);
  }
}

TEST_CASE("work records cover the rows in order, in pieces of the variant's size") {
  OpenModel open(ToyModel().artifact().build());
  Session session(open.model);
  // One variant's pieces are as large as its rows: pool sees one piece per text.
  REQUIRE(session.step({5, 6, 7, 8, 9, 1}, {0, 0, 0, 1, 1, 2}, {0, 1, 2, 0, 1, 0}, {}, "encode") ==
          HEDDLE_OK);
  CHECK(session.output("encode") == std::vector<float>{18, 3, 3, 0, 17, 1, 2, 3, 1, 0, 1, 5});
}

TEST_CASE("a step is refused before any work") {
  OpenModel open(ToyModel().artifact().build());
  Session session(open.model, 2);
  REQUIRE(session.step({1, 2}, {0, 0}, {0, 1}, {1}) == HEDDLE_OK);
  auto refuse = [&](heddle_status expected, Tokens tokens, Tokens slots, Tokens positions, Tokens wanted,
                    const char *words) {
    INFO(words);
    CHECK(session.step(tokens, slots, positions, wanted) == expected);
    CHECK_THAT(session.error.message, Catch::Contains(words));
    CHECK(heddle_sequence_length(session.session, 0) == 2);
    CHECK(heddle_sequence_length(session.session, 1) == 0);
  };
  refuse(HEDDLE_INVALID_ARGUMENT, {100}, {0}, {2}, {}, "token id below 100, but found 100");
  refuse(HEDDLE_INVALID_ARGUMENT, {-1}, {0}, {2}, {}, "but found -1");
  refuse(HEDDLE_INVALID_ARGUMENT, {1}, {2}, {0}, {}, "sequence below 2, but found 2");
  refuse(HEDDLE_INVALID_ARGUMENT, {1}, {-1}, {0}, {}, "but found -1");
  refuse(HEDDLE_INVALID_ARGUMENT, {1}, {0}, {1}, {}, "expected position 2 of sequence 0, but found 1");
  refuse(HEDDLE_INVALID_ARGUMENT, {1, 1}, {0, 0}, {2, 4}, {}, "expected position 3");
  refuse(HEDDLE_INVALID_ARGUMENT, {1, 1, 1}, {0, 1, 0}, {2, 0, 3}, {}, "not contiguous");
  refuse(HEDDLE_INVALID_ARGUMENT, {1}, {0}, {2}, {1}, "wanted rows");
  refuse(HEDDLE_INVALID_ARGUMENT, {1}, {0}, {2}, {-1}, "wanted rows");
  refuse(HEDDLE_INVALID_ARGUMENT, {1, 1}, {0, 0}, {2, 3}, {1, 1}, "wanted rows");
  refuse(HEDDLE_INVALID_ARGUMENT, {1, 1}, {0, 0}, {2, 3}, {1, 0}, "wanted rows");
  refuse(HEDDLE_RESOURCE_LIMIT, {}, {}, {}, {}, "1 to 300 rows in one run");
  refuse(HEDDLE_RESOURCE_LIMIT, Tokens(301, 1), Tokens(301, 0), Tokens(301, 0), {}, "but found 301");
  refuse(HEDDLE_RESOURCE_LIMIT, Tokens(9, 1), Tokens(9, 1), {0, 1, 2, 3, 4, 5, 6, 7, 8},
         {0, 1, 2, 3, 4, 5, 6, 7, 8}, "at most 8 wanted");
  refuse(HEDDLE_INVALID_ARGUMENT, {1}, {0}, {INT32_MAX}, {}, "expected position 2");
  CHECK(session.append(0, {3}) == HEDDLE_OK);
  CHECK(session.output()[0] == expectedLogit({1, 2, 3}));
  CHECK(session.step({1}, {0}, {0}, {}, "nothing") == HEDDLE_INVALID_ARGUMENT);
  CHECK(session.step({1}, {0}, {0}, {}, "scale") == HEDDLE_INVALID_ARGUMENT);
}

TEST_CASE("code runs the alternative of a variant that it has the features for") {
  for (uint32_t features : {uint32_t(HEDDLE_CPU_X86_64_V3), uint32_t(HEDDLE_CPU_AMX_BF16)}) {
    ToyModel toy;
    // Everything that the first variant launches is missing, unless its alternative replaces it.
    ProgramBuilder &p = toy.program;
    heddle_variant replaced = p.variants[0];
    for (uint32_t i = 0; i < replaced.launch_count; ++i) {
      heddle_launch launch = p.launches[replaced.first_launch + i];
      p.launches.push_back(launch);
      p.launches[replaced.first_launch + i].function = p.functions.size();
    }
    p.functions.push_back({p.string("absent"), 0, 0});
    p.offsets.push_back(HEDDLE_NO_FUNCTION);
    p.variants[0].alternative = p.variants.size();
    p.variants[0].alternative_features = features;
    replaced.first_launch = p.launches.size() - replaced.launch_count;
    p.variants.push_back(replaced);
    OpenModel open(toy.artifact().build());
    Session session(open.model);
    if (features == HEDDLE_CPU_X86_64_V3) {
      REQUIRE(session.append(0, {3}) == HEDDLE_OK);
      CHECK(session.output()[0] == expectedLogit({3}));
    } else {
      CHECK(session.append(0, {3}) == HEDDLE_INVALID_FILE);
      CHECK_THAT(session.error.message, Catch::Contains("the code has no function 'absent'"));
    }
  }
}

TEST_CASE("texts to encode are checked") {
  OpenModel open(ToyModel().artifact().build());
  Session session(open.model);
  CHECK(session.step({1}, {1}, {0}, {}, "encode") == HEDDLE_INVALID_ARGUMENT);
  CHECK(session.step({1, 1}, {0, 2}, {0, 0}, {}, "encode") == HEDDLE_INVALID_ARGUMENT);
  CHECK(session.step({1, 1, 1}, {0, 1, 0}, {0, 0, 1}, {}, "encode") == HEDDLE_INVALID_ARGUMENT);
  CHECK(session.step({1, 1}, {0, 0}, {0, 2}, {}, "encode") == HEDDLE_INVALID_ARGUMENT);
  CHECK(session.step({1, 1}, {0, 0}, {0, 1}, {1}, "encode") == HEDDLE_INVALID_ARGUMENT);
  CHECK(session.step(Tokens(9, 1), {0, 1, 2, 3, 4, 5, 6, 7, 8}, Tokens(9, 0), {}, "encode") ==
        HEDDLE_RESOURCE_LIMIT);
}

TEST_CASE("a sequence fills its context and no more") {
  OpenModel open(ToyModel().artifact().build());
  Session session(open.model, 2, nullptr, 200); // rounded up to 256
  Tokens tokens = someTokens(250);
  REQUIRE(session.append(1, tokens) == HEDDLE_OK);
  CHECK(session.append(1, someTokens(7)) == HEDDLE_RESOURCE_LIMIT);
  CHECK_THAT(session.error.message, Catch::Contains("sequence 1 is full; it holds 256 tokens"));
  CHECK(heddle_sequence_length(session.session, 1) == 250);
  Tokens more = someTokens(6, 9);
  REQUIRE(session.append(1, more) == HEDDLE_OK);
  CHECK(session.output()[0] == expectedLogit(joined(tokens, more)));
}

TEST_CASE("fork shares pages until one side writes; trim and clear give them back") {
  OpenModel open(ToyModel().artifact().build());
  Session session(open.model);
  Tokens common = someTokens(150);
  REQUIRE(session.append(0, common) == HEDDLE_OK);
  for (uint32_t to : {1u, 2u, 3u, 4u})
    REQUIRE(heddle_sequence_fork(session.session, 0, to, nullptr) == HEDDLE_OK);
  std::vector<Tokens> all(5, common);
  for (int round = 0; round < 3; ++round)
    for (int slot = 0; slot < 5; ++slot) {
      Tokens more = someTokens(40 + slot, 100 * round + slot);
      all[slot] = joined(all[slot], more);
      REQUIRE(session.append(slot, more) == HEDDLE_OK);
      CHECK(session.output()[0] == expectedLogit(all[slot]));
    }
  // Trim into the shared part, go on differently, and look at a neighbour.
  REQUIRE(heddle_sequence_fork(session.session, 2, 3, nullptr) == HEDDLE_OK);
  all[3] = all[2];
  REQUIRE(heddle_sequence_trim(session.session, 3, 130, nullptr) == HEDDLE_OK);
  all[3].resize(130);
  REQUIRE(session.append(3, {9}) == HEDDLE_OK);
  CHECK(session.output()[0] == expectedLogit(joined(all[3], {9})));
  REQUIRE(session.append(2, {8}) == HEDDLE_OK);
  CHECK(session.output()[0] == expectedLogit(joined(all[2], {8})));
  CHECK(heddle_sequence_trim(session.session, 3, 132, nullptr) == HEDDLE_INVALID_ARGUMENT);
  CHECK(heddle_sequence_trim(session.session, 5, 0, nullptr) == HEDDLE_INVALID_ARGUMENT);
  CHECK(heddle_sequence_fork(session.session, 5, 0, nullptr) == HEDDLE_INVALID_ARGUMENT);
  REQUIRE(heddle_sequence_fork(session.session, 2, 2, nullptr) == HEDDLE_OK);
  for (uint32_t slot = 0; slot < 5; ++slot)
    REQUIRE(heddle_sequence_clear(session.session, slot, nullptr) == HEDDLE_OK);
  // Every page is free again: all sequences can be filled.
  for (int slot = 0; slot < 5; ++slot) {
    Tokens full = someTokens(300, slot), rest = someTokens(212, slot + 50);
    REQUIRE(session.append(slot, full) == HEDDLE_OK);
    REQUIRE(session.append(slot, rest) == HEDDLE_OK);
    CHECK(session.output()[0] == expectedLogit(joined(full, rest)));
  }
}

TEST_CASE("random forks, trims and steps keep every sequence's contents") {
  OpenModel open(ToyModel().artifact().build());
  Session session(open.model);
  std::vector<Tokens> all(5);
  uint32_t seed = 42;
  auto random = [&](uint32_t bound) { return ((seed = seed * 1664525u + 1013904223u) >> 8) % bound; };
  for (int i = 0; i < 3000; ++i) {
    uint32_t slot = random(5), other = random(5);
    switch (random(4)) {
    case 0:
      REQUIRE(heddle_sequence_fork(session.session, slot, other, nullptr) == HEDDLE_OK);
      all[other] = all[slot];
      break;
    case 1: {
      uint32_t length = random(all[slot].size() + 1);
      REQUIRE(heddle_sequence_trim(session.session, slot, length, nullptr) == HEDDLE_OK);
      all[slot].resize(length);
      break;
    }
    default: {
      Tokens more = someTokens(1 + random(random(4) ? 20 : 300), seed);
      if (all[slot].size() + more.size() > 512) {
        REQUIRE(session.append(slot, more) == HEDDLE_RESOURCE_LIMIT);
        break;
      }
      all[slot] = joined(all[slot], more);
      REQUIRE(session.append(slot, more) == HEDDLE_OK);
      REQUIRE(session.output()[0] == expectedLogit(all[slot]));
    }
    }
    REQUIRE(heddle_sequence_length(session.session, slot) == all[slot].size());
  }
}

static int writeTo(void *context, const void *data, size_t size) {
  auto *bytes = static_cast<const uint8_t *>(data);
  static_cast<Bytes *>(context)->insert(static_cast<Bytes *>(context)->end(), bytes, bytes + size);
  return 0;
}
struct Reader {
  const Bytes &bytes;
  size_t at = 0;
  static int read(void *context, void *data, size_t size) {
    Reader &reader = *static_cast<Reader *>(context);
    if (size > reader.bytes.size() - reader.at)
      return 1;
    std::memcpy(data, reader.bytes.data() + reader.at, size);
    reader.at += size;
    return 0;
  }
};

TEST_CASE("a saved sequence can be restored elsewhere, and only if it is intact") {
  OpenModel open(ToyModel().artifact().build());
  Session first(open.model), second(open.model, 2, nullptr, 256);
  Tokens tokens = someTokens(140);
  REQUIRE(first.append(3, tokens) == HEDDLE_OK);
  Bytes saved;
  REQUIRE(heddle_session_save(first.session, 3, writeTo, &saved, nullptr) == HEDDLE_OK);
  auto restore = [&](const Bytes &bytes) {
    Reader reader{bytes};
    heddle_status status = heddle_session_restore(second.session, 1, Reader::read, &reader, &second.error);
    CHECK(heddle_sequence_length(second.session, 1) == (status ? 0 : 140));
    return status;
  };
  REQUIRE(restore(saved) == HEDDLE_OK);
  REQUIRE(second.append(1, {5}) == HEDDLE_OK);
  CHECK(second.output()[0] == expectedLogit(joined(tokens, {5})));

  for (size_t cut = 0; cut < saved.size(); cut += cut < 100 ? 1 : 997)
    CHECK(restore(Bytes(saved.begin(), saved.begin() + cut)) == HEDDLE_IO_ERROR);
  for (size_t i = 0; i < saved.size(); i += i < 100 ? 1 : 997) {
    Bytes wrong = saved;
    wrong[i] ^= 0x10;
    CHECK(restore(wrong) != HEDDLE_OK);
  }
  // What another sequence left in the rest of the last page is not saved.
  REQUIRE(heddle_sequence_clear(first.session, 3, nullptr) == HEDDLE_OK);
  REQUIRE(first.append(3, someTokens(150, 7)) == HEDDLE_OK);
  REQUIRE(heddle_sequence_trim(first.session, 3, 0, nullptr) == HEDDLE_OK);
  REQUIRE(first.append(3, tokens) == HEDDLE_OK);
  Bytes again;
  REQUIRE(heddle_session_save(first.session, 3, writeTo, &again, nullptr) == HEDDLE_OK);
  CHECK(again == saved);
  REQUIRE(first.append(3, someTokens(10, 8)) == HEDDLE_OK);
  REQUIRE(heddle_sequence_trim(first.session, 3, 140, nullptr) == HEDDLE_OK);
  Bytes trimmed;
  REQUIRE(heddle_session_save(first.session, 3, writeTo, &trimmed, nullptr) == HEDDLE_OK);
  CHECK(trimmed == saved);
  // Longer than the other session's context.
  REQUIRE(first.append(3, someTokens(150)) == HEDDLE_OK);
  Bytes longer;
  REQUIRE(heddle_session_save(first.session, 3, writeTo, &longer, nullptr) == HEDDLE_OK);
  CHECK(restore(longer) == HEDDLE_RESOURCE_LIMIT);
}

struct alignas(64) Rows {
  float data[300 * 4];
};

static heddle_view viewOf(void *data, uint64_t size, heddle_dtype dtype, std::vector<int64_t> dimensions) {
  heddle_view view = {};
  view.struct_size = sizeof(view);
  view.data = data;
  view.size_bytes = size;
  view.dtype = dtype;
  view.rank = dimensions.size();
  std::copy(dimensions.begin(), dimensions.end(), view.dimension);
  return view;
}

TEST_CASE("tensors are bound, checked and used in place") {
  OpenModel open(ToyModel().artifact().build());
  Team team(3);
  Session session(open.model, 1, team.team);
  auto x = std::make_unique<Rows>(), y = std::make_unique<Rows>();
  for (int i = 0; i < 1200; ++i)
    x->data[i] = i;
  CHECK(heddle_session_run(session.session, "scale", &session.error) == HEDDLE_INVALID_ARGUMENT); // not bound
  heddle_view in = viewOf(x->data, sizeof(*x), HEDDLE_DTYPE_F32, {7, 4});
  REQUIRE(heddle_session_bind(session.session, "scale", 0, &in, nullptr) == HEDDLE_OK);
  REQUIRE(heddle_session_run(session.session, "scale", nullptr) == HEDDLE_OK);
  std::vector<float> result = session.output("scale");
  REQUIRE(result.size() == 28);
  for (int i = 0; i < 28; ++i)
    CHECK(result[i] == 2.0f * i);

  heddle_view out = viewOf(y->data, sizeof(*y), HEDDLE_DTYPE_F32, {300, 4});
  REQUIRE(heddle_session_bind(session.session, "scale", 1, &out, nullptr) == HEDDLE_OK);
  in.dimension[0] = 300;
  REQUIRE(heddle_session_bind(session.session, "scale", 0, &in, nullptr) == HEDDLE_OK);
  REQUIRE(heddle_session_run(session.session, "scale", nullptr) == HEDDLE_OK);
  for (int i = 0; i < 1200; ++i)
    CHECK(y->data[i] == 2.0f * i);
  out.size_bytes = 100; // too small for what the run makes
  out.dimension[0] = 6;
  REQUIRE(heddle_session_bind(session.session, "scale", 1, &out, nullptr) == HEDDLE_OK);
  CHECK(heddle_session_run(session.session, "scale", &session.error) == HEDDLE_INVALID_ARGUMENT);
  REQUIRE(heddle_session_bind(session.session, "scale", 1, nullptr, nullptr) == HEDDLE_OK);
  REQUIRE(heddle_session_run(session.session, "scale", nullptr) == HEDDLE_OK);
  CHECK(session.output("scale")[1199] == 2398);

  auto refuse = [&](heddle_view view) {
    CHECK(heddle_session_bind(session.session, "scale", 0, &view, &session.error) == HEDDLE_INVALID_ARGUMENT);
  };
  heddle_view good = viewOf(x->data, sizeof(*x), HEDDLE_DTYPE_F32, {7, 4}), bad = good;
  (bad = good).data = reinterpret_cast<char *>(x->data) + 4;
  refuse(bad);
  (bad = good).dtype = HEDDLE_DTYPE_F16;
  refuse(bad);
  (bad = good).rank = 1;
  refuse(bad);
  (bad = good).dimension[0] = 301;
  refuse(bad);
  (bad = good).dimension[0] = -1;
  refuse(bad);
  (bad = good).dimension[1] = 3;
  refuse(bad);
  (bad = good).stride[0] = 32;
  refuse(bad);
  (bad = good).size_bytes = 111;
  refuse(bad);
  (bad = good).struct_size = 0;
  refuse(bad);
  (bad = good).data = nullptr;
  refuse(bad);
  good.stride[0] = 16;
  good.stride[1] = 4;
  CHECK(heddle_session_bind(session.session, "scale", 0, &good, nullptr) == HEDDLE_OK);
  CHECK(heddle_session_bind(session.session, "scale", 2, &good, nullptr) == HEDDLE_INVALID_ARGUMENT);
}

TEST_CASE("run takes a text entry's bound inputs") {
  OpenModel open(ToyModel().artifact().build());
  Session session(open.model);
  alignas(64) int32_t arrays[4][16] = {{1, 2}, {0, 0}, {0, 1}, {1}};
  CHECK(heddle_session_run(session.session, "step", nullptr) != HEDDLE_OK);
  for (uint32_t i = 0; i < 4; ++i) {
    heddle_view view = viewOf(arrays[i], sizeof(arrays[i]), HEDDLE_DTYPE_I32, {i == 3 ? 1 : 2});
    REQUIRE(heddle_session_bind(session.session, "step", i, &view, nullptr) == HEDDLE_OK);
  }
  REQUIRE(heddle_session_run(session.session, "step", nullptr) == HEDDLE_OK);
  CHECK(session.output()[0] == 8);
  CHECK(heddle_session_run(session.session, "step", nullptr) ==
        HEDDLE_INVALID_ARGUMENT); // same positions again
}

TEST_CASE("cancel ends the run at the next kernel, or the next run") {
  OpenModel open(ToyModel().artifact().build());
  Team team(2);
  Session session(open.model, 1, team.team);
  struct alignas(64) {
    std::atomic<uint32_t> words[16];
  } control = {};
  heddle_view view = viewOf(&control, sizeof(control), HEDDLE_DTYPE_I32, {8});
  REQUIRE(heddle_session_bind(session.session, "control", 0, &view, nullptr) == HEDDLE_OK);
  std::thread canceller([&] {
    while (control.words[1] == 0)
      std::this_thread::yield();
    heddle_session_cancel(session.session);
    control.words[0] = 1;
  });
  CHECK(heddle_session_run(session.session, "control", &session.error) == HEDDLE_CANCELLED);
  canceller.join();
  CHECK(control.words[2] == 0); // the kernel after it did not run
  REQUIRE(heddle_session_run(session.session, "control", nullptr) == HEDDLE_OK);
  CHECK(control.words[2] == 1);

  heddle_session_cancel(session.session);
  CHECK(session.append(0, {1, 2}) == HEDDLE_CANCELLED);
  CHECK(heddle_sequence_length(session.session, 0) == 0);
  Error error;
  heddle_view output = {};
  output.struct_size = sizeof(output);
  CHECK(heddle_session_output(session.session, "step", 0, &output, &error) == HEDDLE_INVALID_ARGUMENT);
  REQUIRE(session.append(0, {1, 2}) == HEDDLE_OK);
  CHECK(session.output()[0] == expectedLogit({1, 2}));
}

TEST_CASE("the floating-point environment is set for kernels and restored") {
  OpenModel open(ToyModel().artifact().build());
  Session session(open.model, 1);
  struct alignas(64) {
    uint32_t words[16];
  } control = {{1}};
  heddle_view view = viewOf(&control, sizeof(control), HEDDLE_DTYPE_I32, {8});
  REQUIRE(heddle_session_bind(session.session, "control", 0, &view, nullptr) == HEDDLE_OK);
  unsigned before = __builtin_ia32_stmxcsr(), changed = 0x7f80 | 0x8040; // toward zero, denormals flushed
  __builtin_ia32_ldmxcsr(changed);
  heddle_status status = heddle_session_run(session.session, "control", nullptr);
  unsigned after = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before);
  REQUIRE(status == HEDDLE_OK);
  CHECK(after == changed);
  heddle_view output = {};
  output.struct_size = sizeof(output);
  REQUIRE(heddle_session_output(session.session, "control", 0, &output, nullptr) == HEDDLE_OK);
  CHECK((*static_cast<uint32_t *>(output.data) & 0xffc0) == 0x1f80);
}

struct Counting {
  uint64_t current = 0, calls = 0, failAfter = UINT64_MAX;
  std::vector<uint64_t> sizes;
  static void *allocate(void *context, size_t size, size_t alignment) {
    Counting &self = *static_cast<Counting *>(context);
    if (self.calls++ >= self.failAfter)
      return nullptr;
    self.current += size;
    self.sizes.push_back(size);
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  }
  static void release(void *context, void *memory, size_t size) {
    static_cast<Counting *>(context)->current -= size;
    std::free(memory);
  }
};

TEST_CASE("memory is what was announced, allocated in open and create only, and limited") {
  Bytes artifact = ToyModel().artifact().build();
  Counting counting;
  heddle_allocator allocator = {sizeof(allocator), &counting, Counting::allocate, Counting::release};
  heddle_model_options options = vouched();
  options.allocator = &allocator;
  uint64_t sessionBytes = 0, modelBytes = 0;
  {
    OpenModel open(artifact, options);
    heddle_model_info info = {};
    info.struct_size = sizeof(info);
    REQUIRE(heddle_model_get_info(open.model, &info, nullptr) == HEDDLE_OK);
    CHECK(info.model_bytes == counting.current);
    modelBytes = counting.current;
    heddle_session_options sessionOptions = {};
    sessionOptions.struct_size = sizeof(sessionOptions);
    sessionOptions.sequences = 3;
    heddle_memory memory = {};
    memory.struct_size = sizeof(memory);
    REQUIRE(heddle_model_memory(open.model, &sessionOptions, &memory, nullptr) == HEDDLE_OK);
    CHECK(memory.cache_bytes == 3 * 512 / 128 * 4096);
    CHECK(memory.bytes_per_sequence * 3 == memory.cache_bytes);
    CHECK(memory.arena_bytes + memory.cache_bytes + memory.scratch_bytes + memory.io_bytes +
              memory.table_bytes ==
          memory.total_bytes);
    sessionBytes = memory.total_bytes;
    {
      Session session(open.model, 3);
      CHECK(counting.current == modelBytes + memory.total_bytes);
      uint64_t calls = counting.calls;
      REQUIRE(session.append(0, someTokens(200)) == HEDDLE_OK);
      REQUIRE(heddle_sequence_fork(session.session, 0, 1, nullptr) == HEDDLE_OK);
      REQUIRE(session.append(1, someTokens(200)) == HEDDLE_OK);
      CHECK(counting.calls == calls);
      CHECK(heddle_model_close(open.model, &open.error) == HEDDLE_BUSY);
    }
    CHECK(counting.current == modelBytes);
  }
  CHECK(counting.current == 0);

  // Each allocation may fail: an error, nothing lost.
  heddle_source source = memorySource(artifact);
  for (uint64_t allowed = 0;; ++allowed) {
    REQUIRE(allowed < 100);
    counting.calls = 0;
    counting.failAfter = allowed;
    heddle_model *model = nullptr;
    heddle_session *session = nullptr;
    Error error;
    heddle_status status = heddle_model_open(&source, &options, &model, &error);
    if (!status)
      status = heddle_session_create(model, nullptr, &session, &error);
    CHECK(((status == HEDDLE_OK) == (session != nullptr)));
    heddle_session_destroy(session);
    CHECK(heddle_model_close(model, nullptr) == HEDDLE_OK);
    CHECK(counting.current == 0);
    if (!status)
      break;
    CHECK(status == HEDDLE_RESOURCE_LIMIT);
  }
  // The limit is exact.
  counting.failAfter = UINT64_MAX;
  for (uint64_t missing : {0, 1}) {
    options.max_memory = modelBytes + sessionBytes - missing;
    OpenModel open(artifact, options);
    heddle_session_options sessionOptions = {};
    sessionOptions.struct_size = sizeof(sessionOptions);
    sessionOptions.sequences = 3;
    heddle_session *session = nullptr;
    CHECK(heddle_session_create(open.model, &sessionOptions, &session, nullptr) ==
          (missing ? HEDDLE_RESOURCE_LIMIT : HEDDLE_OK));
    heddle_session_destroy(session);
  }
}

TEST_CASE("session options are within the artifact's bounds") {
  OpenModel open(ToyModel().artifact().build());
  auto refuse = [&](auto change, heddle_status expected) {
    heddle_session_options options = {};
    options.struct_size = sizeof(options);
    change(options);
    heddle_session *session = nullptr;
    CHECK(heddle_session_create(open.model, &options, &session, &open.error) == expected);
    CHECK(session == nullptr);
  };
  refuse([](auto &o) { o.sequences = 6; }, HEDDLE_RESOURCE_LIMIT);
  refuse([](auto &o) { o.context = 513; }, HEDDLE_RESOURCE_LIMIT);
  refuse([](auto &o) { o.rows = 301; }, HEDDLE_RESOURCE_LIMIT);
  refuse([](auto &o) { o.wanted = 9; }, HEDDLE_RESOURCE_LIMIT);
  refuse([](auto &o) { o.struct_size = 4; }, HEDDLE_INVALID_ARGUMENT);
  // A struct of a later version: fine as long as what is new is zero.
  struct {
    heddle_session_options options;
    uint64_t later;
  } extended = {};
  extended.options.struct_size = sizeof(extended);
  heddle_session *session = nullptr;
  REQUIRE(heddle_session_create(open.model, &extended.options, &session, nullptr) == HEDDLE_OK);
  heddle_session_destroy(session);
  extended.later = 1;
  CHECK(heddle_session_create(open.model, &extended.options, &session, &open.error) ==
        HEDDLE_INVALID_ARGUMENT);
  // Fewer rows take a smaller arena.
  heddle_session_options few = {};
  few.struct_size = sizeof(few);
  few.rows = 4;
  heddle_memory small = {}, large = {};
  small.struct_size = large.struct_size = sizeof(small);
  REQUIRE(heddle_model_memory(open.model, &few, &small, nullptr) == HEDDLE_OK);
  REQUIRE(heddle_model_memory(open.model, nullptr, &large, nullptr) == HEDDLE_OK);
  CHECK(small.arena_bytes * 2 == large.arena_bytes);
}
