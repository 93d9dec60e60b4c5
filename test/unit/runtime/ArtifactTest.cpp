// Hostile artifacts: containers, manifests, programs and code images that are wrong in one way each. Every
// one must be refused with the right status and a message, and nothing may leak or be read out of bounds (run
// under sanitizers).
#include "Fixture.h"
#include "core/Program.h"
#include <elf.h>
#include <fstream>
#include <heddle/artifact.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace heddle::test;

static heddle_status open(const Bytes &bytes, Error &error, heddle_model_options options = vouched()) {
  heddle_source source = memorySource(bytes);
  heddle_model *model = nullptr;
  heddle_status status = heddle_model_open(&source, &options, &model, &error);
  CHECK((model != nullptr) == (status == HEDDLE_OK));
  CHECK(heddle_model_close(model, nullptr) == HEDDLE_OK);
  return status;
}

static void refuse(const std::string &what, const Bytes &bytes, const std::string &words,
                   heddle_status expected = HEDDLE_INVALID_FILE) {
  Error error;
  INFO(what);
  CHECK(open(bytes, error) == expected);
  CHECK_THAT(error.message, Catch::Contains(words));
}

static Bytes valid() {
  static const Bytes bytes = ToyModel().artifact().build();
  return bytes;
}
static size_t directoryStart(const Bytes &bytes) {
  uint32_t start;
  std::memcpy(&start, &bytes[bytes.size() - 6], 4);
  return start;
}
static void put(Bytes &bytes, size_t at, uint64_t value, int size) {
  for (int i = 0; i < size; ++i)
    bytes[at + i] = value >> (8 * i);
}

TEST_CASE("a valid artifact opens, from each source and in each way") {
  Bytes bytes = valid();
  Error error;
  REQUIRE(open(bytes, error) == HEDDLE_OK);
  std::string path = "runtime-artifact-test-" + std::to_string(getpid()) + ".heddle";
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<char *>(bytes.data()), bytes.size());
  for (heddle_weights weights : {HEDDLE_WEIGHTS_COPY, HEDDLE_WEIGHTS_MAP})
    for (bool byDescriptor : {false, true}) {
      heddle_source source = {};
      source.struct_size = sizeof(source);
      source.kind = byDescriptor ? HEDDLE_SOURCE_DESCRIPTOR : HEDDLE_SOURCE_PATH;
      source.path = path.c_str();
      FILE *file = fopen(path.c_str(), "rb");
      source.descriptor = fileno(file);
      heddle_model_options options = vouched();
      options.weights = weights;
      heddle_model *model = nullptr;
      REQUIRE(heddle_model_open(&source, &options, &model, &error) == HEDDLE_OK);
      fclose(file);
      {
        Session session(model);
        REQUIRE(session.append(0, {7}) == HEDDLE_OK);
        CHECK(session.output()[99] == 1500);
      }
      std::vector<char> manifest(100000);
      heddle_member_info info = {};
      info.struct_size = sizeof(info);
      REQUIRE(heddle_model_find_member(model, "manifest.json", &info, nullptr) == HEDDLE_OK);
      REQUIRE(heddle_model_read_member(model, "manifest.json", manifest.data(), info.size, nullptr) ==
              HEDDLE_OK);
      CHECK(std::string(manifest.data(), info.size).find("\"format\":1") == 1);
      CHECK(heddle_model_read_member(model, "manifest.json", manifest.data(), 5, nullptr) ==
            HEDDLE_INVALID_ARGUMENT);
      CHECK(heddle_model_find_member(model, "nothing", &info, nullptr) == HEDDLE_INVALID_ARGUMENT);
      CHECK(heddle_model_member(model, 3, &info, nullptr) == HEDDLE_OK);
      CHECK(heddle_model_member(model, 4, &info, nullptr) == HEDDLE_INVALID_ARGUMENT);
      REQUIRE(heddle_model_close(model, nullptr) == HEDDLE_OK);
    }
  unlink(path.c_str());
  heddle_source source = {};
  source.struct_size = sizeof(source);
  heddle_model_options options = vouched();
  heddle_model *model = nullptr;
  auto openPath = [&](const char *name) {
    source.kind = HEDDLE_SOURCE_PATH;
    source.path = name;
    return heddle_model_open(&source, &options, &model, &error);
  };
  CHECK(openPath("/does/not/exist") == HEDDLE_IO_ERROR);
  CHECK(openPath("/dev/zero") == HEDDLE_IO_ERROR);
  CHECK(openPath(".") == HEDDLE_IO_ERROR);
  CHECK(openPath(nullptr) == HEDDLE_IO_ERROR);
  std::string fifo = path + ".fifo";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(openPath(fifo.c_str()) == HEDDLE_IO_ERROR);
  unlink(fifo.c_str());
  source.kind = static_cast<heddle_source_kind>(9);
  CHECK(heddle_model_open(&source, &options, &model, &error) == HEDDLE_INVALID_ARGUMENT);
  CHECK(heddle_model_open(nullptr, &options, &model, &error) == HEDDLE_INVALID_ARGUMENT);
}

