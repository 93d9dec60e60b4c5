// The CUDA driver over a libcuda of our own: what it asks for, what it makes of errors, and that nothing is
// lost.
#include "FakeCuda.h"
#include "codegen/Compiler.h"
#include "codegen/cuda/Assemble.h"
#include "heddle/cuda.h"
#include "heddle/runtime.h"
#include "ir/Heddle.h"
#include "mlir/Parser/Parser.h"
#include "test/unit/Sized.h"
#include <catch2/catch.hpp>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace heddle;
using Catch::Matchers::Contains;

namespace {

/// The fake, which stays loaded from test to test; as if it were fresh.
FakeCuda &fake() {
  static void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library);
  auto get = reinterpret_cast<FakeCuda *(*)()>(dlsym(library, "heddle_fake_cuda"));
  REQUIRE(get);
  return *get();
}
FakeCuda &freshFake() {
  REQUIRE(fake().living() == 0);
  return fake() = FakeCuda();
}

/// A script that stands for ptxas: `-arch=A INPUT -o OUTPUT`.
std::string fakeAssembler(const std::string &commands) {
  std::string path = "/tmp/heddle-fake-ptxas-" + std::to_string(getpid());
  std::ofstream(path) << "#!/bin/sh\n" << commands << "\n";
  chmod(path.c_str(), 0700);
  return path;
}

struct NoFiles : ParameterSource {
  llvm::Expected<llvm::ArrayRef<uint8_t>> bytes(int64_t, uint64_t, uint64_t) const override {
    return llvm::createStringError("no files");
  }
};

