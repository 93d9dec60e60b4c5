// Emitter, back end and image: what every generator builds on.
#include "test/unit/codegen/LoadedImage.h"
#include <catch2/catch.hpp>
#include <random>

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::cpu::testing;

namespace {
struct Kernels {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  Kernels() {
    loadKernelDialects(context);
    module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  }
};

/// y[i] = fma(x[i], 2, y[i]) over items of one vector.
void buildScale(mlir::ModuleOp module, const CpuLevel &level, llvm::StringRef symbol) {
  Emitter e(module, level);
  e.kernel(symbol, [&](const KernelArguments &arguments) {
    Value y = e.operand(arguments, 0), x = e.operand(arguments, 1);
    e.forRange(arguments.begin, arguments.end, e.cI64(1), [&](Value item) {
      Value offset = e.mul(item, e.lanes * 4);
      Value sum =
          e.fma(e.load(e.vecF32(), e.at(x, offset)), e.vecConst(2), e.load(e.vecF32(), e.at(y, offset)));
      e.store(sum, e.at(y, offset));
    });
  });
}
} // namespace

TEST_CASE("a kernel runs on every level of the host") {
  for (const CpuLevel &level : cpuLevels()) {
    if (!hostHas(level))
      continue;
    INFO(std::string(level.name));
    Kernels kernels;
    buildScale(*kernels.module, level, "scale");
    LoadedImage image(*kernels.module, level, {"scale"});
    GuardedBuffer<float> x(64), y(64);
    for (int i = 0; i < 64; ++i)
      x[i] = i, y[i] = 1;
    void *operands[] = {y.data(), x.data()};
    int64_t dims[HEDDLE_DIM_COUNT] = {};
    image.function(0)(operands, dims, nullptr, 1, 64 / level.lanes);
    for (int i = 0; i < 64; ++i)
      CHECK(y[i] == (i < level.lanes ? 1.0f : 2.0f * i + 1));
  }
}

TEST_CASE("the same kernels give the same image") {
  const CpuLevel &level = cpuLevels().back();
  Kernels first, second;
  buildScale(*first.module, level, "scale");
  buildScale(*second.module, level, "scale");
  CHECK(LoadedImage(*first.module, level, {"scale"}).image.bytes ==
        LoadedImage(*second.module, level, {"scale"}).image.bytes);
}

TEST_CASE("a call out of the image is an error that names the symbol") {
  Kernels kernels;
  const CpuLevel &level = cpuLevels().front();
  Emitter e(*kernels.module, level);
  auto callee = e.create<mlir::func::FuncOp>("expf", e.getFunctionType({e.f32()}, {e.f32()}));
  callee.setPrivate();
  e.kernel("caller", [&](const KernelArguments &arguments) {
    Value x = e.operand(arguments, 0);
    e.store(e.create<mlir::func::CallOp>(callee, mlir::ValueRange{e.load(e.f32(), x)}).getResult(0), x);
  });
  auto object = compile(*kernels.module, level);
  REQUIRE(!!object);
  auto image = linkImage({&*object}, {"caller"});
  REQUIRE(!image);
  CHECK_THAT(llvm::toString(image.takeError()), Catch::Contains("undefined symbol: expf"));
}

TEST_CASE("a math op without an instruction is an error that names it") {
  Kernels kernels;
  const CpuLevel &level = cpuLevels().front();
  Emitter e(*kernels.module, level);
  e.kernel("activation", [&](const KernelArguments &arguments) {
    Value x = e.operand(arguments, 0);
    e.store(e.create<mlir::math::TanhOp>(e.load(e.f32(), x)), x);
  });
  auto object = compile(*kernels.module, level);
  REQUIRE(!object);
  CHECK(llvm::toString(object.takeError()) ==
        "code generation: expected kernels of ops with a lowering to LLVM, but found 'math.tanh'");
}

TEST_CASE("a missing function is an error") {
  Kernels kernels;
  const CpuLevel &level = cpuLevels().front();
  buildScale(*kernels.module, level, "scale");
  auto object = compile(*kernels.module, level);
  REQUIRE(!!object);
  auto image = linkImage({&*object}, {"other"});
  REQUIRE(!image);
  CHECK(llvm::toString(image.takeError()) == "cpu code image: function 'other' is not in the linked image");
}