TEST_CASE("trust has no default, and decides before code or weights are touched") {
  Bytes bytes = valid();
  Error error;
  heddle_model_options options = vouched();
  options.trust = static_cast<heddle_trust>(0);
  CHECK(open(bytes, error, options) == HEDDLE_INVALID_ARGUMENT);
  options.trust = static_cast<heddle_trust>(5);
  CHECK(open(bytes, error, options) == HEDDLE_INVALID_ARGUMENT);
  options.trust = HEDDLE_TRUST_DIGEST;
  CHECK(open(bytes, error, options) == HEDDLE_INVALID_ARGUMENT);
  heddle_model_info info = {};
  info.struct_size = sizeof(info);
  {
    heddle_model_options inspect = vouched();
    inspect.trust = HEDDLE_TRUST_INSPECT_ONLY;
    OpenModel model(bytes, inspect);
    REQUIRE(heddle_model_get_info(model.model, &info, nullptr) == HEDDLE_OK);
    CHECK(info.code_member == nullptr);
    CHECK(info.entry_count == 4);
    CHECK(info.vocabulary == 100);
    heddle_session *session = nullptr;
    CHECK(heddle_session_create(model.model, nullptr, &session, &error) == HEDDLE_NOT_TRUSTED);
  }
  uint8_t digest[32];
  std::memcpy(digest, info.digest, 32);
  options.trust_digest = digest;
  CHECK(open(bytes, error, options) == HEDDLE_OK);
  digest[31] ^= 1;
  CHECK(open(bytes, error, options) == HEDDLE_NOT_TRUSTED);

  struct Seen {
    bool answer, manifest;
  } seen = {false, false};
  options.trust = HEDDLE_TRUST_CALLBACK;
  CHECK(open(bytes, error, options) == HEDDLE_INVALID_ARGUMENT);
  options.trust_context = &seen;
  options.trust_callback = [](void *context, const uint8_t *, const char *manifest, size_t size) {
    static_cast<Seen *>(context)->manifest = size && manifest[0] == '{';
    return static_cast<int>(static_cast<Seen *>(context)->answer);
  };
  CHECK(open(bytes, error, options) == HEDDLE_NOT_TRUSTED);
  CHECK(seen.manifest);
  seen.answer = true;
  CHECK(open(bytes, error, options) == HEDDLE_OK);

  // Damaged code and weights do not hinder inspection, and are found when it counts.
  for (const char *name : {"code/test.elf", "weights.bin"}) {
    ToyModel toy;
    ArtifactBuilder artifact = toy.artifact();
    artifact.manifest = artifact.makeManifest();
    for (ArtifactBuilder::Member &member : artifact.members)
      if (member.name == name)
        member.bytes[100] ^= 1;
    heddle_model_options inspect = vouched();
    inspect.trust = HEDDLE_TRUST_INSPECT_ONLY;
    CHECK(open(artifact.build(), error, inspect) == HEDDLE_OK);
    refuse(name, artifact.build(), "SHA-256");
  }
}

TEST_CASE("the log tells which code was chosen") {
  std::string lines;
  heddle_model_options options = vouched();
  options.log_context = &lines;
  options.log = [](void *context, heddle_log_level level, const char *message) {
    *static_cast<std::string *>(context) += std::to_string(level) + message + "\n";
  };
  Error error;
  REQUIRE(open(valid(), error, options) == HEDDLE_OK);
  CHECK(lines == "2code/test.elf\n");
}

TEST_CASE("options are checked") {
  Bytes bytes = valid();
  Error error;
  auto refuseOptions = [&](auto change, heddle_status expected) {
    heddle_model_options options = vouched();
    change(options);
    CHECK(open(bytes, error, options) == expected);
  };
  refuseOptions([](auto &o) { o.struct_size = 3; }, HEDDLE_INVALID_ARGUMENT);
  refuseOptions([](auto &o) { o.flags = 1u << 20; }, HEDDLE_INVALID_ARGUMENT);
  refuseOptions([](auto &o) { o.cpu_features = 1u << 20; }, HEDDLE_INVALID_ARGUMENT);
  refuseOptions([](auto &o) { o.weights = static_cast<heddle_weights>(3); }, HEDDLE_INVALID_ARGUMENT);
  refuseOptions([](auto &o) { o.cpu_features = HEDDLE_CPU_AVX_VNNI; }, HEDDLE_UNSUPPORTED);
  CHECK_THAT(error.message, Catch::Contains("missing x86-64-v3"));
  refuseOptions([](auto &o) { o.max_memory = 1000; }, HEDDLE_RESOURCE_LIMIT);
  heddle_allocator half = {sizeof(half), nullptr, nullptr, [](void *, void *, size_t) {}};
  refuseOptions([&](auto &o) { o.allocator = &half; }, HEDDLE_INVALID_ARGUMENT);
}

