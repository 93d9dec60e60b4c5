// The compiler's artifact writer against the runtime's reader.
#include "Fixture.h"
#include "codegen/package/ArtifactWriter.h"
#include "codegen/package/ObjectWriter.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include <fstream>
#include <heddle/artifact.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace heddle;
using namespace heddle::test;

namespace {
/// A folder that goes away with everything in it.
struct Folder {
  llvm::SmallString<128> path;
  Folder() { REQUIRE(!llvm::sys::fs::createUniqueDirectory("heddle-writer-test", path)); }
  ~Folder() { llvm::sys::fs::remove_directories(path); }
  std::string file(const std::string &name) const { return std::string(path) + "/" + name; }
  size_t count() const {
    std::error_code error;
    size_t files = 0;
    for (llvm::sys::fs::directory_iterator i(path, error), end; i != end && !error; i.increment(error))
      ++files;
    return files;
  }
};

std::string messageOf(llvm::Error error) { return llvm::toString(std::move(error)); }

Bytes readAll(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

llvm::ArrayRef<char> chars(const Bytes &bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

/// Writes the toy model; weights come in pieces of `piece` bytes.
ArtifactWriter::Digest writeToy(const std::string &path, size_t piece) {
  ToyModel toy;
  auto writer = llvm::cantFail(ArtifactWriter::create(path, {}));
  llvm::cantFail(writer->addMember("program.bin", chars(toy.program.build())));
  llvm::cantFail(writer->addMember("code/test.elf", chars(kernelImage())));
  auto *weights = reinterpret_cast<const uint8_t *>(toy.weights.data());
  size_t size = toy.weights.size() * sizeof(float);
  llvm::cantFail(writer->addMember("weights.bin", size, [&](ByteSink sink) -> llvm::Error {
    for (size_t at = 0; at < size; at += piece)
      if (llvm::Error error = sink({weights + at, std::min(piece, size - at)}))
        return error;
    return llvm::Error::success();
  }));
  return llvm::cantFail(writer->finish(llvm::json::Object{
      {"producer", "test"}, {"entries", llvm::json::Array{"step"}}, {"text", "\xc3\xa9\n\x1b</script>"}}));
}
} // namespace

TEST_CASE("what the writer writes, the runtime runs") {
  Folder folder;
  std::string path = folder.file("toy.heddle");
  ArtifactWriter::Digest digest = writeToy(path, 7);
  CHECK(folder.count() == 1);
  heddle_model_options options = vouched();
  options.trust = HEDDLE_TRUST_DIGEST;
  options.trust_digest = digest.data();
  OpenModel open(readAll(path), options);
  Session session(open.model);
  REQUIRE(session.append(0, someTokens(130)) == HEDDLE_OK);
  CHECK(session.output()[0] == expectedLogit(someTokens(130)));
}

TEST_CASE("the same input gives the same bytes") {
  Folder one, two;
  ArtifactWriter::Digest first = writeToy(one.file("a.heddle"), 7),
                         second = writeToy(two.file("b.heddle"), 400);
  CHECK(first == second);
  CHECK(readAll(one.file("a.heddle")) == readAll(two.file("b.heddle")));
  // The test's own writer makes the same container.
  ArtifactBuilder builder = ToyModel().artifact();
  Bytes bytes = readAll(one.file("a.heddle"));
  Bytes other = builder.build();
  std::string name = "manifest.json";
  size_t manifest = std::search(other.begin(), other.end(), name.begin(), name.end()) - other.begin() - 30;
  CHECK(manifest > 3 * HEDDLE_ZIP_ALIGNMENT);
  CHECK(std::equal(bytes.begin(), bytes.begin() + manifest, other.begin()));
}

TEST_CASE("members that break a rule are refused, and nothing is left behind") {
  Folder folder;
  {
    auto writer = llvm::cantFail(ArtifactWriter::create(folder.file("x.heddle"), {}));
    CHECK_THAT(messageOf(writer->addMember("../x", chars(Bytes(10)))),
               Catch::Contains("not a valid member name"));
    CHECK_THAT(messageOf(writer->addMember("", chars(Bytes(10)))),
               Catch::Contains("not a valid member name"));
    llvm::cantFail(writer->addMember("a", chars(Bytes(10))));
    CHECK_THAT(messageOf(writer->addMember("a", chars(Bytes(10)))), Catch::Contains("two members"));
    CHECK_THAT(messageOf(writer->addMember("b", chars({}))), Catch::Contains("cannot have 0 bytes"));
    auto produce = [](size_t bytes) {
      return [bytes](ByteSink sink) { return sink(std::vector<uint8_t>(bytes)); };
    };
    CHECK_THAT(messageOf(writer->addMember("c", 100, produce(99))), Catch::Contains("expected 100 bytes"));
    CHECK(folder.count() == 1); // the temporary file
  }
  CHECK(folder.count() == 0);
  auto writer = llvm::cantFail(ArtifactWriter::create(folder.file("x.heddle"), {}));
  llvm::json::Value deep(llvm::json::Array{});
  for (int i = 0; i < 16; ++i)
    deep = llvm::json::Array{std::move(deep)};
  CHECK_THAT(messageOf(writer->finish(llvm::json::Object{{"x", std::move(deep)}}).takeError()),
             Catch::Contains("deeper than 16"));
}

TEST_CASE("inputs and things that are no files are not overwritten") {
  Folder folder;
  std::string input = folder.file("input"), link = folder.file("link");
  std::ofstream(input) << "keep me";
  REQUIRE(!llvm::sys::fs::create_link(input, link));
  CHECK_THAT(messageOf(ArtifactWriter::create(link, {input}).takeError()), Catch::Contains("is an input"));
  CHECK_THAT(messageOf(ArtifactWriter::create(folder.path, {}).takeError()),
             Catch::Contains("not a regular file"));
  std::string fifo = folder.file("fifo");
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  CHECK_THAT(messageOf(ArtifactWriter::create(fifo, {}).takeError()), Catch::Contains("not a regular file"));
  llvm::Error missing = ArtifactWriter::create(folder.file("no/such/folder"), {}).takeError();
  CHECK(llvm::errorToErrorCode(std::move(missing)) == std::errc::no_such_file_or_directory);
  CHECK(readAll(input).size() == 7);
}

TEST_CASE("a full disk is an error with the system's code, and leaves no file") {
  Folder folder;
  signal(SIGXFSZ, SIG_IGN);
  rlimit before, limit;
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  limit = before;
  limit.rlim_cur = 200000;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  {
    auto writer = llvm::cantFail(ArtifactWriter::create(folder.file("x.heddle"), {}));
    llvm::Error error = writer->addMember("a", chars(Bytes(300000)));
    CHECK(llvm::errorToErrorCode(std::move(error)) == std::errc::file_too_large);
  }
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK(folder.count() == 0);
}

TEST_CASE("an artifact becomes an object file and a header that a C program links") {
  Folder folder;
  std::string artifact = folder.file("toy.heddle"), object = folder.file("toy.o"),
              header = folder.file("toy.h"), program = folder.file("program");
  writeToy(artifact, 100);
  REQUIRE(messageOf(writeObject(artifact, object, header, "toy")) == "");
  std::string library = folder.file("libtoy.a");
  REQUIRE(messageOf(writeLibrary(artifact, library, header, "toy")) == "");
  std::ofstream(folder.file("main.c")) << R"(
#include "toy.h"
#include <stdio.h>
#include <string.h>
int main(void) {
  // Without executable memory made at run time: code runs where it was linked.
  heddle_error error = {.struct_size = sizeof error};
  heddle_model_options options = {.struct_size = sizeof options, .weights = HEDDLE_WEIGHTS_MAP};
  heddle_model *model;
  heddle_session *session;
  int32_t token = 3, zero = 0;
  heddle_step step = {sizeof step, &token, &zero, &zero, 1, 1, &zero};
  heddle_view view = {.struct_size = sizeof view};
  if (heddle_toy_open(&options, &model, &error) || heddle_session_create(model, NULL, &session, &error) ||
      heddle_session_step(session, NULL, &step, &error) || heddle_session_output(session, NULL, 0, &view, &error))
    return puts(error.message), 1;
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps))
    if (strstr(line, "memfd"))
      return puts("a memory file is mapped"), 1;
  printf("%g\n", *(float *)view.data);
  heddle_session_destroy(session);
  return heddle_model_close(model, &error);
}
)";
  for (const std::string &linked : {object, library}) {
    std::string command = "cc -std=c11 -Wall -Werror -I'" HEDDLE_RUNTIME_INCLUDE "' -I" +
                          std::string(folder.path) + " " + folder.file("main.c") + " " + linked +
                          " '" HEDDLE_RUNTIME_LIBRARY "' -pthread -o " + program + " && " + program + " > " +
                          folder.file("output");
    REQUIRE(system(command.c_str()) == 0);
    Bytes output = readAll(folder.file("output"));
    CHECK(std::string(output.begin(), output.end()) == "7\n");
  }
  CHECK(folder.count() == 7);
  CHECK_THAT(messageOf(writeObject(artifact, object, header, "a-b")), Catch::Contains("C identifier"));
  CHECK_THAT(messageOf(writeObject(folder.file("none"), object, header, "toy")),
             Catch::Contains("cannot read"));
}