TEST_CASE("integer dot products are exact at the extremes of every code width") {
  for (const CpuLevel &level : cpuLevels()) {
    if (!hostHas(level))
      continue;
    for (int bits : {2, 4, 5, 6, 8}) {
      INFO(std::string(level.name) << " bits " << bits);
      Kernels kernels;
      Emitter e(*kernels.module, level);
      constexpr int quads = 11; // more than one flush of the s16 sums, and a part of one
      e.kernel("dots", [&](const KernelArguments &arguments) {
        Value out = e.operand(arguments, 0), codes = e.operand(arguments, 1),
              activations = e.operand(arguments, 2);
        llvm::SmallVector<Emitter::Quad> pairs;
        for (int q = 0; q < quads; ++q)
          pairs.push_back(
              {e.load(e.vecI32(), e.at(codes, q * 64)), e.load(e.vecI32(), e.at(activations, q * 64))});
        e.store(e.dot(e.load(e.vecI32(), out), pairs, bits), out);
      });
      LoadedImage image(*kernels.module, level, {"dots"});
      std::mt19937 random(bits);
      const int top = (1 << bits) - 1;
      for (int pattern = 0; pattern < 4; ++pattern) {
        GuardedBuffer<uint8_t> codes(quads * 64);
        GuardedBuffer<int8_t> activations(quads * 64);
        GuardedBuffer<int32_t> out(16);
        for (size_t i = 0; i < codes.size(); ++i) {
          codes[i] = pattern == 3 ? random() & top : top;
          activations[i] = pattern == 0   ? -128
                           : pattern == 1 ? 127
                           : pattern == 2 ? (i & 2 ? -128 : 127)
                                          : random();
        }
        int32_t expected[16];
        for (int lane = 0; lane < 16; ++lane) {
          out[lane] = expected[lane] = lane * 1000 - 5000;
          for (int q = 0; q < quads; ++q)
            for (int i = 0; i < 4; ++i)
              expected[lane] += codes[q * 64 + lane * 4 + i] * activations[q * 64 + lane * 4 + i];
        }
        void *operands[] = {out.data(), codes.data(), activations.data()};
        image.function(0)(operands, nullptr, nullptr, 0, 1);
        for (int lane = 0; lane < level.lanes; ++lane)
          CHECK(out[lane] == expected[lane]);
      }
    }
  }
}

TEST_CASE("each level has its dot product instruction, and AVX-VNNI code no AVX-512 encoding") {
  for (const CpuLevel &level : cpuLevels()) {
    INFO(std::string(level.name));
    Kernels kernels;
    Emitter e(*kernels.module, level);
    e.kernel("dots", [&](const KernelArguments &arguments) {
      Value out = e.operand(arguments, 0), x = e.operand(arguments, 1);
      e.store(e.dot(e.load(e.vecI32(), out), {{e.load(e.vecI32(), x), e.load(e.vecI32(), e.at(x, 64))}}, 4),
              out);
    });
    auto text = compileToText(*kernels.module, level, TextForm::Assembly);
    REQUIRE(!!text);
    std::string vnni = level.lanes == 16 ? "zmm" : "{vex}\tvpdpbusd";
    CHECK_THAT(*text, Catch::Contains(level.vnni ? "vpdpbusd" : "vpmaddubsw"));
    if (level.vnni)
      CHECK_THAT(*text, Catch::Contains(vnni));
  }
}

TEST_CASE("loops, branches and masks") {
  for (const CpuLevel &level : cpuLevels()) {
    if (!hostHas(level))
      continue;
    INFO(std::string(level.name));
    Kernels kernels;
    Emitter e(*kernels.module, level);
    // Sums x[0..n) into out[0]; out[1] = n < 10 ? 1 : 2; copies x to out + 4 under a mask of n lanes.
    e.kernel("mixed", [&](const KernelArguments &arguments) {
      Value out = e.operand(arguments, 0), x = e.operand(arguments, 1);
      Value n = e.dimension(arguments, HEDDLE_DIM_ROWS);
      Values sum = e.forRange(e.cI64(0), n, e.cI64(1), {e.cF32(0)}, [&](Value i, ValueRange carried) {
        return Values{e.addF(carried[0], e.load(e.f32(), e.at(x, e.mul(i, 4))))};
      });
      e.store(sum[0], out);
      Values choice = e.ifValues(
          e.lessThan(n, e.cI64(10)), [&] { return Values{e.cF32(1)}; }, [&] { return Values{e.cF32(2)}; });
      e.ifThen(e.lessThan(e.cI64(0), n), [&] { e.store(choice[0], e.at(out, 4)); });
      Value mask = e.firstLanes(n, e.lanes);
      e.storeMasked(e.loadMasked(e.vecF32(), x, mask, e.vecConst(9)), e.at(out, 16), mask);
    });
    LoadedImage image(*kernels.module, level, {"mixed"});
    for (int64_t n : {0, 3, 12}) {
      GuardedBuffer<float> x(n ? n : 1), out(32);
      float sum = 0;
      for (int i = 0; i < n; ++i)
        sum += x[i] = i + 1;
      void *operands[] = {out.data(), x.data()};
      int64_t dims[HEDDLE_DIM_COUNT] = {n};
      image.function(0)(operands, dims, nullptr, 0, 1);
      CHECK(out[0] == sum);
      CHECK(out[1] == (n == 0 ? 0 : n < 10 ? 1 : 2));
      for (int i = 0; i < level.lanes; ++i)
        CHECK(out[4 + i] == (i < n ? i + 1 : 0));
    }
  }
}