TEST_CASE("wrong containers are refused") {
  Bytes good = valid();
  auto changed = [&](size_t at, uint64_t value, int size = 1) {
    Bytes bytes = good;
    put(bytes, at, value, size);
    return bytes;
  };
  size_t end = good.size() - 22, directory = directoryStart(good);
  refuse("one byte", {0}, "no zip directory at the end");
  refuse("only an end", Bytes(good.end() - 22, good.end()), "no zip directory at the end");
  refuse("random bytes", Bytes(5000, 0x5a), "zip directory");
  refuse("wrong end signature", changed(end, 0), "zip directory");
  refuse("disk number", changed(end + 4, 1, 2), "canonical");
  refuse("other member counts", changed(end + 8, 3, 2), "canonical");
  refuse("no members", changed(end + 10, 0, 2), "canonical");
  refuse("too many members", changed(end + 10, 33, 2), "canonical");
  refuse(
      "fewer members than records",
      [&] {
        Bytes bytes = changed(end + 10, 3, 2);
        put(bytes, end + 8, 3, 2);
        return bytes;
      }(),
      "canonical");
  refuse("directory too large", changed(end + 12, 0xfffffffe, 4), "canonical");
  refuse("directory past the end", changed(end + 16, 0xfffffffe, 4), "canonical");
  refuse("zip64 end that is not there", changed(end + 16, 0xffffffff, 4), "canonical");
  refuse(
      "archive comment",
      [&] {
        Bytes bytes = changed(end + 20, 4, 2);
        bytes.insert(bytes.end(), {'t', 'e', 'x', 't'});
        return bytes;
      }(),
      "zip directory");
  refuse(
      "bytes behind",
      [&] {
        Bytes b = good;
        b.push_back(0);
        return b;
      }(),
      "zip directory");
  refuse(
      "bytes before",
      [&] {
        Bytes b = good;
        b.insert(b.begin(), 0);
        return b;
      }(),
      "canonical");
  refuse("record signature", changed(directory, 0), "canonical");
  refuse("made by", changed(directory + 4, 20, 2), "canonical");
  refuse("version needed", changed(directory + 6, 45, 2), "canonical");
  refuse("data descriptor flag", changed(directory + 8, 8, 2), "canonical");
  refuse("compression method", changed(directory + 10, 8, 2), "canonical");
  refuse("a time", changed(directory + 12, 1, 2), "canonical");
  refuse("a date", changed(directory + 14, 1, 2), "canonical");
  refuse("record checksum differs from header", changed(directory + 16, 1, 4), "canonical");
  refuse("compressed size", changed(directory + 20, 256, 4), "canonical");
  refuse("size", changed(directory + 24, 512, 4), "canonical");
  refuse("size of zero", changed(directory + 24, 0, 4), "invalid name or size");
  refuse("odd size", changed(directory + 24, 257, 4), "invalid name or size");
  refuse("zip64 marker without field", changed(directory + 24, 0xffffffff, 4), "invalid name or size");
  refuse("name longer than allowed", changed(directory + 28, 64, 2), "name is too long");
  refuse("name of length zero", changed(directory + 28, 0, 2), "invalid name or size");
  refuse("extra length", changed(directory + 30, 3, 2), "canonical");
  refuse("member comment", changed(directory + 32, 1, 2), "canonical");
  refuse("internal attributes", changed(directory + 36, 1, 2), "canonical");
  refuse("external attributes", changed(directory + 38, 1, 4), "canonical");
  refuse("header offset", changed(directory + 42, 65536, 4), "canonical");
  refuse("name going up", changed(directory + 46, '.', 1), "invalid name or size");
  refuse("absolute name", changed(directory + 46, '/', 1), "invalid name or size");
  refuse("name with an escape", changed(directory + 46, 0x1b, 1), "invalid name or size");
  refuse("upper case name", changed(directory + 46, 'P', 1), "invalid name or size");
  refuse("padding field's id", changed(directory + 46 + 11, 1, 2), "canonical");
  refuse("padding field's length", changed(directory + 46 + 11 + 2, 7, 2), "canonical");
  refuse("padding that is not zero", changed(directory + 46 + 11 + 4 + 1000, 1, 1), "canonical");
  refuse("local signature", changed(0, 0, 1), "canonical");
  refuse("local name differs", changed(30, 'q', 1), "canonical");
  refuse("local size differs", changed(18, 1, 4), "canonical");
  refuse("local padding is not zero", changed(1000, 1, 1), "canonical");

  auto artifact = [](auto change) {
    ArtifactBuilder builder = ToyModel().artifact();
    change(builder);
    return builder.build();
  };
  refuse("two members of one name", artifact([](auto &a) { a.members.push_back(a.members[1]); }),
         "two members");
  refuse("manifest not last", artifact([](auto &a) { a.add("manifest.json", Bytes(256, ' ')); }),
         "two members");
  refuse(
      "no manifest",
      [&] {
        Bytes bytes = good; // rename it in both headers
        auto rename = [&](size_t from) {
          std::string name = "manifest.json";
          auto at = std::search(bytes.begin() + from, bytes.end(), name.begin(), name.end());
          REQUIRE(at != bytes.end());
          *at = 'x';
          return at - bytes.begin();
        };
        rename(rename(0));
        return bytes;
      }(),
      "expected 'manifest.json' as the last member");
  refuse("no program", artifact([](auto &a) { a.members.erase(a.members.begin()); }), "program.bin");
  refuse("no code", artifact([](auto &a) { a.members.erase(a.members.begin() + 1); }), "missing");
  refuse("no weights", artifact([](auto &a) { a.members.erase(a.members.begin() + 2); }), "weights.bin");
  refuse("weights too short", artifact([](auto &a) { a.members[2].bytes.resize(256); }), "weights.bin");
}