/// An artifact of one entry that halves its input, for 1 to 16 rows: a variant of few rows and one of many.
const std::string &artifact(bool hasCubin) {
  static std::string paths[2];
  std::string &path = paths[hasCubin];
  if (!path.empty())
    return path;
  mlir::MLIRContext context;
  context.loadDialect<mlir::heddle::HeddleDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(R"(
    func.func @halve(%x: tensor<?x64xf32> {heddle.dims = [#heddle.dim<"n", 1 to 16>]}) -> tensor<?x64xf32>
        attributes {heddle.entry = "halve"} {
      %y = heddle.scale %x by 0.5 : tensor<?x64xf32> loc("middle")
      return %y : tensor<?x64xf32>
    })",
                                                        &context);
  REQUIRE(module);
  CompileOptions options;
  options.target = "cuda";
  options.samples = false;
  if (hasCubin)
    options.ptxas = fakeAssembler("printf '\\177ELF' > \"$4\"");
  path = "/tmp/heddle-driver-test-" + std::to_string(getpid()) + (hasCubin ? "-cubin" : "") + ".heddle";
  auto digest = compileToArtifact(*module, NoFiles(), options, path);
  if (!digest)
    FAIL(llvm::toString(digest.takeError()));
  return path;
}

/// The model on the device, as far as it gets; all is given back at the end.
struct Attempt {
  heddle_error error = sized<heddle_error>();
  heddle_model *model = nullptr;
  heddle_session *session = nullptr;
  heddle_status status = HEDDLE_OK;
  alignas(64) float numbers[16 * 64];
  std::vector<float> result;

  explicit Attempt(bool hasCubin = false) {
    auto source = sized<heddle_source>();
    source.kind = HEDDLE_SOURCE_PATH;
    source.path = artifact(hasCubin).c_str();
    auto options = sized<heddle_model_options>();
    options.trust = HEDDLE_TRUST_EMBEDDER_VOUCHES;
    options.driver = heddle_driver_cuda();
    status = heddle_model_open(&source, &options, &model, &error);
    if (status == HEDDLE_OK)
      status = heddle_session_create(model, nullptr, &session, &error);
  }
  ~Attempt() {
    heddle_session_destroy(session);
    CHECK(heddle_model_close(model, nullptr) == HEDDLE_OK);
  }

  heddle_status run(int64_t rows) {
    for (int64_t i = 0; i < rows * 64; ++i)
      numbers[i] = float(i);
    auto view = sized<heddle_view>();
    view.data = numbers;
    view.size_bytes = sizeof(numbers);
    view.dtype = HEDDLE_DTYPE_F32;
    view.rank = 2;
    view.dimension[0] = rows;
    view.dimension[1] = 64;
    status = heddle_session_bind(session, nullptr, 0, &view, &error);
    if (status == HEDDLE_OK)
      status = heddle_session_run(session, nullptr, &error);
    if (status == HEDDLE_OK)
      status = heddle_session_output(session, nullptr, 0, &view, &error);
    if (status == HEDDLE_OK)
      result.assign(static_cast<float *>(view.data), static_cast<float *>(view.data) + rows * 64);
    return status;
  }
  bool isHalved(int64_t rows) const {
    for (int64_t i = 0; i < rows * 64; ++i)
      if (result[i] != float(i) * 0.5f)
        return false;
    return true;
  }
};

} // namespace

TEST_CASE("few rows are one graph launch, many are launches") {
  FakeCuda &cuda = freshFake();
  {
    Attempt attempt;
    INFO(attempt.error.message);
    REQUIRE(attempt.status == HEDDLE_OK);
    CHECK(cuda.kernels == 0); // recording runs nothing
    int recorded = cuda.callsOf("cuLaunchKernel");
    REQUIRE(attempt.run(3) == HEDDLE_OK);
    CHECK(attempt.isHalved(3));
    CHECK(cuda.callsOf("cuGraphLaunch") == 1);
    CHECK(cuda.callsOf("cuLaunchKernel") == recorded);
    REQUIRE(attempt.run(16) == HEDDLE_OK);
    CHECK(attempt.isHalved(16));
    CHECK(cuda.callsOf("cuGraphLaunch") == 1);
    CHECK(cuda.callsOf("cuLaunchKernel") > recorded);
  }
  CHECK(cuda.living() == 0);
}

TEST_CASE("a cubin is taken by its own architecture, PTX by later ones") {
  struct Case {
    int architecture;
    std::string image;
  };
  for (const Case &expected : {Case{80, "\177ELF"}, Case{86, "\177ELF"}, Case{90, "//"}, Case{120, "//"}}) {
    FakeCuda &cuda = freshFake();
    cuda.architecture = expected.architecture;
    Attempt attempt(true);
    INFO(expected.architecture << ": " << attempt.error.message);
    CHECK(attempt.status == HEDDLE_OK);
    CHECK(cuda.image.find(expected.image) != std::string::npos);
  }
  FakeCuda &cuda = freshFake();
  cuda.architecture = 75;
  Attempt attempt(true);
  CHECK(attempt.status == HEDDLE_UNSUPPORTED);
  CHECK_THAT(attempt.error.message, Contains("the artifact has no code for it"));
}

TEST_CASE("an old driver and a machine without GPUs are named, and the simulator instead") {
  FakeCuda &cuda = freshFake();
  cuda.driverVersion = 10020;
  {
    Attempt attempt;
    CHECK(attempt.status == HEDDLE_UNSUPPORTED);
    CHECK_THAT(attempt.error.message, Contains("expected a driver for CUDA 11.0 or later") &&
                                          Contains("CUDA 10.2") && Contains("cuda-sim"));
  }
  freshFake().devices = 0;
  Attempt attempt;
  CHECK(attempt.status == HEDDLE_UNSUPPORTED);
  CHECK_THAT(attempt.error.message, Contains("no GPU is there") && Contains("cuda-sim"));
}

TEST_CASE("devices are listed by name and architecture") {
  freshFake().architecture = 89;
  auto info = sized<heddle_cuda_device_info>();
  auto error = sized<heddle_error>();
  REQUIRE(heddle_cuda_device(0, &info, &error) == HEDDLE_OK);
  CHECK(info.count == 1);
  CHECK(info.architecture == 89);
  CHECK(std::string(info.name) == "Simulated GPU");
}

TEST_CASE("a kernel that goes wrong is named with what it computes, and the session can be closed") {
  for (int64_t rows : {1, 16}) { // in a graph, and alone
    FakeCuda &cuda = freshFake();
    {
      Attempt attempt;
      REQUIRE(attempt.status == HEDDLE_OK);
      cuda.kernelFailure = 700;
      CHECK(attempt.run(rows) == HEDDLE_IO_ERROR);
      CHECK_THAT(attempt.error.message, Contains("kernel 'scale_64'") && Contains("for 'middle'") &&
                                            Contains("illegal memory access"));
    }
    CHECK(cuda.living() == 0);
  }
}

TEST_CASE("whatever call fails, there is one error and nothing is lost") {
  freshFake();
  {
    Attempt attempt;
    REQUIRE(attempt.run(2) == HEDDLE_OK);
    REQUIRE(attempt.run(16) == HEDDLE_OK);
  }
  const int calls = fake().callsThatMayFail;
  REQUIRE(calls > 20);
  for (int failure : {2, 999})
    for (int number = 0; number < calls; ++number) {
      FakeCuda &cuda = freshFake();
      cuda.failAt = number;
      cuda.failure = failure;
      bool failed = false;
      std::string message;
      {
        Attempt attempt;
        for (int64_t rows : {2, 16})
          if (!failed && attempt.status == HEDDLE_OK)
            failed = attempt.run(rows) != HEDDLE_OK;
        failed |= attempt.status != HEDDLE_OK;
        message = attempt.error.message;
        // A session that has started goes on.
        if (failed && attempt.session)
          CHECK((attempt.run(2) == HEDDLE_OK && attempt.isHalved(2)));
      }
      std::string name = cuda.calls.size() > size_t(number) ? "" : "?";
      INFO("call " << number << " of " << calls << ", failure " << failure << ": " << message << name);
      // What is only given back at the end may fail unseen.
      CHECK((failed ? message.find("device 'cuda'") != std::string::npos : number > calls - 8));
      CHECK(cuda.living() == 0);
    }
}

TEST_CASE("what the assembler says of bad code is an error") {
  std::string script = fakeAssembler("echo 'line 7: no such register'; exit 255");
  auto code = cuda::assemble("not PTX", script);
  REQUIRE(!bool(code));
  CHECK_THAT(llvm::toString(code.takeError()), Contains("line 7: no such register"));
  auto relative = cuda::assemble("", "ptxas");
  REQUIRE(!bool(relative));
  CHECK_THAT(llvm::toString(relative.takeError()), Contains("expected the absolute path"));
  unlink(script.c_str());
}
