// What the reader makes of well-formed files.
#include "GgufBuilder.h"
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace heddle;
using namespace heddle::gguf;
using namespace heddle::gguf::test;

namespace {

/// A new folder that is removed at the end.
class TemporaryFolder {
public:
  TemporaryFolder() {
    char pattern[] = "/tmp/heddle-gguf-XXXXXX";
    path = mkdtemp(pattern);
  }
  ~TemporaryFolder() {
    if (std::system(("rm -rf '" + path + "'").c_str()) != 0)
      WARN("cannot remove " << path);
  }
  std::string write(const std::string &name, const std::vector<uint8_t> &bytes) const {
    std::ofstream(path + "/" + name, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
    return path + "/" + name;
  }
  std::string path;
};

GgufBuilder splitPart(uint32_t no, uint32_t count, uint32_t tensors, llvm::StringRef tensor) {
  GgufBuilder b;
  b.header(1, 3).number("split.no", no).number("split.count", count).number("split.tensors.count", tensors);
  b.tensor(tensor, {4}, 0, 0);
  return b.align().zeros(16);
}

std::string failureOf(llvm::Expected<File> result, int exitCode) {
  if (result)
    return "no error";
  Failure failure = takeFailure(result.takeError());
  CHECK(failure.exitCode == exitCode);
  return failure.message;
}

} // namespace

TEST_CASE("a file's metadata and tensors are found") {
  llvm::Expected<File> file = validFile().read();
  REQUIRE(bool(file));
  CHECK(file->version() == 3);
  CHECK(file->metadata().size() == 9);
  CHECK(**file->stringValue("general.architecture") == "llama");
  CHECK(**file->unsignedValue("llama.block_count") == 2);
  CHECK(**file->unsignedValue("big") == uint64_t(1) << 40);
  CHECK(**file->floatValue("double") == 0.25);
  CHECK(**file->boolValue("flag") == true);
  CHECK(!*file->unsignedValue("absent"));

  const Value *tokens = *file->arrayValue("tokens", ValueType::String);
  StringWalk walk(*tokens);
  CHECK(*walk.next() == "a");
  CHECK(*walk.next() == "");
  CHECK(*walk.next() == "\xc4\xa0the");
  CHECK(!walk.next());
  const Value *scores = *file->arrayValue("scores", ValueType::F32);
  CHECK(elementAsDouble(*scores, 1) == -2.0);
  CHECK((*file->arrayValue("empty", ValueType::I32))->count == 0);

  const Tensor *q = file->findTensor("blk.0.attn_q.weight");
  REQUIRE(q);
  CHECK((q->shape == llvm::SmallVector<int64_t, 4>{4, 8}));
  CHECK(q->format == StorageFormat::F32);
  CHECK(q->bytes == 128);
  const Tensor *k = file->findTensor("blk.0.attn_k.weight");
  REQUIRE(k);
  CHECK(k->format == StorageFormat::Q4_0);
  CHECK(k->offset == q->offset + 128);
  CHECK(k->bytes == 36);
  CHECK(!file->findTensor("blk.0.attn_v.weight"));
}

TEST_CASE("version 2 is read like version 3") {
  GgufBuilder b = validFile();
  b.bytes[4] = 2;
  CHECK(bool(b.read()));
}

TEST_CASE("typed access names both types") {
  llvm::Expected<File> file = validFile().read();
  REQUIRE(bool(file));
  auto message = [](auto result) { return takeFailure(result.takeError()).message; };
  CHECK(message(file->unsignedValue("flag")) ==
        "model.gguf: metadata 'flag' is a bool, expected an integer that is not negative");
  CHECK(message(file->unsignedValue("small")) ==
        "model.gguf: metadata 'small' is a i8, expected an integer that is not negative");
  CHECK(message(file->stringValue("llama.block_count")) ==
        "model.gguf: metadata 'llama.block_count' is a u32, expected a string");
  CHECK(message(file->arrayValue("tokens", ValueType::F32)) ==
        "model.gguf: metadata 'tokens' is a array of string, expected an array of f32");
  CHECK(message(file->floatValue("scores")) ==
        "model.gguf: metadata 'scores' is a array of f32, expected a float");
}

TEST_CASE("unsupported tensor types are all listed, with sizes still checked") {
  GgufBuilder b;
  b.header(4, 0)
      .tensor("a", {256}, 16, 0)
      .tensor("b", {256}, 16, 96)
      .tensor("c", {8}, 26, 192)
      .tensor("d", {1}, 77, 224);
  llvm::Expected<File> file = b.align().zeros(256).read();
  REQUIRE(bool(file));
  REQUIRE(file->unsupported().size() == 3);
  CHECK(file->unsupported()[0] ==
        "2 tensors (the first is 'a') are stored as 'iq2_xxs'; requantize the model from its "
        "source, for example with 'llama-quantize IN OUT q4_k_m'");
  CHECK(file->unsupported()[1] == "tensor 'c' is stored as 'i32'; expected a float or block format");
  CHECK(file->unsupported()[2].find("type 77, which is not known") != std::string::npos);
  CHECK(file->tensors().empty());
}

TEST_CASE("the parts of a split model become one file") {
  TemporaryFolder folder;
  std::string first = folder.write("m-00001-of-00003.gguf", splitPart(0, 3, 3, "x").bytes);
  folder.write("m-00002-of-00003.gguf", splitPart(1, 3, 3, "y").bytes);
  CHECK(failureOf(File::open(first), 74) ==
        "cannot open 'm-00003-of-00003.gguf', which the model names: No such file or directory");
  std::string third = folder.write("m-00003-of-00003.gguf", splitPart(2, 3, 3, "z").bytes);
  {
    llvm::Expected<File> file = File::open(first);
    REQUIRE(bool(file));
    CHECK(file->files().size() == 3);
    CHECK(file->findTensor("z")->file == 2);
  }
  CHECK(failureOf(File::open(third), 3) ==
        "m-00003-of-00003.gguf: is part 3 of 3, expected part 1; give the first part "
        "of a split model");
  folder.write("m-00002-of-00003.gguf", splitPart(2, 3, 3, "y").bytes);
  CHECK(failureOf(File::open(first), 3) == "m-00002-of-00003.gguf: is part 3 of 3, expected part 2");
  folder.write("m-00002-of-00003.gguf", splitPart(1, 2, 3, "y").bytes);
  CHECK(failureOf(File::open(first), 3) ==
        "m-00002-of-00003.gguf: metadata 'split.count' is 2, expected 3 as in the first part");
  folder.write("m-00002-of-00003.gguf", splitPart(1, 3, 3, "x").bytes);
  CHECK(failureOf(File::open(first), 3) == "m-00001-of-00003.gguf: tensor 'x' appears twice");
  folder.write("m-00001-of-00003.gguf", splitPart(0, 3, 4, "x").bytes);
  CHECK(failureOf(File::open(first), 3) ==
        "m-00001-of-00003.gguf: the parts have 3 tensors, expected as many as "
        "metadata 'split.tensors.count' says (4)");
  std::string renamed = folder.write("m.gguf", splitPart(0, 3, 3, "x").bytes);
  CHECK(failureOf(File::open(renamed), 3) ==
        "m.gguf: is part 1 of 3, expected a name that ends with '-00001-of-00003.gguf'");
}

TEST_CASE("files that a model names stay in its folder") {
  TemporaryFolder folder, outside;
  std::string model = folder.write("model.gguf", {1, 2, 3});
  folder.write("data.bin", {4, 5});
  std::string secret = outside.write("secret", {6});
  REQUIRE(symlink(secret.c_str(), (folder.path + "/out").c_str()) == 0);
  REQUIRE(symlink("data.bin", (folder.path + "/in").c_str()) == 0);
  REQUIRE(symlink("loop", (folder.path + "/loop").c_str()) == 0);
  REQUIRE(mkfifo((folder.path + "/fifo").c_str(), 0600) == 0);
  REQUIRE(mkdir((folder.path + "/sub").c_str(), 0700) == 0);

  llvm::Expected<ModelFolder> here = ModelFolder::of(model);
  REQUIRE(bool(here));
  auto message = [&](llvm::StringRef name) {
    llvm::Expected<std::shared_ptr<InputFile>> file = here->open(name);
    return file ? "opened " + (*file)->name().str() : takeFailure(file.takeError()).message;
  };
  CHECK(message("data.bin") == "opened data.bin");
  CHECK(message("in") == "opened in");
  CHECK(message("sub/../data.bin") ==
        "the model names 'sub/../data.bin', which leads out of the model's folder");
  CHECK(message("../x") == "the model names '../x', which leads out of the model's folder");
  CHECK(message(secret) ==
        "the model names " + quoted(secret) + ", expected a name relative to the model's folder");
  CHECK(message("out") ==
        "'out', which the model names, is a link out of the model's folder; allow its target with "
        "--allow-external-dir");
  CHECK(message("fifo") == "'fifo', which the model names, is not a regular file");
  CHECK(message("sub") == "'sub', which the model names, is not a regular file");
  CHECK(message("") == "the model names a file '', which is not a file name");
  CHECK(message(llvm::StringRef("a\0b", 3)) == "the model names a file 'a\\x00b', which is not a file name");
  CHECK(message("loop").find("cannot open 'loop'") == 0);

  llvm::Expected<ModelFolder> allowing = ModelFolder::of(model, {outside.path});
  REQUIRE(bool(allowing));
  CHECK(bool(allowing->open("out")));

  llvm::Expected<std::shared_ptr<InputFile>> data = here->open("data.bin");
  REQUIRE(bool(data));
  CHECK(fileRange(**data, 1, 1)->front() == 5);
  CHECK(takeFailure(fileRange(**data, 1, 2).takeError()).message ==
        "data.bin: bytes 1 to 3 are wanted, past the end of the file (2)");
  CHECK(takeFailure(fileRange(**data, UINT64_MAX, 2).takeError()).exitCode == 3);
}

TEST_CASE("links of a Hugging Face cache lead into the blobs of the same repository only") {
  TemporaryFolder cache;
  for (const char *name : {"/models--a", "/models--a/blobs", "/models--a/snapshots", "/models--a/snapshots/r",
                           "/models--b", "/models--b/blobs"})
    REQUIRE(mkdir((cache.path + name).c_str(), 0700) == 0);
  cache.write("models--a/blobs/1", {1});
  cache.write("models--b/blobs/2", {2});
  std::string snapshot = cache.path + "/models--a/snapshots/r/";
  REQUIRE(symlink("../../blobs/1", (snapshot + "model.gguf").c_str()) == 0);
  REQUIRE(symlink("../../blobs/1", (snapshot + "good").c_str()) == 0);
  REQUIRE(symlink("../../../models--b/blobs/2", (snapshot + "bad").c_str()) == 0);
  llvm::Expected<ModelFolder> folder = ModelFolder::of(snapshot + "model.gguf");
  REQUIRE(bool(folder));
  llvm::Expected<std::shared_ptr<InputFile>> good = folder->open("good"), bad = folder->open("bad");
  CHECK(bool(good));
  REQUIRE(!bad);
  CHECK(takeFailure(bad.takeError()).exitCode == 3);
}