/// A container whose "weights.bin" is a hole of `holeSize` bytes, and the manifest behind it.
static std::string writeSparse(uint64_t holeSize) {
  ToyModel toy;
  toy.program.header.weights_size = holeSize;
  ArtifactBuilder artifact = toy.artifact();
  artifact.members.pop_back();
  std::string manifest = artifact.makeManifest();
  std::string entry = ",{\"name\":\"weights.bin\",\"size_bytes\":" + std::to_string(holeSize) +
                      ",\"sha256\":\"" + std::string(64, '0') + "\"}";
  manifest.insert(manifest.size() - 2, entry);
  manifest.resize((manifest.size() + 255) / 256 * 256, ' ');
  artifact.members.push_back({"weights.bin", {}});
  artifact.members.push_back({"manifest.json", Bytes(manifest.begin(), manifest.end())});

  std::string path = "runtime-sparse-test-" + std::to_string(getpid()) + ".heddle";
  std::ofstream file(path, std::ios::binary);
  Bytes directory;
  uint64_t start = 0;
  for (const ArtifactBuilder::Member &member : artifact.members) {
    uint8_t header[HEDDLE_ZIP_HEADER_BYTES];
    uint64_t size = member.bytes.empty() ? holeSize : member.bytes.size();
    uint32_t padding = heddle_zip_padding(member.name.size(), size, start), zeros = padding ? padding - 4 : 0;
    size_t length = heddle_zip_header(header, 0, member.name.c_str(), size, 0, start);
    file.seekp(start);
    file.write(reinterpret_cast<char *>(header), length);
    file.seekp(start + length + zeros);
    file.write(reinterpret_cast<const char *>(member.bytes.data()), member.bytes.size());
    size_t central = heddle_zip_header(header, 1, member.name.c_str(), size, 0, start);
    directory.insert(directory.end(), header, header + central);
    directory.resize(directory.size() + zeros);
    start += length + zeros + size;
  }
  uint8_t end[HEDDLE_ZIP_HEADER_BYTES];
  size_t length = heddle_zip_end(end, artifact.members.size(), directory.size(), start);
  file.seekp(start);
  file.write(reinterpret_cast<char *>(directory.data()), directory.size());
  file.write(reinterpret_cast<char *>(end), length);
  return path;
}

TEST_CASE("members and offsets beyond 4 GiB use zip64, and only they") {
  for (uint64_t size : {0xffffff00ull, 0x100000000ull, 0x140000000ull}) {
    std::string path = writeSparse(size);
    heddle_source source = {};
    source.struct_size = sizeof(source);
    source.kind = HEDDLE_SOURCE_PATH;
    source.path = path.c_str();
    heddle_model_options options = vouched();
    options.trust = HEDDLE_TRUST_INSPECT_ONLY;
    heddle_model *model = nullptr;
    Error error;
    heddle_status status = heddle_model_open(&source, &options, &model, &error);
    INFO(size << ": " << error.message);
    CHECK(status == HEDDLE_OK);
    heddle_member_info info = {};
    info.struct_size = sizeof(info);
    unlink(path.c_str());
    if (model) {
      REQUIRE(heddle_model_find_member(model, "weights.bin", &info, nullptr) == HEDDLE_OK);
      CHECK(info.size == size);
    }
    CHECK(heddle_model_close(model, nullptr) == HEDDLE_OK);
  }
}

TEST_CASE("wrong manifests are refused") {
  ArtifactBuilder artifact = ToyModel().artifact();
  std::string good = artifact.makeManifest();
  auto with = [&](const std::string &manifest) {
    artifact.manifest = manifest;
    return artifact.build();
  };
  auto replaced = [&](const std::string &from, const std::string &to) {
    std::string text = good;
    size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return with(text.replace(at, from.size(), to));
  };
  Error error;
  CHECK(open(with(good), error) == HEDDLE_OK);
  CHECK(open(replaced("{", "{\"x\": [1, -2.5e+7, true, false, null, \"\\u00e9\\n\xc3\xa9\", {}, []], "),
             error) == HEDDLE_OK);
  refuse("not an object", with("[]"), "expected '{'");
  refuse("empty", with(" "), "expected '{'");
  refuse("text behind", with(good + "x"), "unexpected text");
  refuse("does not end", with(good.substr(0, good.size() - 1)), "expected ','");
  refuse("no format", replaced("\"format\":1,", ""), "format or a member of the container is missing");
  refuse("format 0", replaced("\"format\":1", "\"format\":0"),
         "format or a member of the container is missing");
  refuse("newer format", replaced("\"format\":1", "\"format\":2"), "newer", HEDDLE_UNSUPPORTED);
  refuse("format is no number", replaced("\"format\":1", "\"format\":\"1\""), "whole number");
  refuse("format is a fraction", replaced("\"format\":1", "\"format\":1.0"), "whole number");
  refuse("format overflows", replaced("\"format\":1", "\"format\":18446744073709551617"), "too large");
  refuse("leading zero", replaced("\"format\":1", "\"format\":01"), "whole number");
  refuse("no members", with("{\"format\":1}"), "format or a member of the container is missing");
  refuse("fewer members", with("{\"format\":1,\"members\":[]}"),
         "format or a member of the container is missing");
  refuse("one member too many", replaced("]}", ",{\"name\":\"manifest.json\"}]}"),
         "not the one that the container holds");
  refuse("other name", replaced("\"program.bin\"", "\"program.bim\""),
         "not the one that the container holds");
  refuse("other size", replaced("\"size_bytes\":", "\"size_bytes\":1"),
         "not the one that the container holds");
  refuse("other hash", replaced("\"sha256\":\"", "\"sha256\":\"0"), "not the one that the container holds");
  refuse("hash in capitals", replaced("\"sha256\":\"", "\"sha256\":\"A"),
         "not the one that the container holds");
  refuse(
      "hash of other bytes",
      [&] {
        std::string text = good;
        size_t at = text.find("sha256") + 9;
        text[at] = text[at] == '0' ? '1' : '0';
        return with(text);
      }(),
      "SHA-256");
  refuse("a field is missing", replaced("\"sha256\"", "\"sha255\""), "not the one that the container holds");
  refuse("duplicate key", replaced("{", "{\"format\":1,"), "duplicate key");
  refuse("duplicate key inside", replaced("{\"name\"", "{\"a\":1,\"a\":2,\"name\""), "duplicate key");
  refuse("duplicate members", replaced("{", "{\"members\":[],"), "");
  refuse("escaped key", replaced("\"format\"", "\"\\u0066ormat\""), "escape");
  refuse("too deep", replaced("{", "{\"x\":" + std::string(16, '[') + std::string(16, ']') + ","),
         "deeper than 16");
  refuse("control character", replaced("{", "{\"x\":\"\x1b\","), "control character");
  refuse("wrong escape", replaced("{", "{\"x\":\"\\x\","), "escape");
  refuse("half an escape", replaced("{", "{\"x\":\"\\u12\","), "hexadecimal");
  refuse("not UTF-8", replaced("{", "{\"x\":\"\xff\","), "UTF-8");
  refuse("overlong UTF-8", replaced("{", "{\"x\":\"\xc0\x80\","), "UTF-8");
  refuse("surrogate", replaced("{", "{\"x\":\"\xed\xa0\x80\","), "UTF-8");
  refuse("trailing comma", replaced("]}", "],}"), "expected a string");
  refuse("single quotes", replaced("{", "{'x':1,"), "expected a string");
  refuse("not a number", replaced("{", "{\"x\":NaN,"), "expected a digit");
  refuse("number without digits", replaced("{", "{\"x\":-,"), "expected a digit");
  refuse("number ends early", replaced("{", "{\"x\":1.,"), "expected a digit");
  refuse("unfinished word", replaced("{", "{\"x\":tru,"), "expected a value");
  std::string many;
  for (int i = 0; i < 1100; ++i)
    many += "\"k" + std::to_string(i) + "\":0,";
  refuse("too many keys", replaced("{", "{" + many), "1024 keys");
  for (size_t cut = 0; cut < good.size(); ++cut) {
    Error cutError;
    CHECK(open(with(good.substr(0, cut) + " "), cutError) == HEDDLE_INVALID_FILE);
  }
}

TEST_CASE("wrong programs are refused") {
  auto with = [](auto change) {
    ToyModel toy;
    change(toy.program);
    return toy.artifact().build();
  };
  refuse("magic", with([](auto &p) { p.header.magic[0] = 'X'; }), "start with");
  refuse("newer version", with([](auto &p) { p.header.version = 4; }), "version 4", HEDDLE_UNSUPPORTED);
  refuse("other code ABI", with([](auto &p) { p.header.code_abi = 2; }), "code ABI 2", HEDDLE_UNSUPPORTED);
  refuse("no rows", with([](auto &p) { p.header.max_rows = 0; }), "bound in the header");
  refuse("absurd rows", with([](auto &p) { p.header.max_rows = 1u << 31; }), "bound in the header");
  refuse("more wanted than rows", with([](auto &p) { p.header.max_wanted = 301; }), "bound in the header");
  refuse("odd context", with([](auto &p) { p.header.max_context = 100; }), "bound in the header");
  refuse("absurd context", with([](auto &p) { p.header.max_context = 1u << 31; }), "bound in the header");
  refuse("no slots", with([](auto &p) { p.header.max_slots = 0; }), "bound in the header");
  refuse("absurd slots", with([](auto &p) { p.header.max_slots = ~0u; }), "bound in the header");
  refuse("cache without context", with([](auto &p) { p.header.max_context = 0; }),
         "text entry's inputs and output");
  refuse("context without cache", with([](auto &p) { p.caches.clear(); }), "text entry's inputs and output");
  refuse("no vocabulary", with([](auto &p) { p.header.vocabulary = 0; }), "text entry's inputs and output");
  refuse("huge weights", with([](auto &p) { p.header.weights_size = ~0ull; }), "bound in the header");
  refuse("weights without a name", with([](auto &p) { p.weights[0] = ~0u; }), "member is out of range");
  refuse("weights of nowhere", with([](auto &p) { p.weights.clear(); }), "'weights.bin'");
  refuse("the same weights twice", with([](auto &p) { p.weights.push_back(p.weights[0]); }), "'weights.bin'");
  refuse("weights in too many members", with([](auto &p) { p.weights.resize(33); }), "table");
  refuse("no entries", with([](auto &p) { p.entries.clear(); }), "no entry, or the strings do not end");
  refuse("strings do not end", with([](auto &p) { p.strings.back() = 'x'; }),
         "no entry, or the strings do not end");
  refuse("escape in a string", with([](auto &p) { p.strings[3] = 0x1b; }), "control character (27)");
  refuse("entry name", with([](auto &p) { p.entries[0].name = ~0u; }), "entry is out of range");
  refuse("entry kind", with([](auto &p) { p.entries[0].kind = 4; }), "entry is out of range");
  refuse("entry ios", with([](auto &p) { p.entries[0].io_count = ~0u; }), "entry is out of range");
  refuse("entry variants", with([](auto &p) { p.entries[0].first_variant = ~0u; }), "entry is out of range");
  refuse("two entries of a name", with([](auto &p) { p.entries[1].name = p.entries[0].name; }),
         "two entries");
  refuse("io name", with([](auto &p) { p.ios[0].name = ~0u; }), "out of range");
  refuse("io type", with([](auto &p) { p.ios[0].dtype = 99; }), "out of range");
  refuse("io rank", with([](auto &p) { p.ios[0].rank = 5; }), "out of range");
  refuse("io dimension", with([](auto &p) { p.ios[0].dim[0] = -2; }), "input or output is out of range (0)");
  refuse("io dimension id", with([](auto &p) { p.ios[0].dim_id[0] = 7; }),
         "input or output is out of range (0)");
  refuse("io overflows", with([](auto &p) { p.ios[4].dim[1] = INT64_MAX; }),
         "input or output is out of range (4)");
  refuse("io empty", with([](auto &p) { p.ios[4].dim[1] = 0; }), "input or output is out of range (4)");
  refuse("input after output",
         with([](auto &p) { p.ios[2].is_output = 1, p.ios[2].dim[0] = 1, p.ios[2].dim_id[0] = -1; }),
         "inputs before outputs");
  refuse("step input type", with([](auto &p) { p.ios[1].dtype = HEDDLE_DTYPE_F32; }),
         "text entry's inputs and output");
  refuse("logits type", with([](auto &p) { p.ios[4].dtype = HEDDLE_DTYPE_I32; }),
         "text entry's inputs and output");
  refuse("logits width", with([](auto &p) { p.ios[4].dim[1] = 99; }), "text entry's inputs and output");
  refuse("rows not covered at the start", with([](auto &p) { p.variants[0].min_rows = 2; }),
         "variant does not follow the one before (0)");
  refuse("rows with a gap", with([](auto &p) { p.variants[1].min_rows = 6; }),
         "variant does not follow the one before (1)");
  auto alternative = [&](uint32_t number, auto change) {
    return with([=](auto &p) {
      p.variants[1].alternative = number;
      p.variants[1].alternative_features = HEDDLE_CPU_AMX_BF16;
      change(p);
    });
  };
  refuse("alternative past the variants", alternative(1000, [](auto &) {}),
         "expected an alternative that fits");
  refuse("alternative with a larger arena", alternative(0, [](auto &p) { p.variants[0].arena_bytes += 64; }),
         "expected an alternative that fits");
  refuse("alternative with other work", alternative(0, [](auto &p) { p.variants[1].work_rows = 7; }),
         "expected an alternative that fits");
  refuse("rows not covered at the end", with([](auto &p) { p.variants[1].max_rows = 299; }),
         "do not cover all rows (299)");
  refuse("more rows than the bound", with([](auto &p) { p.variants[1].max_rows = 301; }),
         "variant is out of range (1)");
  refuse("arena not aligned", with([](auto &p) { p.variants[0].arena_bytes += 4; }),
         "variant is out of range (0)");
  refuse("absurd arena", with([](auto &p) { p.variants[0].arena_bytes = 1ull << 63; }),
         "variant is out of range (0)");
  refuse("launches past the table", with([](auto &p) { p.variants[0].launch_count = ~0u; }),
         "variant is out of range (0)");
  refuse("work in a tensor entry", with([](auto &p) { p.variants[3].work_rows = 4; }),
         "variant is out of range (3)");
  refuse("function of a launch", with([](auto &p) { p.launches[0].function = ~0u; }), "launch");
  refuse("operands of a launch", with([](auto &p) { p.launches[0].operand_count = 257; }), "launch");
  refuse("operands past the table", with([](auto &p) { p.launches[0].first_operand = ~0u; }), "launch");
  refuse("unknown flag", with([](auto &p) { p.launches[0].flags = 2; }), "launch");
  refuse("items dimension", with([](auto &p) { p.launches[0].items_dim = 3; }), "launch");
  refuse("items divisor", with([](auto &p) { p.launches[0].items_div = 0; }), "launch");
  refuse("grain of zero", with([](auto &p) { p.launches[0].grain = 0; }), "launch");
  refuse("work items without work", with([](auto &p) { p.variants[0].work_rows = 0; }),
         "launch is out of range (1)");
  refuse("arena operand", with([](auto &p) { p.operands[8].bytes += 1; }),
         "operand 3 of the launch for 'attend'");
  refuse("arena operand overflows", with([](auto &p) { p.operands[8].offset = ~0ull; }),
         "outside of its memory");
  refuse("io operand", with([](auto &p) { p.operands[0].bytes += 1; }),
         "operand 0 of the launch for 'append'");
  refuse("io operand index", with([](auto &p) { p.operands[0].index = 5; }), "outside of its memory");
  refuse("weight operand", with([](auto &p) { p.operands[11].offset = 8; }),
         "operand 2 of the launch for 'head'");
  refuse("page table operand", with([](auto &p) { p.operands[3].bytes += 1; }), "operand 3");
  refuse("cache operand", with([](auto &p) { p.operands[4].bytes += 1; }), "operand 4");
  refuse("cache index", with([](auto &p) { p.operands[4].index = 1; }), "operand 4");
  refuse("work operand", with([](auto &p) { p.operands[5].bytes += 1; }),
         "operand 0 of the launch for 'attend'");
  refuse("operand kind", with([](auto &p) { p.operands[0].kind = 7; }), "operand 0");
  refuse("cache in a tensor entry", with([](auto &p) {
           heddle_operand cache = {HEDDLE_OPERAND_CACHE, 0, 0, 16};
           p.operands[p.launches[7].first_operand] = cache;
         }),
         "operand 0 of the launch for 'scale'");
  refuse("function name", with([](auto &p) { p.functions[0].name = ~0u; }),
         "function, code or member is out of range");
  refuse("absurd scratch", with([](auto &p) { p.functions[0].scratch_bytes = ~0ull; }),
         "function, code or member is out of range");
  refuse("code member name", with([](auto &p) { p.codes[0].member = ~0u; }),
         "function, code or member is out of range");
  refuse("missing code member", with([](auto &p) { p.codes[0].member = p.entries[0].name; }), "'step'");
  refuse("too few offsets", with([](auto &p) { p.offsets.pop_back(); }),
         "function, code or member is out of range");
  refuse("no code", with([](auto &p) { p.codes.clear(), p.offsets.clear(); }), "missing code for a CPU",
         HEDDLE_UNSUPPORTED);
  refuse("missing features", with([](auto &p) { p.codes[0].features = 1u << 30; }),
         "missing unknown features", HEDDLE_UNSUPPORTED);
  refuse("function outside of the code", with([](auto &p) { p.offsets[0] = 8; }),
         "function 'append' lies outside");
  refuse("function past the code", with([](auto &p) { p.offsets[0] = ~0ull - 1; }),
         "function 'append' lies outside");
  refuse("cache type", with([](auto &p) { p.caches[0].dtype = HEDDLE_DTYPE_F32; }),
         "cache is out of range (0)");
  refuse("cache page size", with([](auto &p) { p.caches[0].page_bytes -= 2; }), "cache is out of range (0)");
  refuse("cache heads", with([](auto &p) { p.caches[0].heads = 0; }), "cache is out of range (0)");
  refuse("cache dimensions overflow", with([](auto &p) { p.caches[0].key_dim = ~0u; }),
         "cache is out of range (0)");

  Bytes program = ToyModel().program.build();
  auto withBytes = [&](auto change) {
    Bytes bytes = program;
    change(bytes);
    ArtifactBuilder artifact = ToyModel().artifact();
    artifact.members.erase(artifact.members.begin());
    artifact.add("program.bin", bytes);
    return artifact.build();
  };
  refuse("file size", withBytes([](auto &b) { put(b, 16, b.size() + 256, 8); }),
         "size in its header is not its size");
  refuse("bytes behind", withBytes([](auto &b) { b.push_back(1); }), "zeros behind its end");
  for (size_t span = 24; span < 24 + 16 * 10; span += 16) {
    refuse("table offset", withBytes([&](auto &b) { put(b, span, ~0ull - 7, 8); }), "");
    refuse("table offset not aligned", withBytes([&](auto &b) { put(b, span, 4, 8); }), "table");
    refuse("table count", withBytes([&](auto &b) { put(b, span + 8, ~0ull, 8); }), "table");
  }
}

TEST_CASE("wrong code images are refused") {
  auto with = [](auto change) {
    ArtifactBuilder artifact = ToyModel().artifact();
    change(artifact.members[1].bytes);
    return artifact.build();
  };
  auto header = [](Bytes &b) { return reinterpret_cast<Elf64_Ehdr *>(b.data()); };
  auto segment = [&](Bytes &b, uint32_t type, uint32_t flags) {
    auto *segments = reinterpret_cast<Elf64_Phdr *>(b.data() + header(b)->e_phoff);
    for (int i = 0; i < header(b)->e_phnum; ++i)
      if (segments[i].p_type == type && (segments[i].p_flags & flags) == flags)
        return &segments[i];
    throw std::runtime_error("no such segment");
  };
  auto dynamic = [&](Bytes &b) {
    return reinterpret_cast<Elf64_Dyn *>(b.data() + segment(b, PT_DYNAMIC, 0)->p_offset);
  };
  refuse("not ELF", with([&](auto &b) { b[0] = 0; }), "ELF image");
  refuse("32 bits", with([&](auto &b) { b[EI_CLASS] = ELFCLASS32; }), "ELF image");
  refuse("big endian", with([&](auto &b) { b[EI_DATA] = ELFDATA2MSB; }), "ELF image");
  refuse("fixed addresses", with([&](auto &b) { header(b)->e_type = ET_EXEC; }), "ELF image");
  refuse("another machine", with([&](auto &b) { header(b)->e_machine = EM_AARCH64; }), "ELF image");
  refuse("program headers past the end", with([&](auto &b) { header(b)->e_phoff = ~0ull; }), "ELF image");
  refuse("program header size", with([&](auto &b) { header(b)->e_phentsize = 1; }), "ELF image");
  refuse("no program headers", with([&](auto &b) { header(b)->e_phnum = 0; }), "ELF image");
  refuse("too many program headers", with([&](auto &b) { header(b)->e_phnum = 60000; }), "ELF image");
  refuse("writable code", with([&](auto &b) { segment(b, PT_LOAD, PF_X)->p_flags |= PF_W; }), "read-only");
  refuse("writable data", with([&](auto &b) { segment(b, PT_LOAD, PF_R)->p_flags |= PF_W; }), "read-only");
  refuse("zeroed memory", with([&](auto &b) { segment(b, PT_LOAD, PF_X)->p_memsz += 4096; }),
         "as in the file");
  refuse("segment moved", with([&](auto &b) { segment(b, PT_LOAD, PF_X)->p_vaddr += 4096; }),
         "as in the file");
  refuse("segment past the end", with([&](auto &b) {
           segment(b, PT_LOAD, PF_X)->p_filesz = segment(b, PT_LOAD, PF_X)->p_memsz = 1u << 30;
         }),
         "as in the file");
  refuse("segments overlap",
         with([&](auto &b) { segment(b, PT_LOAD, PF_X)->p_offset = segment(b, PT_LOAD, PF_X)->p_vaddr = 0; }),
         "pages of their own");
  refuse("segment not aligned", with([&](auto &b) {
           segment(b, PT_LOAD, PF_X)->p_offset += 64;
           segment(b, PT_LOAD, PF_X)->p_vaddr += 64;
           segment(b, PT_LOAD, PF_X)->p_filesz = segment(b, PT_LOAD, PF_X)->p_memsz = 64;
         }),
         "pages of their own");
  refuse("nothing executable", with([&](auto &b) { segment(b, PT_LOAD, PF_X)->p_flags = PF_R; }),
         "executable segment");
  refuse("interpreter", with([&](auto &b) { segment(b, PT_DYNAMIC, 0)->p_type = PT_INTERP; }),
         "another kind");
  refuse("thread-local storage", with([&](auto &b) { segment(b, PT_DYNAMIC, 0)->p_type = PT_TLS; }),
         "another kind");
  refuse("unknown segment", with([&](auto &b) { segment(b, PT_DYNAMIC, 0)->p_type = 0x12345; }),
         "another kind");
  refuse("relocations", with([&](auto &b) { dynamic(b)->d_tag = DT_RELA; }), "no relocations");
  refuse("imports", with([&](auto &b) { dynamic(b)->d_tag = DT_NEEDED; }), "no relocations");
  refuse("constructors", with([&](auto &b) { dynamic(b)->d_tag = DT_INIT_ARRAY; }), "no relocations");
  refuse("dynamic table without end", with([&](auto &b) {
           auto *segmentHeader = segment(b, PT_DYNAMIC, 0);
           segmentHeader->p_filesz = segmentHeader->p_memsz = sizeof(Elf64_Dyn);
         }),
         "does not end");
}

TEST_CASE("artifacts cut at any byte are refused") {
  Bytes good = valid();
  Error error;
  heddle_model_options options = vouched();
  heddle_model *model = nullptr;
  size_t wrong = 0;
  for (size_t size = 0; size < good.size(); ++size) {
    heddle_source source = memorySource(good);
    source.memory_size = size;
    wrong += heddle_model_open(&source, &options, &model, &error) != HEDDLE_INVALID_FILE;
  }
  CHECK(wrong == 0);
}

TEST_CASE("programs cut at any byte, and with any bit flipped, are handled") {
  Bytes good = ToyModel().program.build();
  auto parse = [](const Bytes &bytes) {
    // A block of its own, so that a sanitizer sees reads past the end.
    std::unique_ptr<uint64_t[]> copy(new uint64_t[bytes.size() / 8 + 1]);
    uint8_t *at = reinterpret_cast<uint8_t *>(copy.get()) + (bytes.size() % 8 ? 0 : 8);
    std::copy(bytes.begin(), bytes.end(), at);
    heddle_program program = {};
    Error error;
    return heddle::runtime::parseProgram(at, bytes.size(), program, &error);
  };
  REQUIRE(parse(good) == HEDDLE_OK);
  for (size_t size = 0; size < good.size(); ++size) {
    Bytes cut(good.begin(), good.begin() + size);
    CHECK(parse(cut) != HEDDLE_OK);
    if (size >= 24) { // claims to be complete
      put(cut, 16, size, 8);
      parse(cut);
    }
  }
  size_t accepted = 0;
  for (size_t i = 0; i < good.size() * 8; ++i) {
    Bytes flipped = good;
    flipped[i / 8] ^= 1 << i % 8;
    accepted += parse(flipped) == HEDDLE_OK;
  }
  CHECK(accepted < good.size() * 8); // names and numbers within bounds may change
}

TEST_CASE("artifacts with any bit of their headers flipped are refused") {
  Bytes good = valid();
  Error error;
  auto flipAll = [&](size_t from, size_t to) {
    size_t accepted = 0;
    for (size_t i = from; i < to; ++i)
      for (int bit = 0; bit < 8; bit += 3) {
        Bytes flipped = good;
        flipped[i] ^= 1 << bit;
        accepted += open(flipped, error) == HEDDLE_OK;
      }
    return accepted;
  };
  CHECK(flipAll(0, 60) == 0);
  CHECK(flipAll(directoryStart(good), directoryStart(good) + 80) == 0);
  CHECK(flipAll(good.size() - 22, good.size()) == 0);
}
